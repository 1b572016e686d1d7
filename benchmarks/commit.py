"""What it costs to commit a turn, at history lengths 10, 1 000 and 100 000: the price must not grow with the history.

    python benchmarks/commit.py [--longest 100000]

One commit is what a session does at the end of a turn: append the row to the store, fold it into the history, and
project the history's window for the model. "write" leaves the flush to the disk out (durability "normal"), which would
hide everything else; "durable" is what a run pays by default. Times are of this machine; the ratios are the result.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import trio

from mob.history.fold import History
from mob.history.items import AgentMessage, Cause, Turn, UserMessage
from mob.history.projection import project
from mob.history.rows import TurnRow
from mob.store.sqlite import SqliteStore

SAMPLES = 300
WINDOW_CHARS = 32_000
FILL_AT_ONCE = 1000


def turn_row(n):
    """A turn of about 400 characters."""
    said = (
        UserMessage(f"u{n}", "what is on the menu tonight? " * 4),
        AgentMessage(f"a{n}", "soup, and then fish. " * 14),
    )
    return TurnRow("host", Turn(f"t{n}", Cause("text"), said))


async def fill(log, history, length):
    """Bring the history to this many turns, many to a transaction."""
    while (missing := length - len(history.turns)) > 0:
        rows = [turn_row(len(history.turns) + n) for n in range(min(missing, FILL_AT_ONCE))]
        for stored in await log.append(*rows):
            history.apply(stored)


async def median_commit_us(log, history, *, with_projection):
    """The median time of one commit, microseconds."""
    times = []
    for n in range(SAMPLES):
        row = turn_row(n)
        begin = time.perf_counter()
        for stored in await log.append(row):
            history.apply(stored)
        if with_projection:
            project(history.turns, history.calls, max_chars=WINDOW_CHARS)
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e6


async def measure(path, lengths):
    """For each length: the price of a write, of a write with the next projection, and of a durable write."""
    results = []
    for length in lengths:
        row = []
        for durability, with_projection in [("normal", False), ("normal", True), ("full", False)]:
            history = History("host")
            store = SqliteStore(path / f"{length}-{durability}-{with_projection}.sqlite", durability=durability)
            async with store.open_run("bench", create=True) as log:
                await fill(log, history, length)
                row.append(await median_commit_us(log, history, with_projection=with_projection))
        results.append(row)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=int, default=100_000, help="turns in the longest history")
    lengths = [10, 1_000, parser.parse_args().longest]
    with tempfile.TemporaryDirectory() as directory:
        results = trio.run(measure, Path(directory), lengths)
    print(f"{'turns':>8}  {'write':>16}  {'and project':>16}  {'durable':>16}   (µs, × of the first)")
    for length, row in zip(lengths, results, strict=True):
        cells = [f"{value:8.0f} {value / first:5.2f}x" for value, first in zip(row, results[0], strict=True)]
        print(f"{length:>8}  " + "  ".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    main()
