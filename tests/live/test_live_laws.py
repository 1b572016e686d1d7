"""The laws of the live channel on the pure machine: random conversations, faults, interleavings, and mutants."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from attrs import define, evolve, field
from hypothesis import HealthCheck, example, given, settings, strategies as st
from live_bench import CHARS_PER_S, Bench, Reply, pcm

from mob.errors import LiveError
from mob.history.items import AgentMessage, Cause, Item, Note, ToolCall, Turn, UserMessage
from mob.live import effects, events, inputs
from mob.live.conversation import Conversation
from mob.live.interruption import Interruption
from mob.live.links import Links
from mob.live.playback import Heard, Playback
from mob.live.ports import Prompt
from mob.live.reducer import TurnReducer
from mob.live.responses import MOVES, Responses
from mob.live.seeding import Seeding, item_commands
from mob.live.user import UserTurns
from mob.providers import commands as say, events as wire
from mob.values import TurnDetection

LAW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

# -- conversations -------------------------------------------------------------------------------------------------

REPLIES = st.builds(
    Reply,
    words=st.integers(0, 12),
    spoken=st.booleans(),
    calls=st.lists(st.sampled_from(["look", "book", "hand_over", "ask_client", "fly"]), max_size=2).map(tuple),
    status=st.sampled_from(["completed", "completed", "completed", "completed", "failed", "incomplete"]),
    chunk_ms=st.sampled_from([40, 200, 333]),
    silent=st.sampled_from([False] * 9 + [True]),
)

STEPS = st.one_of(
    st.tuples(st.just("text")),
    st.tuples(st.just("text"), st.sampled_from(["text", "audio"])),
    st.tuples(st.just("respond"), st.sampled_from([None, "text", "audio"])),
    st.tuples(st.just("manner"), st.sampled_from([None, True, False]), st.sampled_from([None, True, False])),
    st.tuples(st.just("prompt")),
    st.tuples(st.just("inject")),
    st.tuples(st.just("speak"), st.sampled_from([120, 500])),
    st.tuples(st.just("noise")),
    st.tuples(st.just("append"), st.sampled_from([20, 90, 200])),
    st.tuples(st.just("commit"), st.sampled_from([None, "text"])),
    st.tuples(st.just("clear")),
    st.tuples(st.just("emit"), st.integers(1, 15)),
    st.tuples(st.just("finish")),
    st.tuples(st.just("play"), st.floats(0, 1)),
    st.tuples(st.just("play_all")),
    st.tuples(st.just("stop_playing")),
    st.tuples(st.just("played_through")),
    st.tuples(st.just("interrupt")),
    st.tuples(st.just("truncate"), st.integers(-5, 3000)),
    st.tuples(st.just("tool")),
    st.tuples(st.just("answer")),
    st.tuples(st.just("words")),
    st.tuples(st.just("drop")),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 0.7, 3.0, 25.0])),
)

SCRIPTS = st.lists(STEPS, max_size=25)


@define
class LawBench(Bench):
    """A bench that notes, as things happen, what the laws ask about."""

    at_cut: dict[str, dict[str, int]] = field(factory=dict)

    def _perform(self, effect: effects.Effect) -> None:
        super()._perform(effect)
        if isinstance(effect, effects.Publish) and isinstance(effect.event, events.Interrupted):
            for item_id in self.given():
                self.at_cut.setdefault(item_id, dict(self.receipts))

    def act(self, step: tuple) -> None:
        """One thing that happens. What is refused is refused."""
        name, *arguments = step
        getattr(self, f"do_{name}")(*arguments)

    def do_text(self, output=None):
        self.command(inputs.SendText("hello there", output))

    def do_manner(self, auto_respond, barge_in):
        self.command(inputs.Refresh(auto_respond=auto_respond, barge_in=barge_in))

    def do_prompt(self):
        cause = Cause("ask", origin="host", message_id=self.ids.new("m"))
        said = UserMessage(self.ids.new("m"), "what is the soup?", author="host")
        self.command(inputs.PutPrompt(self.ids.new("turn"), Prompt((said,), cause, output="text")))

    def do_respond(self, output=None):
        self.command(inputs.Respond(output))

    def do_inject(self):
        """The session commits a note between two turns, and tells the channel of it."""
        if self.admitted is None and not self.committing:
            note = Note(self.ids.new("item"), f"by the way {len(self.log)}", "context")
            self.log.append(Turn(self.ids.new("turn"), Cause("context"), (note,), seq=len(self.log) + 1))
            self.feed(inputs.AddContext(note))

    def do_speak(self, ms):
        if self.machine.context.ready and not self.manual:
            self.speak(ms)

    def do_noise(self):
        if self.machine.context.ready and not self.manual:
            self.provider_in_use.tell(wire.InputSpeechStarted(None))

    def do_append(self, ms):
        self.append(ms)

    def do_commit(self, output=None):
        self.command(inputs.CommitInputAudio(output))

    def do_clear(self):
        self.command(inputs.ClearInputAudio())

    def do_emit(self, count):
        if self.provider_in_use is not None:
            self.provider_in_use.emit(count)

    def do_finish(self):
        if self.provider_in_use is not None:
            self.provider_in_use.finish()

    @property
    def provider_in_use(self):
        return self.providers.get(self.machine.context.epoch)

    def do_play(self, share):
        for item_id, ms in self.given().items():
            self.receipts[item_id] = max(self.receipts.get(item_id, 0), int(ms * share))
            self.play(item_id, int(ms * share))

    def do_play_all(self):
        for item_id, ms in self.given().items():
            self.receipts[item_id] = ms
        self.play_all()

    def do_stop_playing(self):
        self.command(inputs.StopPlaying())

    def do_played_through(self):
        talk = self.machine.conversation
        turn = talk.line.current
        if turn is not None and talk._draining(turn) and not turn.playback.stopped:
            # The client says by it that it plays the whole answer.
            self.receipts |= {item_id: ms for item_id, ms in self.given().items() if item_id in turn.playback}
        self.command(inputs.PlayedThrough())

    def given(self) -> dict[str, int]:
        """How much of each item the client has been given, ms."""
        sizes: Counter[str] = Counter()
        for event in self.published:
            if isinstance(event, events.AudioDelta):
                sizes[event.item_id] += len(event.pcm)
        return {item_id: size * 500 // 24000 for item_id, size in sizes.items()}

    def do_interrupt(self):
        self.command(inputs.Interrupt())

    def do_truncate(self, ms):
        for item_id in list(self.given())[-1:]:
            if self.command(inputs.Truncate(item_id, ms)):
                # A truncate is a receipt and a cut in one: it says how much was heard of what it cuts.
                self.receipts[item_id] = max(self.receipts.get(item_id, 0), ms)
                if item_id in self.at_cut:
                    self.at_cut[item_id][item_id] = self.receipts[item_id]

    def do_tool(self):
        if self.open_tools:
            self.end_tool(next(iter(self.open_tools)))

    def do_answer(self):
        for event in self.published:
            if isinstance(event, events.ToolCall) and event.external:
                self.command(inputs.GiveToolResult(event.call_id, "yes"))

    def do_words(self):
        for item_id in list(self.machine.conversation.transcripts._open):
            self.provider.tell(wire.UserTranscriptFinal(item_id, "some words"))

    def do_drop(self):
        if self.provider_in_use is not None and not self.provider_in_use.gone:
            self.lose()

    def do_wait(self, seconds):
        self.wait(seconds)

    def settle(self) -> None:
        """Everybody does what is due, until nothing is left to do."""
        for _ in range(60):
            if self.machine.conversation.line.held is not None:
                self.do_respond()
            self.do_finish()
            while self.open_tools:
                self.do_tool()
            self.do_answer()
            self.do_play_all()
            self.wait(2.5)
            if self.machine.state in ("ready", "closed") and not self.machine.conversation.line.all():
                return
        raise AssertionError(f"not settled: {self.machine.statistics()}")


def converse(script, replies, **options) -> LawBench:
    bench = LawBench(**options)
    bench.replies = list(replies)
    for step in script:
        if bench.machine.state == "closed":
            break
        bench.act(step)
    return bench


CONVERSATIONS = st.tuples(SCRIPTS, st.lists(REPLIES, max_size=8))


def messages(bench: Bench) -> list[AgentMessage]:
    return [item for turn in bench.log for item in turn.items if isinstance(item, AgentMessage)]


def broken(check, *arguments) -> bool:
    """Whether the law's check fails on some conversation."""
    try:
        check(*arguments)
    except (AssertionError, KeyError):
        return True
    return False


# -- law 4 ---------------------------------------------------------------------------------------------------------


def check_law_04(script, replies) -> None:
    bench = converse(script, replies)
    bench.settle()
    given = bench.given()
    for message in messages(bench):
        full = bench.full_texts[message.id]
        if message.fidelity is None or not message.interrupted:
            assert message.text in ("", full) or bench.output == "text" or message.interrupted
            continue
        assert full.startswith(message.spoken_text)
        rest = full[len(message.spoken_text) :]
        assert not rest or not message.spoken_text or rest.startswith(" "), "cut at a word"
        assert message.heard_ms <= message.generated_ms <= given[message.id]
        if message.fidelity == "exact":
            assert message.heard_ms <= bench.at_cut.get(message.id, bench.receipts).get(message.id, 0)
        assert len(message.spoken_text) <= message.heard_ms * CHARS_PER_S / 1000 + 1


@LAW
@given(CONVERSATIONS)
@example(([("text",), ("emit", 4), ("truncate", 1)], []))
def test_law_04_only_what_was_heard_is_committed(conversation):
    check_law_04(*conversation)


CUT = [("text",), ("emit", 14), ("play", 0.4), ("interrupt",), ("finish",)]
LONG = [Reply(words=12)]


def test_law_04_mutant_counting_what_was_received_is_caught(monkeypatch):
    assert not broken(check_law_04, CUT, LONG)

    def heard(self, item_id):
        generated = int(self._tracks[item_id].size * 500 / self.rate) if item_id in self._tracks else 0
        return Heard(generated, generated, "exact")

    monkeypatch.setattr(Playback, "heard", heard)
    assert broken(check_law_04, CUT, LONG)


def test_law_04_mutant_committing_all_the_words_is_caught(monkeypatch):
    monkeypatch.setattr("mob.live.reducer.HeardText.heard_prefix", lambda self, ms: self.text)
    assert broken(check_law_04, CUT, LONG)


@given(st.lists(st.integers(0, 3000), max_size=8), st.integers(1, 10))
@settings(deadline=None)
def test_law_04_the_heard_text_grows_with_the_receipts(receipts, words):
    def text_at(ms):
        bench = Bench()
        bench.replies = [Reply(words=words)]
        bench.text()
        bench.provider.emit(2 * words)
        for item_id in {event.item_id for event in bench.told(events.AudioDelta)}:
            bench.play(item_id, ms)
        bench.command(inputs.Interrupt())
        bench.provider.finish()
        return "".join(message.text for message in messages(bench))

    texts = [text_at(ms) for ms in sorted(receipts)]
    assert all(after.startswith(before) for before, after in pairwise(texts))


# -- law 5 ---------------------------------------------------------------------------------------------------------


def check_law_05(emitted, share, reply, late, replayed) -> None:
    """What is committed is the same, however much of the cut response still comes, once or again."""
    outcomes = []
    for after in (0, late):
        bench = LawBench(late=after)
        bench.replies = [reply]
        bench.text()
        provider = bench.provider
        provider.emit(emitted)
        bench.do_play(share)
        rest = list(provider.script)
        bench.command(inputs.Interrupt())
        provider.finish()
        if after:
            for event in rest[:replayed]:
                provider.tell(event)
        bench.settle()
        outcomes.append(
            [
                evolve(item, id="", response_id=None) if isinstance(item, AgentMessage) else type(item)
                for item in bench.log[0].items
            ]
            + [bench.log[0].status, len(bench.log)]
        )
    assert outcomes[0] == outcomes[1]


LATE = (
    st.integers(1, 30),
    st.floats(0, 1),
    REPLIES.filter(lambda reply: not reply.silent),
    st.integers(1, 20),
    st.integers(0, 9),
)


@LAW
@given(*LATE)
def test_law_05_what_comes_after_the_cut_changes_nothing(emitted, share, reply, late, replayed):
    check_law_05(emitted, share, reply, late, replayed)


def test_law_05_mutant_an_open_reducer_is_caught(monkeypatch):
    arguments = (9, 0.4, Reply(words=12), 15, 0)
    assert not broken(check_law_05, *arguments)

    def apply_all_the_same(self, turn, event):
        turn.reducer._closed.clear()
        turn.reducer.apply(event)

    monkeypatch.setattr("mob.live.answering.Answering._after_cut", apply_all_the_same)
    monkeypatch.setattr(TurnReducer, "close", lambda self, response_id, heard: None)
    assert broken(check_law_05, *arguments)


# -- law 8 and 24 --------------------------------------------------------------------------------------------------


def check_law_24(script, replies, refuse_dial) -> None:
    bench = converse(script, replies, commit_delay=0.01)
    bench.refuse_dial = refuse_dial
    bench.command(inputs.Close())
    bench.wait(bench.limits.close_timeout_s + 0.05)
    assert bench.machine.state == "closed"
    assert bench.finished is not None
    assert all(provider.gone for provider in bench.providers.values())
    assert bench.machine.wake_at == float("inf")
    assert not bench.open_tools
    assert bench.reserved == bench.spent
    assert not bench.machine.conversation.line.all()


@LAW
@given(CONVERSATIONS, st.integers(0, 2))
def test_law_24_closing_is_bounded_from_any_state_and_leaves_nothing(conversation, refuse_dial):
    check_law_24(*conversation, refuse_dial)


@LAW
@given(CONVERSATIONS)
def test_law_08_at_most_one_connection_and_its_standby_are_open(conversation):
    script, replies = conversation
    bench = LawBench(expires_at=1200.0)
    bench.replies = list(replies)
    for step in script:
        if bench.machine.state == "closed":
            break
        bench.act(step)
        links = bench.machine.links
        wanted = {link.epoch for link in (links.link, links.standby) if link is not None}
        assert {epoch for epoch, provider in bench.providers.items() if not provider.gone} <= wanted


# -- law 9 ---------------------------------------------------------------------------------------------------------


def check_law_09(script, replies) -> None:
    bench = converse(script, replies)
    bench.settle()
    assert bench.overlaps == 0
    assert "conversation_already_has_active_response" not in bench.faults
    assert bench.reserved == bench.spent


@LAW
@given(CONVERSATIONS)
def test_law_09_one_response_at_a_time(conversation):
    check_law_09(*conversation)


OVERLAPPING = [("text",), ("emit", 3), ("text",), ("emit", 1), ("text",)]


def test_law_09_mutant_asking_while_one_is_active_is_caught(monkeypatch):
    assert not broken(check_law_09, OVERLAPPING, [])

    def ask(self, turn):
        if turn.want is not None and self.responses.state != "requested":
            self.responses.state = "idle"
            self.responses.ask(turn)

    monkeypatch.setattr(Conversation, "_ask", ask)
    monkeypatch.setattr(Responses, "serves", lambda self, turn: False)
    assert broken(check_law_09, OVERLAPPING, [])


def test_law_09_the_table_of_moves_has_one_way_out_of_every_state():
    states = {state for state, _ in MOVES}
    assert states == {"idle", "requested", "active", "cancelling"}
    for state in states - {"idle"}:
        assert any(after != state for (before, _), after in MOVES.items() if before == state)


def check_law_09_held(script, replies, *, manual) -> None:
    """Without `auto_respond` nothing is asked for until `respond`; then all that was said is one turn, whole."""
    bench = LawBench(auto_respond=False, manual=manual)
    bench.replies = list(replies)
    sent = 0
    for step in script:
        if bench.machine.state == "closed":
            return
        if step[0] not in ("respond", "manner", "prompt", "inject"):
            before = len(bench.refused)
            bench.act(step)
            sent += step[0] == "text" and len(bench.refused) == before
        assert bench.creates == 0
        assert bench.log == []
    bench.settle()
    said = [item for turn in bench.log for item in turn.items if isinstance(item, UserMessage)]
    assert len([item for item in said if item.text == "hello there"]) == sent
    assert bench.overlaps == 0


@LAW
@given(CONVERSATIONS, st.booleans())
def test_law_09_without_auto_respond_nothing_is_asked_for_until_respond(conversation, manual):
    check_law_09_held(*conversation, manual=manual)


HELD = [("text",), ("speak", 500), ("drop",), ("wait", 3.0), ("words",), ("text", "text")]


def test_law_09_mutant_answering_what_is_held_is_caught(monkeypatch):
    assert not broken(check_law_09_held_vad, HELD, [])

    def said(self, turn):
        self._line.release(turn)
        turn.wants("answer")

    monkeypatch.setattr(UserTurns, "_said", said)
    assert broken(check_law_09_held_vad, HELD, [])


def test_law_09_mutant_forgetting_what_is_held_with_its_connection_is_caught(monkeypatch):
    original = Conversation.disconnected

    def disconnected(self):
        original(self)
        self.line.held = None

    monkeypatch.setattr(Conversation, "disconnected", disconnected)
    assert broken(check_law_09_held_vad, HELD, [])


def check_law_09_held_vad(script, replies) -> None:
    check_law_09_held(script, replies, manual=False)


@LAW
@given(CONVERSATIONS)
def test_without_barge_in_a_sound_cuts_nothing(conversation):
    script, replies = conversation
    bench = LawBench(barge_in=False)
    bench.replies = list(replies)
    for step in script:
        if bench.machine.state == "closed":
            break
        before = len(bench.told(events.Interrupted))
        if step[0] != "manner":
            bench.act(step)
        if step[0] == "noise":
            assert len(bench.told(events.Interrupted)) == before
    bench.settle()


# -- law 10 --------------------------------------------------------------------------------------------------------


def check_law_10(script, replies, late) -> None:
    bench = converse(script, replies, late=late)
    bench.settle()
    truncated = Counter(command.item_id for command in bench.commands(say.TruncateItem))
    deleted = Counter(command.item_id for command in bench.commands(say.DeleteItem))
    assert all(count == 1 for count in (truncated | deleted).values()), "at most once per item"
    assert "truncate_refused" not in bench.faults, "never past the audio received"
    received = {item: ms for provider in bench.providers.values() for item, ms in provider.audio_ms.items()}
    for command in bench.commands(say.TruncateItem):
        assert 0 < command.audio_end_ms < received[command.item_id]
    told = {event.item_id: event for event in bench.told(events.Interrupted) if event.item_id is not None}
    gone = bench.machine.context.epoch > 1 or bench.machine.state == "closed"
    for item_id, cut in told.items():
        if not gone and 0 < cut.heard_ms < cut.generated_ms:
            assert item_id in truncated
        if not gone and 0 == cut.heard_ms < cut.generated_ms:
            assert item_id in deleted
    for message in messages(bench):
        if not message.interrupted:
            assert message.id not in truncated
            assert message.id not in deleted


@LAW
@given(CONVERSATIONS, st.sampled_from([0, 3, 20]))
def test_law_10_truncate_exactly_when_a_part_was_heard(conversation, late):
    check_law_10(*conversation, late)


HEARD_ALL = [("text",), ("emit", 14), ("play", 1.0), ("interrupt",), ("finish",)]


@pytest.mark.parametrize("script", [CUT, HEARD_ALL], ids=["partly", "wholly"])
def test_law_10_mutant_always_truncating_is_caught(monkeypatch, script):
    assert not broken(check_law_10, script, LONG, 0)

    def tell_provider(self, turn, item_id, heard, content_index=0):
        self._context.send(say.TruncateItem(item_id, heard.generated_ms))

    monkeypatch.setattr(Interruption, "_tell_provider", tell_provider)
    original = Interruption.cut

    def cut(self, turn, reason, **options):
        if turn.cut is None:
            for item_id in turn.playback.item_ids:
                tell_provider(self, turn, item_id, turn.heard(item_id))
        original(self, turn, reason, **options)

    monkeypatch.setattr(Interruption, "cut", cut)
    assert broken(check_law_10, script, LONG, 0)


def test_law_10_mutant_never_truncating_is_caught(monkeypatch):
    monkeypatch.setattr(Interruption, "_tell_provider", lambda *_: None)
    assert broken(check_law_10, CUT, LONG, 0)


# -- law 11 and 12 -------------------------------------------------------------------------------------------------


def check_law_11(script, manual) -> None:
    bench = converse(script, [], manual=manual)
    assert "input_audio_buffer_commit_empty" not in bench.faults
    assert "truncate_refused" not in bench.faults
    if not manual:
        assert bench.commands(say.CommitInput) == []
    for command in bench.commands(say.AppendAudio):
        assert len(command.pcm) % 2 == 0
    assert bench.machine.state != "closed"


@LAW
@given(SCRIPTS, st.booleans())
def test_law_11_what_would_be_fatal_is_refused_here(script, manual):
    check_law_11(script, manual)


def test_law_11_mutant_an_unchecked_commit_is_caught(monkeypatch):
    script = [("append", 20), ("commit",)]
    assert not broken(check_law_11, script, True)
    monkeypatch.setattr("mob.live.listening.Listening.check_commit", lambda self: None)
    assert broken(check_law_11, script, True)


REFUSABLE = st.one_of(
    st.just(inputs.SendText("")),
    st.just(inputs.CommitInputAudio()),
    st.builds(inputs.Truncate, st.just("nobody"), st.integers()),
    st.just(inputs.GiveToolResult("nobody", "x")),
    st.just(inputs.Refresh(model="another")),
    st.just(inputs.Refresh(output="text", turn_detection=TurnDetection("semantic_vad"))),
    st.just(inputs.SendText("hi", item_id="too long for any provider that we know of")),
)


def digest(bench: Bench):
    talk, links = bench.machine.conversation, bench.machine.links
    return (
        bench.machine.state,
        talk.responses.state,
        talk.responses.response_id,
        [(turn.turn_id, turn.state, turn.want, turn.cut, turn.items()) for turn in talk.line.all()],
        links.continuity,
        bench.machine.context.config,
        len(bench.sent),
        len(bench.published),
        talk.calls.running,
    )


@LAW
@given(CONVERSATIONS, st.lists(REFUSABLE, min_size=1, max_size=4))
def test_law_12_a_refusal_changes_nothing(conversation, refusable):
    bench = converse(*conversation)
    before = digest(bench)
    for what in refusable:
        with pytest.raises(LiveError):
            bench.feed(what)
    assert digest(bench) == before


@LAW
@given(CONVERSATIONS, st.sampled_from(["fault", "failed", "drops"]))
def test_law_12_a_terminal_error_ends_the_channel_once_with_its_reason_first(conversation, how):
    bench = converse(*conversation)
    if bench.machine.state == "closed" or bench.machine.links.link is None:
        return
    if how == "fault":
        epoch = bench.machine.context.epoch
        bench.feed(inputs.Wire(epoch, wire.ProviderFault("invalid_api_key", "no", "fatal")))
    if how == "failed":
        bench.feed(inputs.Fail("store_full", "no room"))
    if how == "drops":
        bench.refuse_dial = 1000
        bench.do_drop()
        bench.wait(100)
    bench.wait(10)
    fatal = [event for event in bench.told(events.ChannelError) if event.recovery == "fatal"]
    assert len(fatal) == 1
    assert bench.machine.state == "closed"
    assert bench.finished == fatal[0].code


# -- law 13 --------------------------------------------------------------------------------------------------------

OLD_EVENTS = st.lists(
    st.one_of(
        st.builds(wire.InputCommitted, st.just("old"), st.none()),
        st.builds(wire.InputSpeechStarted, st.just("old")),
        st.builds(wire.AgentAudio, st.just("old"), st.just("old"), st.just(pcm(40))),
        st.builds(wire.AgentTextPart, st.just("old"), st.just("old"), st.just("boo")),
        st.builds(wire.ToolCallReady, *(st.just(x) for x in ("old", "old", "old", "look", "{}"))),
        st.builds(wire.ResponseEnded, st.just("old"), st.just("completed")),
        st.builds(wire.ProviderFault, st.just("boo"), st.just("boo"), st.sampled_from(["fatal", "reopen", "retry"])),
        st.builds(wire.SessionExpiring, st.just(1.0)),
    ),
    min_size=1,
    max_size=5,
)


def check_law_13(script, replies, old) -> None:
    bench = converse([*script, ("drop",), ("wait", 0.7)], replies)
    bench.feed(inputs.Tick())
    stale = bench.machine.statistics().counts.get("stale_events", 0)
    before, links = digest(bench), bench.machine.links
    current = {link.epoch for link in (links.link, links.standby) if link is not None}
    for event in old:
        for epoch in set(bench.providers) - current:
            bench.feed(inputs.Wire(epoch, event))
            stale += 1
            assert bench.machine.audio(epoch, wire.AgentAudio("old", "old", pcm(40)), bench.now) is None
    assert digest(bench) == before
    assert bench.machine.statistics().counts.get("stale_events", 0) == stale
    epochs = [event.epoch for event in bench.published if not isinstance(event, events.TurnCommitted)]
    assert epochs == sorted(epochs)


@LAW
@given(CONVERSATIONS, OLD_EVENTS)
def test_law_13_an_event_of_an_old_connection_changes_nothing_and_is_counted(conversation, old):
    check_law_13(*conversation, old)


def test_law_13_mutant_forgetting_the_epoch_is_caught(monkeypatch):
    arguments = ([("text",)], [], [wire.InputSpeechStarted("old")])
    assert not broken(check_law_13, *arguments)
    monkeypatch.setattr(Links, "knows", lambda self, epoch: self.link)
    assert broken(check_law_13, *arguments)


# -- law 15 --------------------------------------------------------------------------------------------------------


def said(commands: list[say.WireCommand]) -> list[tuple]:
    out = []
    for command in commands:
        match command:
            case say.AddMessage(role=role, text=text):
                out.append((role, text))
            case say.AddToolCall(call_id=call_id) | say.AddToolResult(call_id=call_id):
                out.append((type(command).__name__, call_id))
    return out


@define
class SeedBench(LawBench):
    """Notes what stood in the provider's conversation when the channel became ready, and what the log was then."""

    def _perform(self, effect: effects.Effect) -> None:
        super()._perform(effect)
        if isinstance(effect, effects.Publish) and isinstance(effect.event, events.Connected):
            self.connected.append((effect.event, self.projection(), said(self.seeded(effect.event.epoch))))

    def seeded(self, epoch: int) -> list[say.WireCommand]:
        return [command for _, at, command in self.sent if at == epoch]

    connected: list[tuple[events.Connected, tuple[Item, ...], list[tuple]]] = field(factory=list)


def check_law_15(script, replies, confirm) -> None:
    bench = SeedBench()
    bench.replies = list(replies)
    for step in script:
        if bench.machine.state == "closed":
            break
        bench.confirm_items = confirm or step[0] != "drop"
        bench.act(step)
        if step[0] == "drop":
            bench.wait(15)
    for event, log, told in bench.connected:
        expected = said([command for item in log for command in item_commands(item, "x", "y")])
        assert told == expected
        if not log:
            assert event.continuity == "fresh"
        elif confirm:
            assert event.continuity == "transcript_only"


ENDS_WHILE_SEEDING = [("text",), ("text",), ("drop",), ("drop",), ("wait", 25.0), ("drop",)]


@LAW
@given(CONVERSATIONS, st.booleans())
@example((ENDS_WHILE_SEEDING, []), False)
def test_law_15_a_new_connection_is_told_the_log(conversation, confirm):
    check_law_15(*conversation, confirm)


def test_law_15_mutant_a_seed_that_leaves_something_out_is_caught(monkeypatch):
    script = [("text",), ("finish",), ("play_all",), ("drop",)]
    assert not broken(check_law_15, script, [], True)
    original = Seeding.commands
    monkeypatch.setattr(Seeding, "commands", lambda self, ids: original(self, ids)[1:])
    assert broken(check_law_15, script, [], True)


def check_law_15_context(script, replies) -> None:
    bench = converse(script, replies)
    bench.settle()
    notes = [item.text for item in bench.projection() if isinstance(item, Note)]
    told = Counter(command.text for command in bench.commands(say.AddMessage, bench.machine.context.epoch))
    assert len(set(notes)) == len(notes)
    if bench.machine.state == "ready":
        assert all(told[text] == 1 for text in notes), "each note once on the connection in use"


@LAW
@given(CONVERSATIONS)
@example(([("inject",), ("text",), ("finish",), ("play_all",), ("drop",), ("inject",)], []))
def test_law_15_what_is_injected_is_told_once_on_every_connection(conversation):
    check_law_15_context(*conversation)


def test_law_15_mutant_a_note_for_the_seed_alone_is_caught(monkeypatch):
    script = [("inject",)]
    assert not broken(check_law_15_context, script, [])
    monkeypatch.setattr(Links, "tell", lambda self, item: None)
    assert broken(check_law_15_context, script, [])


# -- law 16 --------------------------------------------------------------------------------------------------------


def check_law_16(script, replies, budget) -> None:
    bench = LawBench(budget=budget)
    bench.replies = list(replies)
    texts = 0
    for step in script:
        if bench.machine.state == "closed":
            break
        before = len(bench.refused)
        bench.act(step)
        texts += step[0] == "text" and len(bench.refused) == before
    bench.settle()
    said = [item for turn in bench.log for item in turn.items if isinstance(item, UserMessage)]
    assert len([item for item in said if item.text == "hello there"]) == texts, "no user turn is lost"
    for turn in bench.log:
        if turn.cause.kind == "context":
            continue
        answered = any(isinstance(item, AgentMessage | ToolCall) for item in turn.items)
        assert answered or turn.status == "interrupted" or (turn.status == "failed" and turn.error), turn


@LAW
@given(CONVERSATIONS, st.sampled_from([1000, 2]))
def test_law_16_every_user_turn_leads_to_something(conversation, budget):
    check_law_16(*conversation, budget)


def test_law_16_mutant_accepting_silence_is_caught(monkeypatch):
    arguments = ([("text",), ("finish",)], [Reply(words=0), Reply(words=0)], 1000)
    assert not broken(check_law_16, *arguments)
    monkeypatch.setattr("mob.live.answering.Answering._say_nothing", lambda self, turn: None)
    assert broken(check_law_16, *arguments)


# -- laws 17 and 18, as far as they are the channel's --------------------------------------------------------------


def check_law_18(script, replies) -> None:
    bench = converse(script, replies)
    bench.settle()
    assert len(bench.started_tools) == len(set(bench.started_tools)), "no call is started twice"
    ends = Counter(event.call_id for event in bench.told(events.ToolFinished))
    calls = Counter(event.call_id for event in bench.told(events.ToolCall))
    assert ends == calls, "each call ends exactly once"
    assert all(count == 1 for count in calls.values())
    for epoch in bench.providers:
        results = Counter(command.call_id for command in bench.commands(say.AddToolResult, epoch))
        assert all(count == 1 for count in results.values()), "one result per call and connection"


@LAW
@given(CONVERSATIONS)
def test_law_18_each_call_starts_at_most_once_and_ends_once(conversation):
    check_law_18(*conversation)


def test_law_18_a_call_of_a_cut_response_never_starts():
    for reply in (Reply(words=3, calls=("book", "look")), Reply(words=0, calls=("book",))):
        for emitted in range(1, 12):
            bench = LawBench(late=20)
            bench.replies = [reply]
            bench.text()
            bench.provider.emit(emitted)
            started = list(bench.started_tools)
            bench.command(inputs.Interrupt())
            bench.provider.finish()
            assert bench.started_tools == started


# -- the short ways --------------------------------------------------------------------------------------------------


class ShortBench(LawBench):
    """Takes the short way of audio and of receipts wherever the machine lets it, as the pump does."""

    short_receipts = 0

    def feed(self, what):
        if not self._busy and self.takes_short_way(what):
            return
        super().feed(what)

    def takes_short_way(self, what):
        match what:
            case inputs.Wire(epoch=epoch, event=wire.AgentAudio() as event):
                delta = self.machine.audio(epoch, event, self.now)
                if delta is not None:
                    self.published.append(delta)
                return delta is not None
            case inputs.Played(item_id=item_id, ms=ms):
                taken = self.machine.receipt(item_id, ms, self.now)
                self.short_receipts += taken
                return taken
        return False


def check_short_ways(conversation, short_bench):
    """Client, provider and log see the same, and the machine wants to wake at the same time."""
    script, replies = conversation
    long, short = LawBench(), short_bench()
    for bench in (long, short):
        bench.replies = list(replies)
    for step in script:
        for bench in (long, short):
            if bench.machine.state != "closed":
                bench.act(step)
        assert long.machine.wake_at == short.machine.wake_at
    assert long.published == short.published
    assert long.sent == short.sent
    assert long.log == short.log


@LAW
@given(CONVERSATIONS)
def test_the_short_ways_do_what_the_long_ways_do(conversation):
    check_short_ways(conversation, ShortBench)


def test_a_receipt_takes_the_short_way_while_its_answer_is_coming_and_only_then():
    bench = ShortBench()
    bench.replies = [Reply(words=4)]
    bench.text()
    bench.provider.emit(12)
    item_id = bench.told(events.AudioDelta)[0].item_id
    bench.play(item_id, 10)
    assert bench.short_receipts == 1
    bench.provider.finish()
    bench.play(item_id, 20)
    assert bench.short_receipts == 1
    bench.play_all()
    assert len(bench.log) == 1
