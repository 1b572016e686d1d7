"""One member's history, as the fold of its rows: the only way any view of the past comes about.

Theory. The log is append-only, and a row is never changed. What seems like a change is a later row that a fold lays
over an earlier one, and there are two of these:

    TranscriptFilled   the words of a spoken UserMessage that was committed before its transcript came. They fill the
                       slot if it is empty; words that are there are never replaced.
    ToolEnded          the terminal state of a call. If the call's turn was committed without a result, the result
                       appears right behind the call. The first terminal state is the only one.

Rows are applied in the order of their sequence numbers. A row at or below the last one applied is a replay and changes
nothing, so the fold of a log is the fold of any of its prefixes, followed by the log (law 1). A row that could change
nothing for another reason is counted in `statistics()`: it tells of a fault upstream. What it costs to apply a row does
not depend on the length of the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from attrs import evolve, frozen

from mob.history.items import Item, ToolCall, ToolResult, TranscriptState, Turn, UserMessage, result_id
from mob.history.rows import (
    MemberEnded,
    MemberSpawned,
    MessageAdmitted,
    MessageEnded,
    Stored,
    ToolEnded,
    ToolStarted,
    TranscriptFilled,
    TurnRow,
    member_of,
)
from mob.values import NO_USAGE, ToolStatus, Usage


@frozen(slots=True)
class ToolRecord:
    """The ledger's view of one call. `status` is None while it runs; `effect` is read or write.

    `started` is False for a call that ended without having begun: it was denied.
    """

    call_id: str
    name: str
    arguments: str = ""
    effect: str = "read"
    turn_id: str | None = None
    response_id: str | None = None
    started: bool = True
    status: ToolStatus | None = None
    output: str = ""
    elapsed_ms: int = 0

    @property
    def open(self) -> bool:
        """Whether the call still awaits its terminal state."""
        return self.status is None


@frozen(slots=True)
class HistoryStatistics:
    """Counts. `empty_slots`: spoken messages that still have no words.

    The last three tell of rows that changed nothing: replays, transcripts without an empty slot, and calls that were
    begun or ended a second time.
    """

    turns: int
    calls: int
    open_calls: int
    empty_slots: int
    replayed: int
    refused_transcripts: int
    refused_calls: int


class History:
    """The fold of one member's rows. Rows of other members, and of the run, pass through without effect."""

    def __init__(self, member: str) -> None:
        self.member = member
        self._turns: list[Turn] = []
        self._changes: list[int] = []  # the index of each turn that was added or changed, in the order of the changes
        self._calls: dict[str, ToolRecord] = {}
        self._open_calls: dict[str, ToolRecord] = {}
        self._open_messages: dict[str, MessageAdmitted] = {}
        self._spawned: MemberSpawned | None = None
        self._running = False
        self._usage = NO_USAGE
        self._told = 0
        self._last_seq = 0
        self._empty_slots: dict[str, int] = {}  # item id of a spoken message without words -> index of its turn
        self._unanswered: dict[str, int] = {}  # call id without a result in its turn -> index of the turn
        self._replayed = 0
        self._refused_transcripts = 0
        self._refused_calls = 0

    @classmethod
    def of(cls, member: str, rows: Iterable[Stored]) -> History:
        """The fold of these rows."""
        history = cls(member)
        for stored in rows:
            history.apply(stored)
        return history

    @property
    def turns(self) -> Sequence[Turn]:
        """The committed turns, oldest first, as they stand now. A live view; do not change it."""
        return self._turns

    @property
    def revision(self) -> int:
        """How many times a turn was added or changed: the turns are the same while this is."""
        return len(self._changes)

    def changed_since(self, revision: int) -> Sequence[tuple[int, Turn]]:
        """The turns that were added or changed since then, as they stand now, with their indices, oldest first.

        What it costs does not depend on the length of the history.
        """
        return [(index, self._turns[index]) for index in sorted(set(self._changes[revision:]))]

    @property
    def turns_begun(self) -> int:
        """How many turns asked for an answer: all but those that only told the member something."""
        return len(self._turns) - self._told

    @property
    def calls(self) -> Mapping[str, ToolRecord]:
        """Every call of the ledger by its call id."""
        return MappingProxyType(self._calls)

    @property
    def open_calls(self) -> Mapping[str, ToolRecord]:
        """The calls that have no terminal state. After a crash these are closed as cancelled before anything runs."""
        return MappingProxyType(self._open_calls)

    @property
    def open_messages(self) -> Mapping[str, MessageAdmitted]:
        """Messages that were taken for this member and have no outcome yet."""
        return MappingProxyType(self._open_messages)

    @property
    def last_seq(self) -> int:
        """The sequence number of the last row seen, whoever's it was."""
        return self._last_seq

    @property
    def usage(self) -> Usage:
        """What all committed turns used together."""
        return self._usage

    @property
    def generation(self) -> int:
        """The highest generation that ever lived, 0 before the first."""
        return self._spawned.generation if self._spawned else 0

    @property
    def spawned(self) -> MemberSpawned | None:
        """The row that began the latest generation."""
        return self._spawned

    @property
    def running(self) -> bool:
        """Whether the latest generation has begun and not ended. After a crash it stays True."""
        return self._running

    def statistics(self) -> HistoryStatistics:
        """Counts, as of now."""
        return HistoryStatistics(
            turns=len(self._turns),
            calls=len(self._calls),
            open_calls=len(self._open_calls),
            empty_slots=len(self._empty_slots),
            replayed=self._replayed,
            refused_transcripts=self._refused_transcripts,
            refused_calls=self._refused_calls,
        )

    def apply(self, stored: Stored) -> bool:
        """Lay one more row over the history. False when it was a replay, and nothing changed."""
        if stored.seq <= self._last_seq:
            self._replayed += 1
            return False
        self._last_seq = stored.seq
        if member_of(stored.row) == self.member:
            self._lay(stored)
        return True

    def _lay(self, stored: Stored) -> None:
        match stored.row:
            case TurnRow(turn=turn):
                self._add_turn(evolve(turn, seq=stored.seq))
            case TranscriptFilled() as row:
                self._fill_transcript(row)
            case ToolStarted() as row:
                self._start_call(row)
            case ToolEnded() as row:
                self._end_call(row)
            case MessageAdmitted() as row:
                self._open_messages[row.message_id] = row
            case MessageEnded() as row:
                self._open_messages.pop(row.message_id, None)
            case MemberSpawned() as row if row.generation > self.generation:
                self._spawned, self._running = row, True
            case MemberEnded(generation=generation) if generation == self.generation:
                self._running = False

    def _add_turn(self, turn: Turn) -> None:
        index = len(self._turns)
        self._usage += turn.usage
        self._told += turn.cause.kind == "context"
        answered = {item.call_id for item in turn.items if isinstance(item, ToolResult)}
        unanswered: dict[str, None] = {}
        for item in turn.items:
            match item:
                case UserMessage(id=item_id, spoken=True, text="", transcript="pending" | "failed"):
                    self._empty_slots[item_id] = index
                case ToolCall(call_id=call_id) if call_id not in answered:
                    unanswered[call_id] = None
        self._turns.append(turn)
        self._changes.append(index)
        for call_id in unanswered:
            self._unanswered[call_id] = index
            self._answer(self._calls.get(call_id))

    def _fill_transcript(self, row: TranscriptFilled) -> None:
        index = self._empty_slots.get(row.item_id)
        if index is None:
            self._refused_transcripts += 1
            return
        turn = self._turns[index]
        state: TranscriptState = "failed" if row.failed else "final"
        items = tuple(
            evolve(item, text=row.text, transcript=state)
            if isinstance(item, UserMessage) and item.id == row.item_id
            else item
            for item in turn.items
        )
        self._change(index, items)
        if row.text:
            del self._empty_slots[row.item_id]

    def _start_call(self, row: ToolStarted) -> None:
        if row.call_id in self._calls:
            self._refused_calls += 1
            return
        record = ToolRecord(
            call_id=row.call_id,
            name=row.name,
            arguments=row.arguments,
            effect=row.effect,
            turn_id=row.turn_id,
            response_id=row.response_id,
        )
        self._calls[row.call_id] = self._open_calls[row.call_id] = record

    def _end_call(self, row: ToolEnded) -> None:
        record = self._calls.get(row.call_id) or ToolRecord(row.call_id, row.name, started=False)
        if not record.open:
            self._refused_calls += 1
            return
        record = evolve(record, status=row.status, output=row.output, elapsed_ms=row.elapsed_ms)
        self._calls[row.call_id] = record
        self._open_calls.pop(row.call_id, None)
        self._answer(record)

    def _answer(self, record: ToolRecord | None) -> None:
        """Put the result of an ended call behind the call, when its turn was committed without it."""
        if record is None or record.status is None or record.call_id not in self._unanswered:
            return
        index = self._unanswered.pop(record.call_id)
        turn = self._turns[index]
        result = ToolResult(
            id=result_id(record.call_id),
            call_id=record.call_id,
            name=record.name,
            status=record.status,
            output=record.output,
            elapsed_ms=record.elapsed_ms,
        )
        call_ids = [item.call_id if isinstance(item, ToolCall) else None for item in turn.items]
        behind = call_ids.index(record.call_id) + 1
        self._change(index, (*turn.items[:behind], result, *turn.items[behind:]))

    def _change(self, index: int, items: tuple[Item, ...]) -> None:
        self._turns[index] = evolve(self._turns[index], items=items)
        self._changes.append(index)
