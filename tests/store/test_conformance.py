"""The rules of the port, on every store that ships and in both ways of committing."""

import inspect

import conformance
import pytest
import trio
import trio.testing

from mob.store.memory import MemoryStore
from mob.store.sqlite import SqliteStore

STORES = {
    "memory": lambda _path: MemoryStore(),
    "sqlite in a thread": lambda path: SqliteStore(path, in_loop=False),
    "sqlite in the loop": lambda path: SqliteStore(path, in_loop=True),
    "sqlite, normal": lambda path: SqliteStore(path, durability="normal"),
}


@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
@pytest.mark.parametrize("rule", conformance.ALL, ids=lambda rule: rule.__name__)
async def test_rule(rule, make, tmp_path):
    await rule(make(tmp_path / "state.sqlite"))


@pytest.mark.parametrize("make", [MemoryStore, lambda: None], ids=["memory", "sqlite"])
@pytest.mark.parametrize("rule", conformance.ALL, ids=lambda rule: rule.__name__)
async def test_rule_under_a_virtual_clock(rule, make, tmp_path, autojump_clock):
    """No thread is awaited: a deadline far away would be jumped to at once."""
    with trio.fail_after(1000):
        await rule(make() or SqliteStore(tmp_path / "state.sqlite"))
    assert trio.current_time() < 1


def test_every_rule_is_run():
    rules = {
        value
        for value in vars(conformance).values()
        if inspect.iscoroutinefunction(value) and value is not conformance.collect
    }
    assert rules == set(conformance.ALL)
