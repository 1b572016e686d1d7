"""Laws 19 and 20 on the real post and a log: members answer, ask on, hang, fail and are rewired meanwhile."""

import itertools

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from mob.definition.model import Limits, Member, MobDefinition, Profile, Route
from mob.errors import (
    AskCycle,
    HopLimitReached,
    MailboxFull,
    MemberFailed,
    MemberUnknown,
    MobError,
    RouteRefused,
    TurnTimedOut,
)
from mob.history.floor import Floor
from mob.history.items import Cause
from mob.history.rows import MessageAdmitted, MessageEnded, Wired
from mob.ids import Ids
from mob.store.memory import MemoryStore
from mob.team.floor import FloorMachine
from mob.team.post import Post
from mob.team.routing import RouteTable
from mob.team.teamlog import TeamLog

MEMBERS = ("ann", "bob", "cyd")
HUMAN = Cause("text")
LIMITS = Limits(max_hops=3, tool_timeout_s=10.0, turn_timeout_s=20.0)


def run_virtual(main, *args):
    return trio.run(main, *args, clock=trio.testing.MockClock(autojump_threshold=0))


class FakeMember:
    """One turn at a time; what it does with a message is a script of its own."""

    def __init__(self, team, identity):
        self.team, self.identity = team, identity
        self.turn = trio.Lock()
        self.delivered = []
        self.plan = []
        self.full = False

    def check_room(self):
        if self.full:
            raise MailboxFull(f"{self.identity} has a full mailbox")

    async def answer(self, text, *, cause, timeout_s):
        self.delivered.append((cause.message_id, text, cause.hops, timeout_s))
        async with self.turn:
            return await self.act(cause)

    async def act(self, cause):
        kind, value = self.plan.pop(0) if self.plan else ("say", 0.01)
        if kind == "fail":
            raise MemberFailed(f"{self.identity} failed")
        if kind == "hang":
            await trio.sleep_forever()
        if kind == "ask":
            try:
                await self.team.post.ask(self.identity, value, "and you?", cause=cause)
            except MobError as error:
                self.team.refusals.append(error)
        await trio.sleep(value if kind == "say" else 0.01)
        return f"{self.identity} to {cause.message_id}"


class Team:
    def __init__(self, routes, *, post=Post, limits=LIMITS):
        profile = Profile("clerk", "gpt-5.4-mini")
        definition = MobDefinition(
            "team", {"clerk": profile}, {name: Member(name, "clerk") for name in MEMBERS}, routes=tuple(routes)
        )
        self.definition, self.limits, self.make_post = definition, limits, post
        self.members = {name: FakeMember(self, name) for name in MEMBERS}
        self.refusals = []
        self.told = []

    def reach(self, identity):
        if identity not in self.members:
            raise MemberUnknown(f"no {identity}")
        return self.members[identity]

    async def run(self, body):
        store = MemoryStore()
        self.table = RouteTable(self.definition, dict.fromkeys(MEMBERS, "clerk"))
        async with store.open_run("r", create=True) as log, trio.open_nursery() as nursery:
            machine = FloorMachine(entry="ann", max_hops=3, runs=lambda _: True)
            team_log = TeamLog(log, machine, Floor(), lambda _: None)
            self.post = self.make_post(
                team_log,
                self.table,
                limits=self.limits,
                ids=Ids(1),
                reach=self.reach,
                publish=self.told.append,
                nursery=nursery,
            )
            await body(self)
        self.rows = [stored async for stored in store.read_run("r")]

    def of(self, kind):
        return [stored.row for stored in self.rows if isinstance(stored.row, kind)]


BOTH = [Route(a, b, ("ask", "tell")) for a, b in itertools.permutations(MEMBERS, 2)]


def test_an_ask_is_admitted_delivered_answered_and_ended():
    async def body(team):
        answer = await team.post.ask("ann", "bob", "the time?", cause=HUMAN)
        assert answer == f"bob to {team.members['bob'].delivered[0][0]}"

    team = Team(BOTH)
    run_virtual(team.run, body)
    (admitted,), (ended,) = team.of(MessageAdmitted), team.of(MessageEnded)
    assert (admitted.member, admitted.sender, admitted.via, admitted.text, admitted.hops) == (
        "bob", "ann", "ask", "the time?", 1,
    )  # fmt: skip
    assert (ended.message_id, ended.status) == (admitted.message_id, "done")
    assert ended.answer.startswith("bob to")
    assert team.told[0].as_json()["from"] == "ann"


def test_a_tell_returns_at_once_and_its_answer_is_kept_from_everybody():
    async def body(team):
        team.members["bob"].plan = [("say", 5.0)]
        began = trio.current_time()
        assert await team.post.tell("ann", "bob", "we close", cause=HUMAN) is None
        assert trio.current_time() == began
        assert team.post.under_way == 1

    team = Team(BOTH)
    run_virtual(team.run, body)
    (ended,) = team.of(MessageEnded)
    assert (ended.status, ended.answer) == ("done", "")


def test_refusals_write_nothing():
    async def body(team):
        with pytest.raises(RouteRefused, match="no route to ask bob"):
            await team.post.ask("ann", "bob", "?", cause=HUMAN)
        with pytest.raises(MemberUnknown):
            await team.post.ask("ann", "zoe", "?", cause=HUMAN)
        with pytest.raises(HopLimitReached, match="limit is 3"):
            await team.post.ask("ann", "cyd", "?", cause=Cause("ask", "bob", "m", hops=3))
        team.members["cyd"].full = True
        with pytest.raises(MailboxFull):
            await team.post.tell("ann", "cyd", "?", cause=HUMAN)
        assert team.post.statistics().refused == 4

    team = Team([Route("ann", "cyd", ("ask", "tell"))])
    run_virtual(team.run, body)
    assert team.rows == []


def test_a_hanging_member_is_given_up_and_each_further_ask_has_less_time():
    async def body(team):
        team.members["bob"].plan = [("ask", "cyd")]
        team.members["cyd"].plan = [("hang", None)]
        began = trio.current_time()
        assert await team.post.ask("ann", "bob", "?", cause=HUMAN)
        assert trio.current_time() - began < 10
        assert [type(error) for error in team.refusals] == [TurnTimedOut]

    team = Team(BOTH)
    run_virtual(team.run, body)
    assert [row.status for row in team.of(MessageEnded)] == ["timed_out", "done"]
    assert team.members["cyd"].delivered[0][3] < team.members["bob"].delivered[0][3]


def test_an_interrupted_asker_withdraws_its_ask():
    async def body(team):
        team.members["bob"].plan = [("hang", None)]
        with trio.move_on_after(1):
            await team.post.ask("ann", "bob", "?", cause=HUMAN)
        assert not team.post.waits

    team = Team(BOTH)
    run_virtual(team.run, body)
    assert [row.status for row in team.of(MessageEnded)] == ["cancelled"]


vias = st.sampled_from(["ask", "tell"])
who = st.sampled_from(MEMBERS)
acts = st.one_of(
    st.tuples(st.just("send"), who, who, vias),
    st.tuples(st.just("wire"), who, who, vias),
    st.tuples(st.just("unwire"), who, who, vias),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.01, 1.0]), st.none(), st.none()),
)
plans = st.one_of(
    st.tuples(st.just("say"), st.sampled_from([0.0, 0.01, 2.0])),
    st.tuples(st.just("ask"), who),
    st.tuples(st.just("fail"), st.none()),
    st.tuples(st.just("hang"), st.none()),
)
scripts = st.lists(acts, max_size=15)
all_plans = st.fixed_dictionaries({name: st.lists(plans, max_size=4) for name in MEMBERS})


def check_law_19(post, script, plans):
    """Delivered iff the route exists at admission, at most once; the answer goes to the asker only."""
    team = Team(BOTH[:3], post=post)
    for name, plan in plans.items():
        team.members[name].plan = list(plan)

    async def send(sender, to, via, number):
        expected = via in team.table.ways(sender, to) and sender != to
        text = f"message {number}"
        try:
            if via == "tell":
                await team.post.tell(sender, to, text, cause=HUMAN)
            else:
                answer = await team.post.ask(sender, to, text, cause=HUMAN)
                mine = [each for each in team.members[to].delivered if each[1] == text]
                assert [f"{to} to {message_id}" for message_id, *_ in mine] == [answer]
        except AskCycle:
            pass
        except RouteRefused:
            assert not expected, f"{sender} has a route to {via} {to}"
            return
        except MobError:
            pass
        assert expected, f"{sender} had no route to {via} {to}"

    async def body(team):
        async with trio.open_nursery() as nursery:
            for number, (kind, first, second, via) in enumerate(script):
                match kind:
                    case "send":
                        nursery.start_soon(send, first, second, via, number)
                    case "wait":
                        await trio.sleep(first)
                    case _:
                        row = Wired(None, first, second, (via,), removed=kind == "unwire")
                        if first != second:
                            nursery.start_soon(team.post.rewire, row)

    run_virtual(team.run, body)
    routes = RouteTable(team.definition, {})
    admitted = {}
    for stored in team.rows:
        match stored.row:
            case Wired() as row:
                routes.apply(row)
            case MessageAdmitted() as row:
                assert row.via in routes.ways(row.sender, row.member), f"{row} has no route in the log"
                assert row.message_id not in admitted
                admitted[row.message_id] = row
            case MessageEnded() as row:
                assert row.message_id in admitted
    delivered = [each[0] for member in team.members.values() for each in member.delivered]
    assert len(delivered) == len(set(delivered)), "a message was delivered twice"
    assert set(delivered) == set(admitted)
    assert sorted(row.message_id for row in team.of(MessageEnded)) == sorted(admitted)
    assert not team.post.waits


@settings(deadline=None, max_examples=60)
@given(scripts, all_plans)
def test_law_19_messages_follow_the_routes_at_most_once_and_answers_go_to_the_asker(script, plans):
    check_law_19(Post, script, plans)


class LooksTooEarly(Post):
    async def _admit(self, *args):
        await trio.sleep(0.01)
        await super()._admit(*args)


class DeliversAgain(Post):
    async def _carry(self, recipient, message_id, to, text, cause):
        answer = await super()._carry(recipient, message_id, to, text, cause)
        await recipient.answer(text, cause=cause, timeout_s=1.0)
        return answer


class AnswersTheFirstWhoAsked(Post):
    first = None

    async def _carry(self, recipient, message_id, to, text, cause):
        answer = await super()._carry(recipient, message_id, to, text, cause)
        self.first = self.first or answer
        return self.first


class NeedsNoRoute(Post):
    def _check(self, message_id, sender, to, via, cause):
        self._routes.restore(sender, to, (via,))
        return super()._check(message_id, sender, to, via, cause)


ASK, TELL, UNWIRE = (("send", "ann", "bob", "ask"), ("send", "ann", "bob", "tell"), ("unwire", "ann", "bob", "ask"))


@pytest.mark.parametrize(
    ("mutant", "script"),
    [
        (LooksTooEarly, [ASK, ("wait", 0.0, None, None), UNWIRE]),
        (DeliversAgain, [TELL]),
        (AnswersTheFirstWhoAsked, [ASK, ("send", "ann", "cyd", "ask")]),
        (NeedsNoRoute, [("send", "cyd", "bob", "ask")]),
    ],
)
def test_law_19_mutant_post_is_caught(mutant, script):
    check_law_19(Post, script, {})
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        check_law_19(mutant, script, {})


def check_law_20_end_to_end(post, plans, asks):
    """Members that ask one another at random: everybody is done long before any deadline; hops stay bounded."""
    team = Team(BOTH, post=post)
    for name, plan in plans.items():
        team.members[name].plan = [step for step in plan if step[0] in ("say", "ask") and step[1] != name]

    async def human(name):
        async with team.members[name].turn:
            await team.members[name].act(HUMAN)

    async def body(team):
        async with trio.open_nursery() as nursery:
            for name in asks:
                nursery.start_soon(human, name)

    began = []

    async def timed():
        start = trio.current_time()
        await team.run(body)
        began.append(trio.current_time() - start)

    run_virtual(timed)
    assert not any(isinstance(error, TurnTimedOut) for error in team.refusals), "members waited for one another"
    assert all(1 <= row.hops <= LIMITS.max_hops for row in team.of(MessageAdmitted))


@settings(deadline=None, max_examples=60)
@given(all_plans, st.lists(who, max_size=4))
def test_law_20_no_two_members_wait_for_each_other(plans, asks):
    check_law_20_end_to_end(Post, plans, asks)


class WaitsForWhoWaits(Post):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._waits.path = lambda start, goal: None


def test_law_20_mutant_post_without_the_graph_is_caught():
    plans = {"ann": [("ask", "bob")], "bob": [("ask", "ann")], "cyd": []}
    check_law_20_end_to_end(Post, plans, ["ann", "bob"])
    with pytest.raises(AssertionError, match="waited for one another"):
        check_law_20_end_to_end(WaitsForWhoWaits, plans, ["ann", "bob"])
