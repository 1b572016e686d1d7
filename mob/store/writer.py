"""How appends get from trio's tasks to the file.

Theory. A commit that survives a power cut waits for the disk, some hundred microseconds to some milliseconds. So one
thread commits, and takes all that waits at once into one transaction (group commit): many members pay for one flush,
and one hop to the thread and back is shared too. Each append waits for its own outcome:

    waiting   in the queue; cancelling the append takes it out, and nothing was written
    taken     in the thread's batch; cancelled now, the append still waits for its outcome, which is near, and gives it
    settled   written, or failed with a typed error; the sequence numbers of failed ones were never given

So an append that returns is durable, and one that ends cancelled wrote nothing. Only a disk that hangs is not waited
for: a cancelled append gives it two seconds and closing gives it ten, and what becomes of the rows then the log will
say, all of them or none. The queue holds no more appends than there are tasks that wait for one. When a batch fails,
its appends are tried one by one, so that one that is too big for the disk does not take the others with it; all that
fail leave the log as it was.

Under a virtual clock a thread that works counts as idle, and time would jump past it: there commits happen in the loop.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

import trio
from attrs import define, evolve, field, frozen

from mob.errors import StoreError, StoreLocked
from mob.history.rows import Row, Stored
from mob.store.committer import Append, Committer

_MAX_BATCH = 256
_GRACE_S = 2.0
_CLOSE_S = 10.0


@frozen(slots=True)
class WriterStatistics:
    """Counts since the run was opened. `withdrawn`: appends that were cancelled while they waited."""

    appends: int = 0
    rows: int = 0
    transactions: int = 0
    largest_batch: int = 0
    failed: int = 0
    withdrawn: int = 0
    waiting: int = 0


class Writer(Protocol):
    """Writes one run. Opened by `start`, done with `aclose`."""

    last_seq: int
    """The sequence number of the last durable row."""

    async def start(self) -> None:
        """Open the run; raises what opening raises, and nothing is left open then."""
        ...

    async def write(self, at: float, rows: Sequence[Row]) -> tuple[Stored, ...]:
        """Make the rows durable. Cancelled means that nothing was written (see the theory for a disk that hangs)."""
        ...

    async def aclose(self) -> None:
        """Write what waits, close the file, end the thread."""
        ...

    def statistics(self) -> WriterStatistics:
        """Counts, as of now."""
        ...


class LoopWriter:
    """Commits in the loop, one append at a time."""

    def __init__(self, open_run: Callable[[], Committer]) -> None:
        self._open_run = open_run
        self._statistics = WriterStatistics()
        self.last_seq = 0

    async def start(self) -> None:
        """See Writer."""
        await trio.lowlevel.checkpoint()
        self._committer = self._open_run()
        self.last_seq = self._committer.last_seq

    async def write(self, at: float, rows: Sequence[Row]) -> tuple[Stored, ...]:
        """See Writer."""
        append = Append.of(at, rows)
        await trio.lowlevel.checkpoint_if_cancelled()
        transactions = _commit(self._committer, [append])
        self.last_seq = self._committer.last_seq
        self._statistics = _counted(self._statistics, [append], transactions)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return _outcome(append)

    async def aclose(self) -> None:
        """See Writer."""
        self._committer.close()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def statistics(self) -> WriterStatistics:
        """See Writer."""
        return self._statistics


@define(slots=True, eq=False)
class _Job:
    append: Append
    settled: trio.Event = field(factory=trio.Event)


class ThreadWriter:
    """Commits in a thread of its own, all that waits at once."""

    def __init__(self, open_run: Callable[[], Committer], *, name: str) -> None:
        self._open_run = open_run
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._wake = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._closing = False
        self._opened = trio.Event()
        self._ended = trio.Event()
        self._failure: BaseException | None = None
        self._statistics = WriterStatistics()
        self.last_seq = 0

    async def start(self) -> None:
        """See Writer."""
        self._thread.start()
        with trio.CancelScope(shield=True):  # it opens or fails within the busy timeout
            await self._opened.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    async def write(self, at: float, rows: Sequence[Row]) -> tuple[Stored, ...]:
        """See Writer."""
        append = Append.of(at, rows)
        await trio.lowlevel.checkpoint_if_cancelled()
        job = _Job(append)
        with self._wake:
            self._waiting.append(job)
            self._wake.notify()
        try:
            await job.settled.wait()
        except trio.Cancelled:
            if self._withdraw(job):
                raise
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _GRACE_S):
                await job.settled.wait()
            if not job.settled.is_set():
                raise
        return _outcome(append)

    async def aclose(self) -> None:
        """See Writer. Not cancelled by anybody; StoreError when the disk hangs, and the thread with it."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_S):
            await self._ended.wait()
        if not self._ended.is_set():
            raise StoreError(f"the disk did not answer within {_CLOSE_S:g} s ({self._thread.name}); look after it")
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def statistics(self) -> WriterStatistics:
        """See Writer."""
        return evolve(self._statistics, waiting=len(self._waiting))

    # -- in the loop

    def _withdraw(self, job: _Job) -> bool:
        """Take an append out of the queue. False when the thread was faster."""
        with self._wake:
            if job not in self._waiting:
                return False
            self._waiting.remove(job)
        self._statistics = evolve(self._statistics, withdrawn=self._statistics.withdrawn + 1)
        return True

    def _settle(self, batch: list[_Job], transactions: int, last_seq: int) -> None:
        self.last_seq = last_seq
        self._statistics = _counted(self._statistics, [job.append for job in batch], transactions)
        for job in batch:
            job.settled.set()

    def _note_open(self, last_seq: int) -> None:
        self.last_seq = last_seq
        self._opened.set()

    # -- in the thread

    def _work(self) -> None:
        try:
            committer = self._open_run()
        except BaseException as error:  # it belongs to whoever opens the run
            self._failure = error
            self._tell(self._opened.set)
            return
        self._tell(partial(self._note_open, committer.last_seq))
        while batch := self._take():
            transactions = _commit(committer, [job.append for job in batch])
            self._tell(partial(self._settle, batch, transactions, committer.last_seq))
        try:
            committer.close()
        except BaseException as error:  # it belongs to whoever closes the run
            self._failure = error
        self._tell(self._ended.set)

    def _take(self) -> list[_Job]:
        """Wait for appends and take them; nothing when the writer is closing and none waits."""
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._closing)
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), _MAX_BATCH))]

    def _tell(self, callback: Callable[[], None]) -> None:
        with suppress(trio.RunFinishedError):  # the loop is gone, and with it everybody who could wait
            self._token.run_sync_soon(callback)


def _commit(committer: Committer, appends: list[Append]) -> int:
    """Commit together or, when that fails, one by one; each append has its outcome then. Returns the transactions."""
    try:
        committer.commit(appends)
    except Exception as error:  # whatever it is, it belongs to the append
        if len(appends) > 1 and not isinstance(error, StoreLocked):
            return sum(_commit(committer, [append]) for append in appends)
        for append in appends:
            append.error = error if len(appends) == 1 else StoreLocked(str(error))
        return 0
    return 1


def _outcome(append: Append) -> tuple[Stored, ...]:
    if append.error is not None:
        raise append.error
    return append.stored


def _counted(before: WriterStatistics, appends: list[Append], transactions: int) -> WriterStatistics:
    written = [append for append in appends if append.error is None]
    return evolve(
        before,
        appends=before.appends + len(written),
        rows=before.rows + sum(len(append.rows) for append in written),
        transactions=before.transactions + transactions,
        largest_batch=max(before.largest_batch, len(appends)),
        failed=before.failed + len(appends) - len(written),
    )
