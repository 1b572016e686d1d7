"""One program, two ways to open a mob: here, and at a server. It sees the same."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import trio
from attrs import asdict, evolve
from served import HTTP, LINES, crew, desk, serving

import mob
from mob.errors import MobError
from mob.history.items import Timings, Turn
from mob.sessions.events import AgentWriting, MemberChanged, TurnBegan
from mob.values import NO_USAGE


class Journal:
    """What a program saw, in a form that can be compared."""

    def __init__(self):
        self.lines = []

    def note(self, *what):
        self.lines.append(tuple(_plain(each) for each in what))

    async def tries(self, what, *arguments, **more):
        """A call that may be refused: what it gave, or the class and the words of the error."""
        try:
            self.note(await what(*arguments, **more))
        except MobError as error:
            self.note(type(error).__name__, error.message, {k: v for k, v in vars(error).items() if k != "message"})

    def look(self, team):
        """Everything that can be looked at without asking."""
        self.note(team.state, team.floor, team.usage, list(team.members), team.run_id is not None, team.routes)
        for identity, member in team.members.items():
            self.note(identity, member.generation, member.state, member.usage, member.history())
            self.note(member.profile_name, member.model)


def _plain(value):
    if isinstance(value, mob.Answer):
        return value.text, _plain(value.turn)
    if isinstance(value, mob.Usage):
        return evolve(value, cost_usd=None), round(value.cost_usd or 0, 9)  # sums of floats: the order tells
    if isinstance(value, Turn):
        items = [evolve(item, elapsed_ms=0) if hasattr(item, "elapsed_ms") else item for item in value.items]
        return [_plain(value.usage), asdict(evolve(value, timings=Timings(), usage=NO_USAGE, items=tuple(items)))]
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value.identity if hasattr(value, "identity") else value


async def talk(team, journal):
    """The program. Only what it is given tells it where the team runs."""
    journal.look(team)
    await journal.tries(team.ask, "What is in the risotto?")
    journal.look(team)
    await journal.tries(team.member("menu").ask, "Is the soup vegan?")
    team.tell("Good evening!")
    team.member("menu").tell("And the cake?")
    await team.wait_quiet()
    journal.look(team)
    await team.hand_off("manager")
    journal.note(team.floor)
    await team.wait_quiet()
    journal.look(team)
    await journal.tries(team.hand_off, "nobody")
    await journal.tries(team.member("host").interrupt)
    await journal.tries(team.retire, "menu")
    await journal.tries(team.member("menu").ask, "Is anybody there?")
    await journal.tries(team.ask, "hm", timeout=0.000_001)
    with pytest.raises(mob.MemberUnknown):
        team.member("nobody")
    journal.look(team)


async def change(team, journal):
    """Another program: who is there, and who reaches whom."""
    ann = team.member("ann")
    await journal.tries(ann.ask, "one")
    bob = await team.respawn("bob")
    journal.note(bob.generation, team.member("bob").generation)
    await journal.tries(bob.ask, "two")
    old = team.member("cyd")
    await team.respawn("cyd")
    await journal.tries(old.ask, "three")
    for look in ("state", "usage"):
        with pytest.raises(mob.StaleGeneration):
            getattr(old, look)
    with pytest.raises(mob.StaleGeneration):
        old.history()
    with pytest.raises(mob.StaleGeneration):
        old.tell("four")
    dan = await team.spawn("dan", profile="ann")
    await journal.tries(dan.ask, "five")
    await journal.tries(team.spawn, "dan", profile="ann")
    await journal.tries(team.spawn, "eve", profile="nothing")
    await team.wire("dan", "ann", "ask")
    await team.unwire("ann", "bob")
    await journal.tries(team.wire, "dan", "nobody")
    await team.retire("ann")
    await journal.tries(bob.inject, "The weather is fine.")
    await journal.tries(bob.inject, "")
    fay = await team.spawn("fay", profile="bob", overrides={"instructions": "Say nothing but yes."})
    journal.note(fay.profile_name, fay.generation)
    await journal.tries(team.spawn, "gil", profile="bob", overrides={"mood": "good"})
    await team.wait_quiet()
    journal.look(team)


async def follow(team, journal):
    """And one that listens."""
    async with team.events() as events, trio.open_nursery() as nursery:
        nursery.start_soon(_follow, events, journal)
        await team.member("bob").ask("one")
        await team.hand_off("bob")
        await team.wait_quiet()
        await team.stop("enough")
    journal.note(team.state)
    await journal.tries(team.ask, "too late")


async def _follow(events, journal):
    starting = True  # in which order members start is nobody's promise
    async for event in events:
        starting = starting and not isinstance(event, TurnBegan)
        if not isinstance(event, AgentWriting) and not (starting and isinstance(event, MemberChanged)):
            body = event.as_json()
            for vague in ("t", "seq", "latency", "run", "elapsed_ms", "usage"):
                body.pop(vague, None)
            journal.note(body)


@pytest.mark.parametrize("url", [HTTP, LINES])
@pytest.mark.parametrize(("program", "team"), [(talk, desk), (change, crew), (follow, crew)])
async def test_a_program_sees_the_same_here_and_at_a_server(program, team, url, autojump_clock):
    here, there = Journal(), Journal()
    async with mob.open_mob(team(), rehearse=True, seed=1) as running:
        await program(running, here)
    async with serving(team(), seed=1) as server, server.connect(url) as running:
        await program(running, there)
    assert len(here.lines) > 3
    for one, other in zip(here.lines, there.lines, strict=True):
        assert one == other
