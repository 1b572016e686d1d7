"""Reading sessions that do not run: each row of their logs is read once, and what is read is what the log has."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from mob.errors import RunUnknown, SessionUnknown
from mob.history.fold import History
from mob.history.items import Cause, Note, Turn
from mob.history.rows import TurnRow
from mob.server.realm.past import PastHistories
from mob.server.realm.realm import RealmSettings, open_realm
from mob.server.realm.standalone import SessionSpec
from mob.store.memory import MemoryStore


class Counting(MemoryStore):
    """A store that counts the rows that are read of runs."""

    def __init__(self):
        super().__init__()
        self.read = 0

    def read_run(self, run_id, **which):
        return self._counted(super().read_run(run_id, **which))

    async def _counted(self, rows):
        async for stored in rows:
            self.read += 1
            yield stored


def turn(number):
    return Turn(f"t{number}", Cause("context"), (Note(f"n{number}", "It rains."),))


STEPS = st.lists(st.tuples(st.sampled_from(["write", "read"]), st.integers(0, 3), st.integers(0, 1)), max_size=30)


@settings(deadline=None)
@given(steps=STEPS, most=st.integers(1, 3))
async def test_a_kept_history_is_what_the_log_has_whoever_wrote_and_read_meanwhile(steps, most):
    store = Counting()
    past = PastHistories(store, most=most)
    for number, (what, run, member) in enumerate(steps):
        run_id, identity = f"run-{run}", ("ann", "bob")[member]
        known = {info.run_id for info in await store.runs()}
        if what == "write":
            async with store.open_run(run_id, create=run_id not in known) as log:
                await log.append(TurnRow(identity, turn(number)))
        elif run_id not in known:
            with pytest.raises(RunUnknown):
                await past.fold(run_id, identity)
        else:
            anew = History.of(identity, [each async for each in store.read_run(run_id, member=identity)])
            assert tuple((await past.fold(run_id, identity)).turns) == tuple(anew.turns)
            before = store.read
            await past.fold(run_id, identity)
            assert store.read == before
        assert len(past) <= most


async def test_pages_of_a_session_that_stopped_read_its_log_once(autojump_clock):
    store = Counting()
    async with open_realm(RealmSettings("test", rehearse=True), store=store) as realm:
        ref = realm.add_session(SessionSpec("gpt-4.1-mini").definition)
        await ref.hosted.start()
        for _ in range(20):
            await ref.member.inject("It rains.")
        await ref.hosted.stop()
        before = store.read
        whole = await realm.history(ref)
        once = store.read - before
        for _ in range(20):
            assert await realm.history(ref) == whole
        assert len(whole) == 20
        assert store.read - before == once

        await ref.hosted.start()
        await ref.member.inject("It snows.")
        await ref.hosted.stop()
        assert len(await realm.history(ref)) == 21


async def test_a_session_is_found_without_looking_at_all(autojump_clock, monkeypatch):
    async with open_realm(RealmSettings("test", rehearse=True)) as realm:
        definition = SessionSpec("gpt-4.1-mini").definition
        refs = [realm.add_session(definition) for _ in range(20)]
        assert {realm.session(ref.session_id).hosted for ref in refs} == {ref.hosted for ref in refs}
        walks, sessions = 0, realm.sessions

        def counted():
            nonlocal walks
            walks += 1
            return sessions()

        monkeypatch.setattr(realm, "sessions", counted)
        for ref in refs:
            assert realm.session(ref.session_id) == ref
        assert walks == 0
        await realm.end_mob(refs[0].hosted)
        with pytest.raises(SessionUnknown):
            realm.session(refs[0].session_id)
