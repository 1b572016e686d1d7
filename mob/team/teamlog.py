"""The run's log as the team writes it: the one gate for all rows, sessions' rows included.

Two things happen here and nowhere else. A turn that hands the floor over gets its FloorMoved row into its own
transaction, so that no crash can part them. And every durable row is shown to the team's folds exactly once, in the
order of the log, before the append that wrote it returns; several tasks append at once, and trio may wake them in any
order. The store takes appends in the order in which they were called, and one that ends cancelled wrote nothing: so
what is decided and appended without a checkpoint in between stands in the log in the order of the decisions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import trio
from attrs import frozen

from mob.history.floor import Floor
from mob.history.rows import FloorMoved, Row, Stored, TurnRow
from mob.store.port import RunLog
from mob.team.floor import FloorMachine


@frozen(slots=True)
class TeamLogStatistics:
    """Counts: rows and transactions written by this process, turns among the rows."""

    rows: int
    transactions: int
    turns: int


class TeamLog:
    """A RunLog. `watch` is called with each row once it is durable; it must not raise and cannot wait."""

    def __init__(self, log: RunLog, machine: FloorMachine, floor: Floor, watch: Callable[[Stored], None]) -> None:
        self._log = log
        self._machine = machine
        self._floor = floor
        self._watch = watch
        self._shown = log.last_seq
        self._early: dict[int, Stored] = {}
        self._progress = trio.lowlevel.ParkingLot()
        self._rows = self._transactions = self._turns = 0

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._log.run_id

    @property
    def last_seq(self) -> int:
        """The sequence number of the last durable row."""
        return self._log.last_seq

    async def append(self, *rows: Row) -> tuple[Stored, ...]:
        """Write these rows as one transaction, with the floor's moves that belong to them. StoreFull, StoreError.

        Returns the rows that were given, as stored.
        """
        moves = self._moves(rows)
        try:
            stored = await self._log.append(*rows, *moves)
        except BaseException:
            if moves or any(isinstance(row, FloorMoved) for row in rows):
                self._machine.lost(self._floor.holder)
            raise
        await self._show(stored)
        return stored[: len(rows)]

    def read(self, *, member: str | None = None, after: int = 0, kinds: Sequence[str] = ()) -> AsyncIterator[Stored]:
        """The durable rows after `after`, in order; of one member, of some kinds, or all."""
        return self._log.read(member=member, after=after, kinds=kinds)

    def statistics(self) -> TeamLogStatistics:
        """Counts, as of now."""
        return TeamLogStatistics(self._rows, self._transactions, self._turns)

    def _moves(self, rows: Sequence[Row]) -> list[FloorMoved]:
        moves = [self._machine.committing(row.member, row.turn) for row in rows if isinstance(row, TurnRow)]
        return [move for move in moves if move is not None]

    async def _show(self, stored: Sequence[Stored]) -> None:
        self._transactions += 1
        self._early.update((each.seq, each) for each in stored)
        while (ready := self._early.pop(self._shown + 1, None)) is not None:
            self._shown += 1
            self._rows += 1
            self._turns += isinstance(ready.row, TurnRow)
            self._floor.apply(ready)
            self._watch(ready)
            self._progress.unpark_all()
        # Rows before ours are durable too, and their task is about to wake: it shows ours along with its own.
        with trio.CancelScope(shield=True):
            while stored and self._shown < stored[-1].seq:
                await self._progress.park()
