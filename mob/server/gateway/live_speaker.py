"""A member with a realtime model, as the other end of a client's conversation.

Theory. The channel is opened so that it answers nothing by itself and is cut by no sound: both are decided here, by the
session that the client has set up. What is said of answers is `answering`'s affair; here is the user's side.

How an answer is cut. The client stops playing, and says with `conversation.item.truncate` where. Until then the clock
of the channel stands still (`stop_playing`). When the client has not said it within `SAYS_WHERE_S`, or wants the next
answer already, the clock's word counts. An answer that was received whole goes on being played, by the clock, until the
client asks for the next: then it plays on to the end, as a client does that queues what it is sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import trio

from mob.errors import CapabilityUnavailable, LimitReached, LiveError, LiveRejected, MobError
from mob.history.items import Cause
from mob.live import events as live
from mob.live.channel import LiveChannel
from mob.live.ports import ChannelOptions
from mob.providers.commands import SessionConfig
from mob.providers.openai_realtime import ConversationItem, InputCommitted, ResponseParams
from mob.providers.openai_realtime.names import AUDIO_RATE
from mob.server.gateway.answering import Answering
from mob.server.gateway.client import Client
from mob.server.gateway.client_tools import ClientTools
from mob.server.gateway.speaker import Ability, SpeakerGone
from mob.server.lending import Call
from mob.server.limits import DoorLimits
from mob.server.pictures import read_data_uri
from mob.sessions.events import RunEvent
from mob.team.handles import MemberHandle

SAYS_WHERE_S = 1.0
"""How long a client that has stopped playing may take to say where."""

_MAX_NOTES, _MAX_SPOKEN = 16, 256

_KEPT_S, _KEPT_SPEECH_S = 1.0, 30.0
"""How much of what the client said is kept for whom it may be handed over to: in silence, and while it speaks."""


class LiveSpeaker:
    """See Speaker. `own` is the session as the client met it: what it changed of that it wants of the member.

    `open_live` opens the member's channel for a block. `called_by_name`: the client asked for this member, rather than
    for whoever has the floor or being handed over.
    """

    def __init__(
        self,
        ability: Ability,
        member: Callable[[], MemberHandle],
        open_live: Callable[[ChannelOptions], AbstractAsyncContextManager[LiveChannel]],
        client: Client,
        tools: ClientTools,
        own: SessionConfig,
        *,
        limits: DoorLimits,
        called_by_name: bool = True,
    ) -> None:
        self.ability = ability
        self._handle = member
        self._open_live = open_live
        self._client = client
        self._server = client.server
        self._tools = tools
        self._told = own
        self._called_by_name = called_by_name
        self._limits = limits
        self._answering = Answering(client, tools, None if called_by_name else ability.identity)
        self._begun = bytearray()
        self._live: LiveChannel | None = None
        self._committed: deque[str] = deque()
        self._spoken: dict[str, str] = {}
        self._again = False
        self._skip = self._later = False
        self._taken = self._notes = 0
        self._noted = trio.Event()
        self._nursery: trio.Nursery
        self._cut_by = float("inf")
        self._news = trio.Event()

    # -- its life --------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled; started when the channel is open.

        CapabilityUnavailable, what `open_live` raises; SpeakerGone.
        """
        self._check_rates()
        async with self._open_live(self._options()) as channel, trio.open_nursery() as nursery:
            self._live, self._nursery = channel, nursery
            nursery.start_soon(self._cut_in_time)
            task_status.started()
            channel.take_audio(self._pass_on)
            why, word = "closed", "member_gone"
            async for event in channel:
                match event:
                    case live.ChannelError(recovery="fatal", code=code, message=message):
                        why, word = message, code
                    case live.TurnCommitted():  # whatever it was, the channel went on
                        why, word = "closed", "member_gone"
                    case live.Disconnected(final=True, reason=reason) if word == "member_gone":
                        why = reason
                try:
                    await self._hear(event)
                except MobError as error:
                    self._server.error(error.code, error.message)
                self._client.flush()
                if self._client.busy:
                    await self._client.room()
            nursery.cancel_scope.cancel()
        raise SpeakerGone(f"{self.ability.identity}'s channel has ended: {why}", word=word)

    def _pass_on(self, delta: live.AudioDelta) -> bool:
        """Speech, in the task that brought it; a client that is behind takes it in its turn."""
        if self._client.busy:
            return False
        self._answering.sound(delta.item_id, delta.pcm)
        self._client.flush()
        return True

    def _check_rates(self) -> None:
        model = self.ability.model
        if (model.input_rate, model.output_rate) != (AUDIO_RATE, AUDIO_RATE):
            raise CapabilityUnavailable(
                f"{model.id} hears at {model.input_rate} Hz and speaks at {model.output_rate} Hz; this door takes and "
                f"gives sound at {AUDIO_RATE} Hz only: talk with {self.ability.identity} over a live socket",
                field="model",
            )

    @property
    def member(self) -> MemberHandle:
        """See Speaker."""
        return self._handle()

    def _options(self) -> ChannelOptions:
        config = self._server.session.config
        changes = self._changes(config)
        if not self._called_by_name:
            # The client knows one session, whoever it talks with; the voice alone is each member's own.
            changes |= {"turn_detection": config.turn_detection, "output": config.output}
        return ChannelOptions(
            audio_receipts=False,
            auto_respond=False,
            barge_in=False,
            instructions=config.instructions or None,
            **changes,
        )

    def _changes(self, config: SessionConfig) -> dict[str, Any]:
        """What the client wants otherwise than it is, which is from now on how it is."""
        before, self._told = self._told, config
        names = ("turn_detection", "output", "voice")
        return {name: getattr(config, name) for name in names if getattr(config, name) != getattr(before, name)}

    @property
    def _channel(self) -> LiveChannel:
        if self._live is None:
            raise LiveRejected(f"the channel to {self.ability.identity} is not open yet", reason="not_ready")
        return self._live

    # -- what the client does --------------------------------------------------------------------------------------

    async def configure(self, config: SessionConfig) -> None:
        """See Speaker."""
        await self._channel.refresh(extra_instructions=config.instructions, **self._changes(config))

    async def hear(self, pcm: bytes) -> None:
        """See Speaker."""
        self._begun += pcm
        kept_s = _KEPT_SPEECH_S if self._answering.speaking else _KEPT_S
        del self._begun[: max(len(self._begun) - int(kept_s * 2 * AUDIO_RATE), 0)]
        await self._channel.send_audio(pcm)

    async def commit(self, committed: InputCommitted) -> None:
        """See Speaker."""
        self._committed.append(committed.item_id)
        self._taken += 1
        try:
            await self._channel.commit()
        except LiveRejected:
            self._committed.pop()
            raise

    async def clear(self) -> None:
        """See Speaker."""
        await self._channel.clear()

    async def take(self, item: ConversationItem) -> None:
        """See Speaker."""
        match item.kind:
            case "tool_result":
                self._tools.answer(item.call_id or "", item.text)
            case "user":
                await self._take_message(item)
                self._taken += 1
            case "system":
                if self._notes >= _MAX_NOTES:
                    raise LimitReached(f"{_MAX_NOTES} notes wait for the end of a turn; wait for them to be taken")
                self._notes += 1
                self._nursery.start_soon(self._note, item.text)

    async def _take_message(self, item: ConversationItem) -> None:
        name: str | None = item.id
        for uri in item.images:
            await self._channel.send_image(read_data_uri(uri, self._limits, field="image_url"))
        if item.audio:
            self._committed.append(item.id)
            await self._channel.send_audio(self._client.heard(item.audio))
            await self._channel.commit()
        elif item.text.strip():
            await self._channel.send_text(item.text, item_id=name)

    async def _note(self, text: str) -> None:
        """A note waits its place among the turns; nothing else waits for it but the answer that is to know it."""
        try:
            await self.member.inject(text)
        except MobError as error:
            self._server.error(error.code, error.message)
            self._client.flush()
        finally:
            self._notes -= 1
            if not self._notes:
                self._noted.set()
                self._noted = trio.Event()

    async def respond(self, params: ResponseParams) -> None:
        """See Speaker."""
        await self._settle_cut()
        if self._tools.waiting and self._answering.answering:
            if not self._taken:
                self._answering.go_on(params)
                self._tools.go_on()
                return
            await self._channel.interrupt()
        self._answering.ask(params)
        await self._ask(params)

    async def _ask(self, params: ResponseParams) -> None:
        self._taken = 0
        self._channel.played_through()
        if self._notes:
            self._nursery.start_soon(self._ask_when_noted, params)
        else:
            await self._ask_now(params)

    async def _ask_when_noted(self, params: ResponseParams) -> None:
        while self._notes:
            await self._noted.wait()
        await self._ask_now(params)

    async def _ask_now(self, params: ResponseParams) -> None:
        instructions = None
        try:
            if params.instructions != self._server.session.config.instructions:
                own = self.member.session.seed().config.instructions
                instructions = "\n\n".join(text for text in (own, params.instructions) if text)
            await self._channel.respond(params.output, instructions)
        except MobError as error:
            self._answering.fail(error.code, error.message)

    async def cancel(self) -> None:
        """See Speaker."""
        await self._stop()

    async def truncate(self, item_id: str, ms: int) -> None:
        """See Speaker. Of an answer that was played to its end by the clock, it comes too late to change anything."""
        item = self._answering.channel_item(item_id)
        if item is None:
            return
        try:
            await self._channel.truncate(item, ms)
        except LiveRejected:
            await self._settle_cut()
        else:
            self._cut_by = float("inf")
            if self._answering.active and not self._answering.asked:
                self._answering.stop("client_cancelled")

    def called(self, call: Call, cause: Cause) -> bool:
        """See Speaker."""
        taken = cause.kind not in ("ask", "tell") and self._answering.take_call(call)
        self._client.flush()
        return taken

    # -- the floor moves -------------------------------------------------------------------------------------------

    def overhear(self, event: RunEvent) -> None:
        """See Speaker: its channel says all that there is to say."""

    async def fall_silent(self) -> bytes:
        """See Speaker."""
        talk = self._answering
        begun = bytes(self._begun) if talk.speaking else b""
        if talk.active or talk.audible:
            talk.stop()
            with suppress(LiveError):
                await self._channel.interrupt("floor")
        talk.silent = True
        talk.speaking = False
        with suppress(LiveError):  # nothing to take back, or the channel ends just now
            await self._channel.clear()
        return begun

    async def take_over(self, begun: bytes) -> None:
        """See Speaker."""
        self._answering.silent = False
        with suppress(LiveError):
            await self.configure(self._server.session.config)
        if begun:
            await self.hear(begun)

    # -- how an answer is cut --------------------------------------------------------------------------------------

    async def _stop(self) -> None:
        """The answer is not wanted any more: one that is heard waits for a word of where, any other ends at once."""
        talk = self._answering
        asked = talk.asked
        talk.stop()
        if asked:
            self._skip = True
            return
        if not talk.answering:
            return
        if talk.audible:
            self._channel.stop_playing()
            self._cut_by = trio.current_time() + SAYS_WHERE_S
            self._news.set()
        else:
            await self._channel.interrupt()

    async def _settle_cut(self) -> None:
        """Wait no longer for a word of where the client stopped playing."""
        if self._cut_by < float("inf"):
            self._cut_by = float("inf")
            await self._channel.interrupt()

    async def _cut_in_time(self) -> None:
        while True:
            self._news = trio.Event()
            with trio.move_on_at(self._cut_by) as due:
                await self._news.wait()
            if due.cancelled_caught:
                with suppress(LiveError):  # the channel ends just now
                    await self._settle_cut()

    # -- what the channel says -------------------------------------------------------------------------------------

    async def _hear(self, event: live.LiveEvent) -> None:
        match event:
            case live.SpeechStarted(item_id=item_id):
                await self._speech_started(item_id)
            case live.SpeechStopped():
                self._server.speech_stopped(int(self._server.input_ms))
            case live.SpeechCommitted(item_id=item_id):
                await self._speech_committed(item_id)
            case live.UserTranscriptDelta(item_id=item_id, delta=delta):
                if self._server.session.transcribes and item_id in self._spoken:
                    self._server.user_transcript_delta(self._spoken[item_id], delta)
            case live.UserTranscript(item_id=item_id, text=text):
                self._transcribed(item_id, text)
            case live.Disconnected(final=False):
                self._again = True
            case live.TurnBegan(prompted=False) if self._skip:
                self._skip = False
                self._answering.apply(event)
                self._answering.stop()
                await self._channel.interrupt()
            case _:
                self._answering.apply(event)
        if self._later and not self._answering.active:
            self._later = False
            await self._ask(self._answering.ask(None).params)

    async def _speech_started(self, item_id: str | None) -> None:
        if self._again and not self._server.buffered_ms:
            return  # a new connection hears again what the client said to the one before, and has said once
        self._again = False
        padding_ms = self._told.turn_detection.prefix_padding_ms or 0
        started = self._server.speech_started(max(0, int(self._server.input_ms) - padding_ms))
        if item_id is not None:
            self._spoken[item_id] = started
        self._answering.speaking = True
        waits = self._tools.waiting or self._answering.in_writing
        if self._server.session.interrupt_response and not waits:
            await self._stop()

    async def _speech_committed(self, item_id: str) -> None:
        """What was said is a turn: the client's own commit, or what the member's ears made of its sound."""
        self._answering.speaking = False
        while len(self._spoken) > _MAX_SPOKEN:  # their words never came
            del self._spoken[next(iter(self._spoken))]
        if self._committed:
            self._spoken[item_id] = self._committed.popleft()
            return
        committed = self._server.commit_input(always=True)
        if committed is not None:
            self._spoken[item_id] = committed.item_id
        self._taken += 1
        if self._server.session.create_response:
            self._cut_by = float("inf")  # the turn that was committed has cut it
            self._later = True

    def _transcribed(self, item_id: str, text: str) -> None:
        spoken = self._spoken.get(item_id) or next(iter(self._spoken.values()), None)
        if spoken is not None and self._server.session.transcribes:
            self._server.user_transcript_completed(spoken, text)
        self._spoken.pop(item_id, None)
