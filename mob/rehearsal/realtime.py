"""The rehearsed end of an OpenAI Realtime connection: frames in, the ears and the brain between, frames out.

The protocol engine keeps the vendor's state and order; here is what a vendor has behind it. Tasks of one connection:

    reader       takes frames, tells the engine, acts on what it says
    pipe         the only writer of the socket
    responses    one task each, in a cancel scope of its own; cut off by the client or by the user's speech
    transcripts  one task for each spoken turn: the user's words come late, as with the vendor
    expiry       ends the connection at its age
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import trio
import trio_websocket

from mob.errors import WireError
from mob.ids import Ids
from mob.providers.openai_realtime.names import AUDIO_RATE
from mob.providers.openai_realtime.response_writer import ResponseWriter
from mob.providers.openai_realtime.server import RateLimit, RealtimeServer
from mob.providers.openai_realtime.server_events import (
    AudioAppended,
    InputCleared,
    InputCommitted,
    ItemCreated,
    ResponseCancelled,
    ResponseParams,
    ResponseRequested,
    ServerEvent,
    SessionUpdated,
)
from mob.rehearsal.brain import Brain, Reply
from mob.rehearsal.delivery import words_of
from mob.rehearsal.ears import EarEvent, Ears, IdleTimeout, SpeechStarted, SpeechStopped, detection_of
from mob.rehearsal.faults import FaultPlan
from mob.rehearsal.manner import CHARACTERS_PER_TOKEN, Manner
from mob.rehearsal.pipe import Close, Pipe
from mob.rehearsal.responder import Responder
from mob.rehearsal.retelling import Heard, scene_of_items
from mob.rehearsal.tamper import Lost, Refused, Send, Tamper
from mob.rehearsal.voice import Voice, hear
from mob.values import Usage

_EXPIRED = "Your session hit the maximum duration of {:.0f} minutes."
_REQUESTS_PER_MINUTE = 500


class RealtimeSession:
    """One connection, from its acceptance to its end."""

    def __init__(
        self,
        connection: trio_websocket.WebSocketConnection,
        raw: trio.abc.Stream,
        *,
        model: str,
        member: str | None,
        brain: Brain,
        manner: Manner,
        voice: Voice,
        faults: FaultPlan,
        seed: str,
        wall: Callable[[], float],
        on_response: Callable[[], None],
    ) -> None:
        dice = random.Random(seed)
        self._connection = connection
        self._pipe = Pipe(connection, raw)
        self._member = member
        self._brain = brain
        self._manner = manner
        self._faults = faults
        self._dice = dice
        self._on_response = on_response
        self._tamper = Tamper(faults, member, dice)
        ids = Ids(seed)
        self._server = RealtimeServer(
            model,
            ids=ids,
            expires_at=wall() + manner.max_session_s,
            options=self._tamper.options,
            rewrite=self._tamper.rewrite if faults else None,
        )
        self._responder = Responder(
            manner=manner, voice=voice, faults=faults, member=member, ids=ids, flush=self._flush
        )
        self._ears: Ears | None = None
        self._heard: dict[str, Heard] = {}
        self._scopes: dict[str, tuple[ResponseWriter, trio.CancelScope]] = {}
        self._response_over = trio.Event()
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Serve until either side ends the connection."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._pipe_until_closed)
            self._nursery.start_soon(self._expire)
            self._server.open()
            self._listen()
            self._send()
            try:
                while not self._pipe.deaf:
                    await self._read(await self._connection.get_message())
                    await self._pipe.room()
                await trio.sleep_forever()
            except trio_websocket.ConnectionClosed:
                self._nursery.cancel_scope.cancel()

    async def _pipe_until_closed(self) -> None:
        await self._pipe.run()
        self._nursery.cancel_scope.cancel()

    async def _expire(self) -> None:
        await trio.sleep(self._manner.max_session_s)
        message = _EXPIRED.format(self._manner.max_session_s / 60)
        self._server.error("session_expired", message, kind="invalid_request_error")
        self._send()
        self._pipe.put([Close(1001, message)])

    # What comes in

    async def _read(self, frame: str | bytes) -> None:
        text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
        match self._tamper.intercept(text):
            case Refused(code, message, ref):
                self._send()
                error = {"type": "invalid_request_error", "code": code, "message": message, "event_id": ref}
                event = {"type": "error", "event_id": "event_of_a_fault", "error": error}
                self._pipe.put([Send(json.dumps(event))])
            case Lost():
                pass
            case None:
                if self._faults and '"response.create"' in text and self._due("vad-response-first"):
                    self._start(None)
                for happened in self._server.receive(frame):
                    await self._act(happened)
        self._send()

    async def _act(self, event: ServerEvent) -> None:
        match event:
            case AudioAppended(pcm=pcm) if self._ears is not None:
                for heard in self._ears.feed(pcm):
                    await self._overhear(heard)
            case InputCommitted():
                self._take_in(event)
                if self._ears is not None:
                    self._ears.reset()
            case InputCleared() if self._ears is not None:
                self._ears.reset()
            case ItemCreated(item=item) if item.audio:
                self._heard[item.id] = _understand(item.audio)
            case ResponseRequested(params=params):
                self._start(params)
            case ResponseCancelled(response_id=response_id):
                await self._stop(response_id)
            case SessionUpdated():
                self._listen()

    def _listen(self) -> None:
        """Turn detection as the session has it now."""
        config = self._server.session.config
        if (config.input_rate, config.output_rate) != (AUDIO_RATE, AUDIO_RATE):
            self._server.error("unsupported_format", "The rehearsed ears and voice know audio/pcm alone.")
        detection = detection_of(config.turn_detection)
        if detection is None:
            self._ears = None
        elif self._ears is None:
            self._ears = Ears(detection, rate=AUDIO_RATE, start_ms=int(self._server.input_ms))
        else:
            self._ears.configure(detection)

    async def _overhear(self, event: EarEvent) -> None:
        match event:
            case SpeechStarted(start_ms):
                self._server.speech_started(start_ms)
                active = self._server.active_response
                if active is not None and self._server.session.interrupt_response:
                    active.cancel("turn_detected")
                    await self._stop(active.response_id)
            case SpeechStopped(_, end_ms):
                self._server.speech_stopped(end_ms)
                self._end_turn()
            case IdleTimeout(start_ms, end_ms):
                self._send()
                committed = self._end_turn()
                fields = {"audio_start_ms": start_ms, "audio_end_ms": end_ms, "item_id": committed}
                event_of = {
                    "type": "input_audio_buffer.timeout_triggered",
                    "event_id": f"event_idle_{end_ms}",
                    **fields,
                }
                self._pipe.put([Send(json.dumps(event_of))])

    def _end_turn(self) -> str | None:
        """Turn detection says that the user is done."""
        committed = self._server.commit_input()
        if committed is None:
            return None
        self._take_in(committed)
        if self._server.session.create_response:
            self._start(None)
        return committed.item_id

    def _take_in(self, committed: InputCommitted) -> None:
        """A spoken turn: understood at once, its transcript sent later."""
        seconds = len(committed.pcm) / 2 / AUDIO_RATE
        self._heard[committed.item_id] = understood = _understand(committed.pcm)
        transcription = self._server.session.echo()["audio"]["input"]["transcription"]
        if transcription is not None and not self._due("transcript-never"):
            after_ms = self._manner.transcribe_ms * (0.5 + 2 * self._dice.random())
            self._nursery.start_soon(self._transcribe, committed.item_id, understood.text, seconds, after_ms)

    async def _transcribe(self, item_id: str, text: str, seconds: float, after_ms: float) -> None:
        if self._due("transcript-late"):
            await self._response_over.wait()
        await trio.sleep(after_ms / 1000)
        if self._due("transcript-failed"):
            self._server.user_transcript_failed(item_id, "audio_unintelligible", "The audio could not be transcribed.")
        else:
            for word in words_of(text):
                self._server.user_transcript_delta(item_id, word)
            self._server.user_transcript_completed(item_id, text, seconds=seconds)
        self._send()

    # What goes out

    def _start(self, params: ResponseParams | None) -> None:
        """Begin a response: the one asked for, or (None) one that turn detection calls for, if nothing is going on."""
        try:
            writer = self._server.start_response(params)
        except WireError:
            return  # busy: what turn detection wanted is not asked for again, as with the vendor
        self._on_response()
        scope = trio.CancelScope()
        self._scopes[writer.response_id] = (writer, scope)
        if self._dice.random() < 0.5:
            left = _REQUESTS_PER_MINUTE - len(self._scopes)
            self._server.rate_limits([RateLimit("requests", _REQUESTS_PER_MINUTE, left, 0.12)])
        asked = writer.params
        items = self._server.items if asked.input is None else asked.input
        reply = self._brain.reply(scene_of_items(asked, items, self._heard))
        tokens = (len(asked.instructions) + sum(len(item.text) for item in items)) // CHARACTERS_PER_TOKEN + 1
        writer.usage = Usage(tokens, requests=1)
        think_ms = self._manner.think_ms * (0.5 + self._dice.random()) + reply.after_ms
        self._nursery.start_soon(self._respond, writer, scope, reply, think_ms)

    async def _respond(self, writer: ResponseWriter, scope: trio.CancelScope, reply: Reply, think_ms: float) -> None:
        with scope:
            await self._responder.respond(writer, reply, think_ms=think_ms)
        del self._scopes[writer.response_id]
        self._response_over.set()
        self._response_over = trio.Event()

    async def _stop(self, response_id: str) -> None:
        """A response was cut off; its end is written already."""
        writer, scope = self._scopes[response_id]
        scope.cancel()
        if self._due("late-deltas"):
            self._send()
            await self._responder.trail(writer)

    def _send(self) -> None:
        self._pipe.put(self._tamper.outgoing(self._server.data_to_send()))

    async def _flush(self) -> None:
        self._send()
        await self._pipe.room()

    def _due(self, kind: str) -> bool:
        return self._faults.due(kind, self._member)


def _understand(pcm: bytes) -> Heard:
    """What the ears make of sound."""
    text = hear(pcm)
    loud = any(pcm)
    return Heard(text, unread_s=len(pcm) / 2 / AUDIO_RATE if loud and not text else 0.0)
