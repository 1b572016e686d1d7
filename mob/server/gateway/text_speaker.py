"""A member that is reached by request/response, as the other end of a client's conversation.

Theory. Such a member hears and speaks nothing by itself. What the client says in sound is cut into turns by ears of
ours (by loudness) and understood where it is tone speech, which the rehearsed voices speak; of any other sound the
client is told that this member hears none. What the member writes is read out by a voice of ours when its profile names
one.

What is said until an answer is asked for is one statement; an answer is one turn of the member (`ask_aloud`). A
function of the client's that it calls ends the response, and the turn goes on as the client's next one.
"""

from __future__ import annotations

import trio
from attrs import define, evolve, field

from mob.errors import LimitReached, MobError
from mob.history.items import Cause
from mob.ids import Ids
from mob.providers.commands import SessionConfig
from mob.providers.openai_realtime import ConversationItem, InputCommitted, ResponseParams, ResponseWriter
from mob.providers.openai_realtime.names import AUDIO_RATE
from mob.rehearsal.ears import EarEvent, Ears, SpeechStarted, SpeechStopped, detection_of
from mob.rehearsal.voice import Voice, hear
from mob.server.asking import Statement, ask_aloud
from mob.server.gateway.client import Client
from mob.server.gateway.client_tools import ClientTools
from mob.server.gateway.g711 import inwards
from mob.server.gateway.reading import Reading
from mob.server.gateway.speaker import Ability
from mob.server.lending import Call
from mob.server.limits import DoorLimits
from mob.server.pictures import check_together, read_data_uri
from mob.server.realm.realm import SessionRef
from mob.sessions.events import AgentWriting, RunEvent, TurnBegan, TurnEnded
from mob.sessions.mailbox import Answer
from mob.team.handles import MemberHandle
from mob.values import Image

_MAX_PENDING = 256
_NOTHING_NEW = "The user has said nothing new and waits for you to speak."


@define(eq=False, slots=True)
class _Pending:
    """What was said since the last answer was asked for."""

    texts: list[str] = field(factory=list)
    images: list[Image] = field(factory=list)
    context: list[str] = field(factory=list)

    @property
    def count(self) -> int:
        """How many things that is."""
        return len(self.texts) + len(self.images) + len(self.context)


@define(eq=False, slots=True)
class _Asking:
    """An answer that was asked for."""

    reading: Reading
    message_id: str
    scope: trio.CancelScope = field(factory=trio.CancelScope)


class TextSpeaker:
    """See Speaker. `voice` None: this member answers in text alone."""

    def __init__(
        self,
        ability: Ability,
        ref: SessionRef,
        client: Client,
        tools: ClientTools,
        voice: Voice | None,
        *,
        limits: DoorLimits,
    ) -> None:
        self.ability = ability
        self._ref = ref
        self._client = client
        self._server = client.server
        self._tools = tools
        self._voice = voice
        self._limits = limits
        self._ids = Ids()
        self._ears: Ears | None = None
        self._pending = _Pending()
        self._asking: _Asking | None = None
        self._handed: Reading | None = None
        self._instructed = ""
        self._later = False
        self._nursery: trio.Nursery

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled."""
        async with trio.open_nursery() as self._nursery:
            await self.configure(self._server.session.config)
            task_status.started()
            await trio.sleep_forever()

    @property
    def member(self) -> MemberHandle:
        """See Speaker."""
        return self._ref.member

    # -- what the client does --------------------------------------------------------------------------------------

    async def configure(self, config: SessionConfig) -> None:
        """See Speaker."""
        detection = detection_of(config.turn_detection)
        if detection is None:
            self._ears = None
        elif self._ears is None:
            self._ears = Ears(detection, rate=AUDIO_RATE, start_ms=int(self._server.input_ms))
        else:
            self._ears.configure(detection)

    async def hear(self, pcm: bytes) -> None:
        """See Speaker."""
        for event in self._ears.feed(pcm) if self._ears is not None else ():
            self._overhear(event)

    async def commit(self, committed: InputCommitted) -> None:
        """See Speaker."""
        self._understand(committed)
        if self._ears is not None:
            self._ears.reset()

    async def clear(self) -> None:
        """See Speaker."""
        if self._ears is not None:
            self._ears.reset()

    async def take(self, item: ConversationItem) -> None:
        """See Speaker."""
        match item.kind:
            case "tool_result":
                self._tools.answer(item.call_id or "", item.text)
            case "system" | "user" if self._pending.count >= _MAX_PENDING:
                raise LimitReached(
                    f"{_MAX_PENDING} things were said and nothing was asked for; ask for an answer first"
                )
            case "system":
                self._pending.context.append(item.text)
            case "user":
                shown = [read_data_uri(uri, self._limits, field="image_url") for uri in item.images]
                check_together([*self._pending.images, *shown], self._limits, field="image_url")
                self._pending.images += shown
                if item.text.strip():
                    self._pending.texts.append(item.text)
                if item.audio:
                    self._understand(InputCommitted(item.id, item.audio))

    async def respond(self, params: ResponseParams) -> None:
        """See Speaker."""
        asking = self._asking
        if asking is not None and self._tools.waiting:
            if not self._pending.texts and not self._pending.images:
                asking.reading.writer = self._server.start_response(params)
                self._tools.go_on()
                return
            asking.scope.cancel()
        self._ask(params)

    async def cancel(self) -> None:
        """See Speaker."""
        if self._asking is not None:
            self._asking.scope.cancel()

    async def truncate(self, item_id: str, ms: int) -> None:
        """See Speaker. What the member wrote is in its history as written, however much of it was listened to."""

    def called(self, call: Call, cause: Cause) -> bool:
        """See Speaker."""
        asking = self._asking
        if asking is None or cause.message_id != asking.message_id:
            return False
        asking.reading.put(call)
        return True

    # -- the floor moves -------------------------------------------------------------------------------------------

    def overhear(self, event: RunEvent) -> None:
        """See Speaker. What it says because it was given the floor, nobody here asked for."""
        match event:
            case TurnBegan(cause="hand_off") if self._server.busy_with is None:
                self._handed = Reading(self._client, self._voice, self._begin)
                self._nursery.start_soon(self._read, self._handed)
            case AgentWriting(delta=delta) if self._handed is not None:
                self._handed.put(delta)
            case TurnEnded() if self._handed is not None:
                self._handed.end()
                self._handed = None

    async def _read(self, reading: Reading) -> None:
        await reading.run()
        if reading.writer is not None:
            reading.writer.finish()
            self._client.flush()

    async def fall_silent(self) -> bytes:
        """See Speaker: its ears do not keep what they hear."""
        if self._asking is not None:
            self._asking.scope.cancel()
        return b""

    async def take_over(self, begun: bytes) -> None:
        """See Speaker."""
        await self.configure(self._server.session.config)
        await self.hear(begun)

    # -- sound -----------------------------------------------------------------------------------------------------

    def _overhear(self, event: EarEvent) -> None:
        match event:
            case SpeechStarted(start_ms):
                self._server.speech_started(start_ms)
                active = self._server.active_response
                if active is not None and active.params.output == "audio" and self._server.session.interrupt_response:
                    active.cancel("turn_detected")
                    if self._asking is not None:
                        self._asking.scope.cancel()
            case SpeechStopped(_, end_ms):
                self._server.speech_stopped(end_ms)
                committed = self._server.commit_input()
                understood = committed is not None and self._understand(committed)
                self._later = understood and self._server.session.create_response
                self._ask_if_due()

    def _ask_if_due(self) -> None:
        """Answer what turn detection made a turn of, as soon as nothing else is being answered."""
        if self._later and self._server.busy_with is None:
            self._ask(None)

    def _understand(self, committed: InputCommitted) -> bool:
        """Put what was spoken among what was said. Whether it was understood."""
        session = self._server.session
        pcm = inwards(session.input_format["type"]).turn(committed.pcm)
        text = hear(pcm)
        if text:
            self._pending.texts.append(text)
            if session.transcribes:
                seconds = len(pcm) / 2 / AUDIO_RATE
                self._server.user_transcript_completed(committed.item_id, text, seconds=seconds)
            return True
        message = f"{self._ref.identity} is reached by text and hears no sound; write to it, or call a realtime member."
        self._server.user_transcript_failed(committed.item_id, "member_hears_no_sound", message)
        self._server.error("member_hears_no_sound", message, kind="invalid_request_error")
        return False

    # -- answers ---------------------------------------------------------------------------------------------------

    def _ask(self, params: ResponseParams | None) -> None:
        self._later = False
        writer = self._server.start_response(params)
        reading = Reading(self._client, self._voice, self._begin)
        reading.writer = writer
        self._asking = _Asking(reading, self._ids.new("said"))
        self._nursery.start_soon(self._answer, self._asking, self._statement(writer.params))

    def _begin(self) -> ResponseWriter:
        params = evolve(self._server.response_params(), metadata={"member": self.ability.identity})
        return self._server.start_response(params)

    def _statement(self, params: ResponseParams) -> Statement:
        said, self._pending = self._pending, _Pending()
        session = self._server.session.config.instructions
        context = said.context
        for text in dict.fromkeys((session, params.instructions)):
            if text and (text != session or text != self._instructed):
                context.append(text)
        self._instructed = session
        text = "\n".join(said.texts)
        if not text and not said.images and not context:
            context.append(_NOTHING_NEW)
        return Statement(text, tuple(said.images), tuple(context))

    async def _answer(self, asking: _Asking, said: Statement) -> None:
        """One turn of the member, given to the client as it comes."""
        reading, outcome = asking.reading, None
        try:
            with asking.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(reading.run)
                    outcome = await self._outcome(said, asking)
                    reading.end()
        finally:
            if self._asking is asking:
                self._asking = None
        if reading.writer is not None:
            _finish(reading.writer, outcome)
        elif isinstance(outcome, MobError):
            self._server.error(outcome.code, outcome.message)
        self._ask_if_due()
        self._client.flush()

    async def _outcome(self, said: Statement, asking: _Asking) -> Answer | MobError:
        try:
            return await ask_aloud(
                self._ref.hosted.mob,
                self._ref.member,
                said,
                message_id=asking.message_id,
                ids=self._ids,
                on_text=asking.reading.put,
            )
        except MobError as error:
            return error


def _finish(writer: ResponseWriter, outcome: Answer | MobError | None) -> None:
    match outcome:
        case Answer(turn=turn) if turn.status == "done":
            writer.finish(turn.usage)
        case Answer(turn=turn):
            writer.fail("answer_interrupted", "The answer was cut off before its end.", usage=turn.usage)
        case MobError():
            writer.fail(outcome.code, outcome.message)
        case None:
            writer.cancel("client_cancelled")
