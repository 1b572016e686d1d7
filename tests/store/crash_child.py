"""A program that is killed while it writes. Run by test_crash.py as `python crash_child.py MODE FILE …`.

append    append triples of rows for ever, and print the last sequence number after each
hold      open the run, print a line, and wait to be killed
sweep     for each instruction of SQLite's machine in one append: fork a process that is killed there, and print
          how many rows it left behind
full      append until the file size limit stops it, then lift the limit and go on; print what happened
"""

import os
import resource
import shutil
import signal
import sys
from pathlib import Path

import trio
from conformance import turn_row

from mob.errors import StoreFull
from mob.store.sqlite import SqliteStore


def triple(n):
    return [turn_row(f"{n}.{part}", text="x" * 300) for part in range(3)]


async def append(path):
    async with SqliteStore(path).open_run("r1", create=True) as log:
        n = log.last_seq // 3
        while True:
            await log.append(*triple(n))
            print(log.last_seq, flush=True)
            n += 1


async def hold(path):
    async with SqliteStore(path).open_run("r1", create=True) as log:
        await log.append(*triple(0))
        print("holding", flush=True)
        await trio.sleep_forever()


async def append_and_die(path, step):
    """Append one triple; die at the given instruction of the append (or survive, when it has fewer)."""
    async with SqliteStore(path, in_loop=True).open_run("r1", create=False) as log:
        left = step

        def count():
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        log._writer._committer.connection.set_progress_handler(count, 1)
        await log.append(*triple(2))
        log._writer._committer.connection.set_progress_handler(None, 0)


async def prepare(path):
    async with SqliteStore(path, in_loop=True).open_run("r1", create=True) as log:
        await log.append(*triple(0))
        await log.append(*triple(1))


async def count_rows(path):
    async with SqliteStore(path, in_loop=True).open_run("r1", create=False) as log:
        count = len([stored async for stored in log.read()])
        (stored,) = await log.append(turn_row("next"))
        return count if stored.seq == count + 1 else -1


def sweep(path):
    trio.run(prepare, path)
    step, killed = 0, True
    while killed:
        step += 1
        copy = path.with_name(f"step-{step}.sqlite")
        shutil.copy(path, copy)
        child = os.fork()
        if not child:
            trio.run(append_and_die, copy, step)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        print(step, int(killed), trio.run(count_rows, copy), flush=True)


async def full(path):
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    async with SqliteStore(path, in_loop=False).open_run("r1", create=True) as log:
        refused = []
        for n in range(400):
            try:
                await log.append(*triple(n))
            except StoreFull as error:
                refused.append(str(error))
                if len(refused) == 3:
                    break
        print(refused[0])
        print(log.last_seq, log.statistics().failed)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await log.append(*triple("after"))
        print(log.last_seq)


if __name__ == "__main__":
    mode, file = sys.argv[1], Path(sys.argv[2])
    if mode == "sweep":
        sweep(file)
    else:
        trio.run({"append": append, "hold": hold, "full": full}[mode], file)
