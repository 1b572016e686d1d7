"""Test a team's timing without waiting: a whole call on a virtual clock. Run: python examples/prove_timing.py"""

import time

import trio
import trio.testing

import mob


async def call() -> float:
    definition = mob.load("definitions/panel.toml")
    began = trio.current_time()
    async with mob.open_mob(definition, rehearse=True, seed=7) as panel:
        for _ in range(3):
            await panel.ask("What do you think about the question?")
            await trio.sleep(60)
    return trio.current_time() - began


started = time.perf_counter()
virtual = trio.run(call, clock=trio.testing.MockClock(autojump_threshold=0))
print(f"{virtual:.0f} s of conversation in {time.perf_counter() - started:.1f} s")
