"""Tokens that open one door once: for one channel, for one direction, for a minute (law 25).

Theory. A token's life:

    minted ──admit by its channel, in time──> spent
    minted ──its time is up──> expired
    minted ──its channel ends, or gives out a new one in its place──> revoked

Whoever shows a token that is not `minted` any more, or is of another channel, learns why in one word and changes
nothing: a token that was shown at the wrong door still opens the right one. What is no longer good is remembered for a
minute, so that the word is the true one, and then forgotten; sooner when there is no room. Pure: the caller brings the
time.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Literal

from attrs import define

from mob.errors import DoorFull, TokenFault, TokenRefused

Purpose = Literal["live", "resume", "realtime"]

_BYTES = 24
_REMEMBERED_S = 60.0


@define(slots=True)
class _Token:
    channel: str
    purpose: Purpose
    expires_at: float
    payload: object = None
    fault: TokenFault | None = None
    forget_at: float = float("inf")

    def spoil(self, fault: TokenFault, now: float) -> None:
        """It opens nothing any more."""
        if self.fault is None:
            self.fault, self.forget_at = fault, now + _REMEMBERED_S


class TokenBook:
    """The tokens of one server. Only their digests are kept, so that a dump of memory opens nothing."""

    def __init__(self, *, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._tokens: dict[bytes, _Token] = {}

    def mint(
        self, channel: str, purpose: Purpose, *, now: float, ttl_s: float, payload: object = None, prefix: str = ""
    ) -> str:
        """A new token. `payload` is given back to whoever is admitted by it. DoorFull."""
        self._forget(now)
        if len(self._tokens) >= self._max_tokens and not self._make_room(now):
            raise DoorFull(f"{self._max_tokens} tokens wait to be used; use them, or wait until they expire")
        token = prefix + secrets.token_urlsafe(_BYTES)
        self._tokens[_digest(token)] = _Token(channel, purpose, now + ttl_s, payload)
        return token

    def admit(self, token: str, channel: str, purpose: Purpose, *, now: float) -> object:
        """Use the token up; its payload. TokenRefused, and then nothing has changed."""
        return _spend(self._look(token, purpose, now=now, channel=channel), now)

    def peek(self, token: str, purpose: Purpose, *, now: float, channel: str | None = None) -> object:
        """The payload of a token, which stays good: it may be shown again (a client secret). TokenRefused."""
        return self._look(token, purpose, now=now, channel=channel).payload

    def alive(self, purpose: Purpose, *, now: float) -> int:
        """How many tokens of this purpose still open something."""
        return sum(
            kept.purpose == purpose and kept.fault is None and kept.expires_at > now for kept in self._tokens.values()
        )

    def revoke(self, channel: str, purpose: Purpose, *, now: float, but: str | None = None) -> None:
        """What was minted for this channel and purpose opens nothing any more, except for the token `but`."""
        spared = None if but is None else _digest(but)
        for digest, kept in self._tokens.items():
            if kept.channel == channel and kept.purpose == purpose and digest != spared:
                kept.spoil("channel_not_bound", now)

    def limit(self, channel: str, purpose: Purpose, *, until: float) -> None:
        """What was minted for this channel and purpose is good until then at most."""
        for kept in self._tokens.values():
            if kept.channel == channel and kept.purpose == purpose:
                kept.expires_at = min(kept.expires_at, until)

    def __len__(self) -> int:
        return len(self._tokens)

    def _look(self, token: str, purpose: Purpose, *, now: float, channel: str | None) -> _Token:
        self._forget(now)
        kept = self._tokens.get(_digest(token))
        if kept is None or kept.purpose != purpose:
            raise _refusal("not_found")
        if channel is not None and kept.channel != channel:
            raise _refusal("other_channel")
        if kept.fault is not None:
            raise _refusal(kept.fault)
        if now >= kept.expires_at:
            raise _refusal("expired")
        return kept

    def _forget(self, now: float) -> None:
        old = now - _REMEMBERED_S
        gone = [digest for digest, kept in self._tokens.items() if now >= kept.forget_at or old >= kept.expires_at]
        for digest in gone:
            del self._tokens[digest]

    def _make_room(self, now: float) -> bool:
        """Forget the oldest of those that open nothing any more. False when all are good."""
        for digest, kept in self._tokens.items():
            if kept.fault is not None or now >= kept.expires_at:
                del self._tokens[digest]
                return True
        return False


def _spend(kept: _Token, now: float) -> object:
    kept.spoil("already_consumed", now)
    return kept.payload


_SENTENCES: dict[TokenFault, str] = {
    "not_found": "no such token was minted here, or it was forgotten long ago; open the channel again for a new one",
    "expired": "the token has expired; open the channel again for a new one",
    "other_channel": "the token was minted for another channel",
    "already_consumed": "the token was used already; each opens its channel once",
    "channel_not_bound": "the channel of this token has ended; open a new one",
}


def _refusal(fault: TokenFault) -> TokenRefused:
    return TokenRefused(_SENTENCES[fault], reason=fault)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
