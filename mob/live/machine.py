"""The channel machine: commands, wire events and time in, effects out. Pure: no task, no clock, no socket.

Theory. The machine is one state machine made of parts, each told at the top of its own module:

    links.py          the channel's connections   connecting, seeding, ready, reopening, closing, closed
    conversation.py   the line of turns           waiting, asked, running; at most one runs
    user.py           the user's turns            answered at once, or held until `respond`
    responses.py      the response in progress    idle, requested, active, cancelling
    calls.py          the tool calls              started, cancelling, kept, ended, told
    interruption.py   the one path of a cut       playback.py, reducer.py: what was heard, what is committed

`handle` applies one input at one instant and then lets everything happen that has become possible (`_settle`); what is
to be done comes back as a list of effects, to be performed in that order. An input that may not be is refused with
LiveRejected or LiveClosed, and then nothing has changed (laws 11, 12). An event counts only if its epoch is that of the
connection in use at the moment of application (law 13). `wake_at` is when the machine must be handed a `Tick`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from attrs import frozen

from mob.definition.model import ModelCapabilities
from mob.errors import LiveClosed, LiveRejected, ProviderError, ProviderUnreachable, ReopenRequired
from mob.ids import Ids
from mob.live import inputs
from mob.live.answering import ResponseEvent
from mob.live.context import Context, ToolPolicy
from mob.live.conversation import Conversation
from mob.live.effects import Effect
from mob.live.events import AudioDelta
from mob.live.links import ChannelState, Link, Links
from mob.live.overrides import Overrides, misfit
from mob.live.ports import ChannelLimits, ChannelOptions
from mob.live.responses import ResponseState
from mob.providers.commands import ClearInput, CommitInput
from mob.providers.events import (
    AgentAudio,
    InputCleared,
    InputCommitted,
    InputIdle,
    InputSpeechStarted,
    InputSpeechStopped,
    ItemAdded,
    ItemDeleted,
    ItemDone,
    ItemTruncated,
    ProviderFault,
    RateLimited,
    UserTranscriptFailed,
    UserTranscriptFinal,
    UserTranscriptPart,
    WireEvent,
)


@frozen(slots=True)
class MachineStatistics:
    """What the machine is doing, and what it has counted (events that changed nothing, by why)."""

    state: ChannelState
    response: ResponseState
    epoch: int
    turns_waiting: int
    turn_running: bool
    calls_running: int
    state_age_s: float
    counts: Mapping[str, int]


class ChannelMachine:
    """One channel. Call `start` once, then `handle` for whatever happens."""

    def __init__(
        self,
        *,
        channel_id: str,
        ids: Ids,
        model: ModelCapabilities,
        tools: ToolPolicy,
        options: ChannelOptions,
        wall_offset: float = 0.0,
    ) -> None:
        self.context = Context(
            channel_id,
            ids,
            options.limits or ChannelLimits(),
            model,
            tools,
            wall_offset=wall_offset,
            overrides=Overrides.of(options),
            seed_max_chars=options.seed_max_chars,
        )
        self.links = Links(self.context, ttl_s=options.ttl_s)
        self.conversation = Conversation(self.context)
        self.context.receipts.expected = options.audio_receipts
        self._handlers: dict[type[Any], Callable[[Any], None]] = self._table()

    def _table(self) -> dict[type[Any], Callable[[Any], None]]:
        talk = self.conversation
        return {
            inputs.SendText: self._send_text,
            inputs.Respond: self._respond,
            inputs.PutPrompt: self._put_prompt,
            inputs.Withdraw: lambda what: talk.withdraw(what.turn_id),
            inputs.SendImage: self._send_image,
            inputs.CommitInputAudio: self._commit_audio,
            inputs.ClearInputAudio: self._clear_audio,
            inputs.Interrupt: lambda what: talk.interrupt(what.reason),
            inputs.Truncate: lambda what: talk.truncate(what.item_id, what.ms),
            inputs.Played: self._played,
            inputs.ExpectReceipts: lambda what: self.context.receipts.expect(expected=what.expected),
            inputs.StopPlaying: lambda _: talk.stop_playing(),
            inputs.PlayedThrough: lambda _: talk.played_through(),
            inputs.Refresh: self._refresh,
            inputs.AddContext: lambda what: self.links.tell(what.item),
            inputs.GiveToolResult: self._give_tool_result,
            inputs.Close: lambda what: self.links.close(what.reason),
            inputs.Fail: lambda what: self.links.end(what.code, what.message),
            inputs.ConnectionOpened: lambda what: self.links.opened(what.epoch),
            inputs.ConnectionLost: lambda what: self._lost(what.epoch, what.error),
            inputs.Wire: self._wire,
            inputs.SeedReady: lambda what: self.links.seed(what.epoch, what.seed),
            inputs.TurnAdmitted: lambda what: talk.admitted(what.turn_id),
            inputs.TurnRefused: lambda what: talk.refused(what.turn_id, what.error),
            inputs.RequestRefused: lambda what: talk.request_refused(what.ref, what.error),
            inputs.TurnDurable: lambda what: talk.durable(what.turn_id),
            inputs.ToolOutcome: lambda what: talk.tool_ended(talk.calls.outcome(what.call_id, what.result)),
            inputs.AudioLost: lambda what: talk.audio_lost(what.item_ids),
            inputs.Tick: self._tick,
        }

    # -- in and out ------------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Open the channel."""
        self.context.now = now
        self.context.out = []
        self.links.begin()
        return self.context.out

    def handle(self, what: inputs.Input, now: float) -> list[Effect]:
        """Apply one input at `now`. LiveRejected, LiveClosed, ReopenRequired: it was refused, and nothing changed."""
        context = self.context
        context.now = max(now, context.now)
        context.out = []
        self._handlers[type(what)](what)
        self._settle()
        return context.out

    def _settle(self) -> None:
        """Let everything happen that has become possible."""
        links, talk = self.links, self.conversation
        if not links.open and not talk.line.closing:
            talk.close(by_client=links.failure is None and links.close_reason != "cancelled")
        if links.confirmed():
            talk.connected()
        talk.advance()
        if links.state == "ready":
            if links.standby is not None and links.replace_if(quiet=talk.quiet):
                talk.disconnected()
                talk.advance()
            else:
                return
        links.ask_seed(settled=talk.settled)
        if links.closing_overdue:
            talk.force()
        links.settle_if(settled=talk.done)

    @property
    def state(self) -> ChannelState:
        """The state of the channel."""
        return self.links.state

    @property
    def wake_at(self) -> float:
        """When a `Tick` is due, in seconds on the machine's clock; infinity when nothing waits for time."""
        if self.links.state == "closed":
            return float("inf")
        return min(self.links.next_deadline(), self.conversation.next_deadline())

    def statistics(self) -> MachineStatistics:
        """As of the last input."""
        talk = self.conversation
        return MachineStatistics(
            state=self.links.state,
            response=talk.responses.state,
            epoch=self.context.epoch,
            turns_waiting=len(talk.line.waiting),
            turn_running=talk.line.current is not None,
            calls_running=talk.calls.running,
            state_age_s=self.context.now - self.links.entered,
            counts=MappingProxyType(dict(self.context.counts)),
        )

    # -- the hot path ----------------------------------------------------------------------------------------------

    def audio(self, epoch: int, event: AgentAudio, now: float) -> AudioDelta | None:
        """The short way of an audio event in the middle of an answer; None: hand it to `handle`, nothing was done.

        Both ways have the same outcome.
        """
        context, responses = self.context, self.conversation.responses
        turn = responses.turn
        if (
            responses.response_id != event.response_id
            or epoch != context.epoch
            or turn is None
            or turn.cut is not None
            or responses.disowned
            or not context.ready
        ):
            return None
        context.now = max(now, context.now)
        start_ms = self.conversation.answering.audio(turn, event)
        return AudioDelta(
            channel_id=context.channel_id,
            epoch=epoch,
            t=context.now,
            item_id=event.item_id,
            response_id=event.response_id,
            pcm=event.pcm,
            start_ms=start_ms,
        )

    def receipt(self, item_id: str, ms: int, now: float) -> bool:
        """The short way of a receipt while its answer is still coming; False: hand it to `handle`, nothing was done.

        Both ways have the same outcome: until its response has ended, a receipt settles nothing and moves no deadline.
        """
        talk = self.conversation
        turn = talk.responses.turn
        if (
            turn is None
            or turn is not talk.line.current
            or turn.cut is not None
            or not self.context.receipts.expected
            or not talk.responses.serves(turn)
            or talk.line.with_item(item_id) is not turn
        ):
            return False
        self.context.now = max(now, self.context.now)
        talk.played(item_id, ms)
        return True

    def append_audio(self, pcm: bytes) -> bool:
        """The user's audio on its way out. True: write it to the connection in use now; False: it is kept for the next.

        LiveRejected, LiveClosed.
        """
        self._must_be_open()
        self.conversation.listening.check_audio(pcm)
        self.conversation.listening.append(pcm)
        return self.context.ready

    # -- the client ------------------------------------------------------------------------------------------------

    def _must_be_open(self) -> None:
        if not self.links.open:
            reason = self.links.close_reason or "closed"
            raise LiveClosed(f"the channel has ended ({reason}); open a new one", reason=reason)
        if not self.context.counts["opened"]:
            raise LiveRejected("the channel is not ready yet; wait until it is open", reason="not_ready")

    def _send_text(self, what: inputs.SendText) -> None:
        self._must_be_open()
        self.conversation.user.text(what)

    def _respond(self, what: inputs.Respond) -> None:
        self._must_be_open()
        self.conversation.user.respond(what)

    def _put_prompt(self, what: inputs.PutPrompt) -> None:
        self._must_be_open()
        self.conversation.prompt(what.turn_id, what.prompt)

    def _send_image(self, what: inputs.SendImage) -> None:
        self._must_be_open()
        if "image" not in self.context.model.input_modalities:
            raise LiveRejected(f"{self.context.model.id} takes no images", reason="unsupported")
        self.conversation.user.image(what)

    def _commit_audio(self, what: inputs.CommitInputAudio) -> None:
        self._must_be_open()
        listening = self.conversation.listening
        listening.check_commit()
        if self.context.ready:
            self.context.send(CommitInput(self.context.new_ref("commit")))
        listening.committing(what.output)

    def _clear_audio(self, _: inputs.ClearInputAudio) -> None:
        self._must_be_open()
        self.conversation.listening.clear()
        if self.context.ready:
            self.context.send(ClearInput(self.context.new_ref("clear")))

    def _played(self, what: inputs.Played) -> None:
        if self.context.receipts.expected:
            self.conversation.played(what.item_id, what.ms)

    def _give_tool_result(self, what: inputs.GiveToolResult) -> None:
        turn = self.conversation.calls.answered(what.call_id, what.output)
        if turn is None:
            raise LiveRejected(
                f"no call {what.call_id!r:.100} waits for you: it is unknown, ended already, or run by the session",
                reason="unknown_call",
            )
        self.conversation.tool_ended(turn)

    def _refresh(self, what: inputs.Refresh) -> None:
        if not self.links.open:
            self._must_be_open()
        context = self.context
        fixed = {
            "model": what.model is not None and what.model != context.model.id,
            "provider": what.provider is not None and what.provider != context.model.provider,
            "voice": what.voice is not None
            and what.voice != context.config.voice
            and context.voiced_epoch == context.epoch > 0,
        }
        changed = [name for name, differs in fixed.items() if differs]
        if changed:
            raise ReopenRequired(
                f"{', '.join(changed)} cannot change on an open channel: close it and open a new one", fields=changed
            )
        wrong = misfit(context.model, voice=what.voice, output=what.output, turn_detection=what.turn_detection)
        if wrong is not None:
            raise LiveRejected(wrong, reason="unsupported")
        context.overrides.take(what)
        self.links.reconfigure()

    # -- the connection --------------------------------------------------------------------------------------------

    def _lost(self, epoch: int, error: ProviderError) -> None:
        if self.links.lost(epoch, error):
            self.conversation.disconnected()

    def _tick(self, _: inputs.Tick) -> None:
        if self.links.state != "closed" and self.conversation.tick():
            silent = "the provider takes what is said and answers nothing"
            self._lost(self.context.epoch, ProviderUnreachable(silent, recovery="reopen"))
        end = self.links.tick()
        if end is not None:
            self._lost(end.epoch, end.error)

    def _wire(self, what: inputs.Wire) -> None:
        link = self.links.knows(what.epoch)
        if link is None:
            self.context.count("stale_events")
        elif not self.links.hear(link, what.event):
            self._dispatch(link, what.event)

    def _dispatch(self, link: Link, event: WireEvent) -> None:
        if isinstance(event, ProviderFault):
            self._fault(link, event)
        elif link is not self.links.link or not self.context.ready:
            self.context.count("early_events")
        else:
            self._said(event)

    def _said(self, event: WireEvent) -> None:
        talk = self.conversation
        match event:
            case InputSpeechStarted(item_id=item_id):
                talk.user.speech_started(item_id)
            case InputSpeechStopped(item_id=item_id):
                talk.user.speech_stopped(item_id)
            case InputCommitted(item_id=item_id, previous_item_id=previous):
                talk.user.committed(item_id, previous)
            case UserTranscriptPart(item_id=item_id, delta=delta):
                talk.transcripts.part(item_id, delta)
            case UserTranscriptFinal(item_id=item_id, text=text):
                talk.transcripts.final(item_id, text)
            case UserTranscriptFailed(item_id=item_id):
                talk.transcripts.final(item_id, "", failed=True)
            case ItemAdded():
                talk.item_added(event)
            case RateLimited(remaining=remaining):
                self.context.counts["rate_remaining_percent"] = round(remaining * 100)
            case InputCleared() | InputIdle() | ItemDone() | ItemDeleted() | ItemTruncated():
                self.context.count("acknowledged")
            case _ if isinstance(event, ResponseEvent):
                talk.answering.apply(event)
            case _:
                self.context.count("ignored_events")

    def _fault(self, link: Link, fault: ProviderFault) -> None:
        """An error that the provider reports, by what can be done about it and by what it is about."""
        error = ProviderError(fault.message, recovery=fault.recovery, provider_code=fault.code)
        if fault.recovery in ("fatal", "reopen"):
            if fault.recovery == "fatal" and link is self.links.link:
                self.conversation.provider_gave_up(f"{fault.code}: {fault.message}")
            self._lost(link.epoch, error)
        elif link is self.links.link and self.context.ready:
            self.conversation.fault(fault, self.context.purpose_of(fault.ref))
        else:
            self.context.count("early_events")
