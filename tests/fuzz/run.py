"""The long run, by hand: `python tests/fuzz/run.py --count 1000000 --seed 7`.

The mutants are shared out evenly among the parsers (tests/fuzz/targets_*.py) and the doors as they are served
(tests/fuzz/room_*.py). A parser that breaks is told of, with the input, and the others are tried all the same. Exits 1
when one did. `--only WORD` tries those whose names have the word in them.
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import time
from collections.abc import Callable

from fuzzing import Broken, fuzz
from house import in_virtual_time
from test_fuzz_parsers import TARGETS
from test_fuzz_rooms import ROOMS

_PART = 20_000
"""A room is opened anew after so many."""


def main() -> int:
    """Run, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    logging.getLogger("mob").setLevel(logging.ERROR)
    logging.getLogger("mob").addHandler(logging.NullHandler())
    jobs = {name: job for name, job in _jobs().items() if asked.only in name}
    share = -(-asked.count // max(1, len(jobs)))
    began, tried, broken = time.monotonic(), 0, 0
    for name, job in jobs.items():
        start = time.monotonic()
        try:
            done, note = job(share, asked.seed)
        except Broken as error:
            broken += 1
            print(f"{name:36} BROKEN {error}", flush=True)
            continue
        tried += done
        seconds = time.monotonic() - start
        print(f"{name:36} {done:8} mutants {seconds:7.1f} s {done / seconds:8.0f}/s  {note}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{tried} mutants, seed {asked.seed}, {time.monotonic() - began:.0f} s, "
        f"at most {peak} MiB of memory, {broken} of {len(jobs)} broken"
    )
    return 1 if broken else 0


Job = Callable[[int, int], tuple[int, str]]


def _jobs() -> dict[str, Job]:
    jobs: dict[str, Job] = {}
    for target in TARGETS:
        jobs[target.name] = lambda count, seed, target=target: _try_parser(target, count, seed)
    for name in ROOMS:
        jobs[f"door: {name}"] = lambda count, seed, name=name: _try_room(name, count, seed)
    return jobs


def _try_parser(target, count: int, seed: int) -> tuple[int, str]:
    tally = fuzz(target, count, seed)
    return tally.tried, f"slowest {tally.slowest_s * 1000:.1f} ms"


def _try_room(name: str, count: int, seed: int) -> tuple[int, str]:
    done = 0
    while done < count:
        try:
            done += in_virtual_time(ROOMS[name][0], min(_PART, count - done), seed + done)
        except BaseExceptionGroup as group:
            inner = group.subgroup(Broken)
            while isinstance(inner, BaseExceptionGroup):
                inner = inner.exceptions[0]
            if inner is None:
                raise
            raise Broken(f"seed {seed + done}: {inner}") from group
    return done, "in virtual time"


if __name__ == "__main__":
    sys.exit(main())
