"""Gives a client what a member writes: as text, or read out by a voice, sentence by sentence, in the order of writing.

Theory. A member's turn is one row of pieces (words, calls of the client's functions), which is cut into the client's
responses: a call ends the response that it stands in, unless another call follows within `SETTLE_S`. Words that come
when no response is in progress begin one. Sound goes out faster than it is played, but not all at once, so that what is
cut off was not all sent; a client that is slow is given no more than its socket takes.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable

import trio

from mob.errors import MobError
from mob.providers.openai_realtime import ResponseWriter
from mob.providers.openai_realtime.names import AUDIO_RATE
from mob.rehearsal.delivery import Sound, Words, spoken_steps
from mob.rehearsal.voice import Voice
from mob.server.gateway.client import Client
from mob.server.lending import Call

SETTLE_S = 0.05
_PACE = 4.0
_CHUNK_MS, _LEAD_MS = 100, 400
_SENTENCE = re.compile(r"[^.!?…\n]*[.!?…\n]+(?=\s)|.+$", re.DOTALL)


class Reading:
    """One turn of a member, on its way to the client. `begin` starts a response when there is none."""

    def __init__(self, client: Client, voice: Voice | None, begin: Callable[[], ResponseWriter]) -> None:
        self._client = client
        self._voice = voice
        self._begin = begin
        self._pieces: deque[str | Call] = deque()
        self._news = trio.Event()
        self._ended = False
        self._sentence = ""
        self.writer: ResponseWriter | None = None

    def put(self, piece: str | Call) -> None:
        """More of it."""
        self._pieces.append(piece)
        self._news.set()

    def end(self) -> None:
        """That was all of it."""
        self._ended = True
        self._news.set()

    async def run(self) -> None:
        """Give everything to the client; returns when the end was given."""
        while (piece := await self._next()) is not None:
            if isinstance(piece, Call):
                await self._read_out(whole=True)
                await self._give(piece)
            elif self._speaks:
                self._sentence += piece
                await self._read_out(whole=False)
            else:
                self._response.text(piece)
                self._client.flush()
        await self._read_out(whole=True)

    @property
    def _response(self) -> ResponseWriter:
        if self.writer is None:
            self.writer = self._begin()
        return self.writer

    @property
    def _speaks(self) -> bool:
        return self._response.params.output == "audio"

    async def _next(self) -> str | Call | None:
        while not self._pieces:
            if self._ended:
                return None
            self._news = trio.Event()
            await self._news.wait()
        return self._pieces.popleft()

    async def _give(self, call: Call) -> None:
        self._response.tool_call(call.name, call.arguments, call.call_id)
        self._client.flush()
        with trio.move_on_after(SETTLE_S):
            while not self._pieces:
                self._news = trio.Event()
                await self._news.wait()
        if not (self._pieces and isinstance(self._pieces[0], Call)):
            writer, self.writer = self._response, None
            writer.finish()
            self._client.flush()

    async def _read_out(self, *, whole: bool) -> None:
        """Read the sentences that are there; the last one only when it is `whole`."""
        sentences = _SENTENCE.findall(self._sentence)
        rest = "" if whole or not sentences else sentences.pop()
        self._sentence = rest
        for sentence in sentences:
            await self._say(sentence)

    async def _say(self, text: str) -> None:
        pcm = await self._sound_of(text)
        if not pcm:  # a client that wants sound of a member that makes none gets the words of it
            self._response.transcript(text)
            self._client.flush()
            return
        for step in spoken_steps(text, pcm, rate=AUDIO_RATE, chunk_ms=_CHUNK_MS, lead_ms=_LEAD_MS):
            match step:
                case Words(delta):
                    self._response.transcript(delta)
                case Sound(sound, ms):
                    self._client.speak(self._response, sound)
                    self._client.flush()
                    await self._client.room()
                    await trio.sleep(ms / 1000 / _PACE)
        self._client.flush()

    async def _sound_of(self, text: str) -> bytes:
        if self._voice is None:
            return b""
        try:
            return await self._voice.say(text, AUDIO_RATE)
        except MobError as error:
            self._client.server.error(error.code, error.message)
            return b""
