"""Who may open a realtime connection, to which member, and with what session.

Before the handshake: a secret of the server's, or a client secret (`ek_`) that was minted here and has not expired. A
client secret lets in to this door only, for as long as it lasts, and its session is in force from the beginning. One
that is shown is looked at also where no secret is asked for, so that a page learns that its own is of no use any more.

Only who may not come in at all is refused there (`BEFORE_THE_HANDSHAKE`): no client shows its user the body of a
refused handshake. A name that no member has, and whatever else is wrong, is said in an event on the open socket.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import trio
from attrs import field, frozen

from mob.errors import DoorFull, RequestInvalid, TokenRefused, Unauthorized
from mob.providers.frames import JsonObject
from mob.server.front.auth import CLIENT_SECRET_PREFIX, Gatekeeper, bearer_of
from mob.server.realm.models import resolve_model
from mob.server.realm.realm import Realm, SessionRef
from mob.web.streams import Head

BEFORE_THE_HANDSHAKE = (Unauthorized, TokenRefused, DoorFull)
_BETA_HEADER, _BETA = "openai-beta", "realtime=v1"


@frozen(slots=True)
class Admitted:
    """A client that was let in: whom it talks with, the name it calls it by, and the session that it brings along."""

    ref: SessionRef
    model: str
    session: JsonObject = field(factory=dict)


def admit(head: Head, realm: Realm, gatekeeper: Gatekeeper, *, open_now: int) -> Admitted:
    """Unauthorized, TokenRefused, ModelUnknown, RequestInvalid, DoorFull, SessionIdle, MemberError: not this one."""
    session = _session_of(head, realm, gatekeeper)
    query = head.query
    for name in ("call_id", "intent"):
        if name in query:
            raise RequestInvalid(f"{name}= is not offered here: connect with model= alone", field=name)
    model = query.get("model") or session.get("model")
    if not model:
        raise RequestInvalid("say which member you want to talk with: /v1/realtime?model=MEMBER", field="model")
    if session.get("model", model) != model:
        raise RequestInvalid(f"the client secret is for the model {session['model']!r}, not {model!r}", field="model")
    ref = resolve_model(realm, model)
    _ = ref.member
    if open_now >= realm.limits.max_realtime:
        raise DoorFull(f"this server has {open_now} realtime connections, which is all it takes")
    return Admitted(ref, model, session)


def speaks_beta(headers: Mapping[str, str]) -> bool:
    """Whether the client speaks the retired beta of the wire."""
    return _BETA in headers.get(_BETA_HEADER, "")


def _session_of(head: Head, realm: Realm, gatekeeper: Gatekeeper) -> JsonObject:
    shown = bearer_of(head.headers)
    if shown is None or not shown.startswith(CLIENT_SECRET_PREFIX):
        gatekeeper.check(head.headers)
        return {}
    payload: Any = realm.tokens.peek(shown, "realtime", now=trio.current_time())
    return dict(cast("JsonObject", payload)) if isinstance(payload, dict) else {}
