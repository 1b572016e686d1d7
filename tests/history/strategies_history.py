"""Draws rows, turns and histories."""

import string

from hypothesis import strategies as st

from mob.history import items, rows
from mob.values import Image, Usage

names = st.sampled_from(["host", "menu", "books"])
ids = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=6)
texts = st.text(max_size=12)
words = st.lists(st.text(string.ascii_letters, min_size=1, max_size=8), min_size=1, max_size=12).map(" ".join)
counts = st.integers(0, 10**9)
times = st.none() | st.integers(0, 10**6)
statuses = st.sampled_from(["done", "failed", "cancelled", "timed_out", "denied"])
vias = st.sampled_from(["ask", "tell", "hand_off"])

usages = st.builds(
    Usage,
    input_tokens=counts,
    output_tokens=counts,
    cached_tokens=counts,
    requests=counts,
    reported=st.booleans(),
    cost_usd=st.none() | st.floats(0, 1e6),
)
images = st.builds(Image, mime=st.sampled_from(["image/png", "image/jpeg"]), data=st.binary(max_size=20))
user_messages = st.builds(
    items.UserMessage,
    id=ids,
    text=texts,
    author=st.none() | names,
    spoken=st.booleans(),
    transcript=st.sampled_from(["final", "pending", "failed"]),
    images=st.lists(images, max_size=2).map(tuple),
)
agent_messages = st.builds(
    items.AgentMessage,
    id=ids,
    display_text=texts,
    spoken_text=texts,
    interrupted=st.booleans(),
    generated_ms=times,
    heard_ms=times,
    fidelity=st.none() | st.sampled_from(["exact", "estimated", "unknown"]),
    generated_text=texts,
    response_id=st.none() | ids,
)
call_ids = st.sampled_from(["c1", "c2", "c3", "c4"])
tool_calls = st.builds(items.ToolCall, id=ids, call_id=call_ids, name=ids, arguments=texts)
tool_results = st.builds(
    items.ToolResult, id=ids, call_id=call_ids, name=ids, status=statuses, output=texts, elapsed_ms=counts
)
notes = st.builds(items.Note, id=ids, text=texts, kind=ids)
any_item = user_messages | agent_messages | tool_calls | tool_results | notes
causes = st.builds(
    items.Cause,
    kind=st.sampled_from(["speech", "text", "ask", "tell", "hand_off", "idle"]),
    origin=st.none() | names,
    message_id=st.none() | ids,
    hops=st.integers(0, 8),
)
timings = st.builds(
    items.Timings,
    started_at=st.floats(0, 1e10),
    first_token_ms=times,
    first_audio_ms=times,
    first_played_ms=times,
    total_ms=times,
)
turns = st.builds(
    items.Turn,
    id=ids,
    cause=causes,
    items=st.lists(any_item, max_size=6).map(tuple),
    status=st.sampled_from(["done", "interrupted", "failed", "cancelled"]),
    usage=usages,
    timings=timings,
    error=st.none() | texts,
)

ROW_STRATEGIES = {
    rows.RunStarted: st.builds(rows.RunStarted, mob=ids, digest=texts, seed=st.integers(), resumed=st.booleans()),
    rows.RunStopped: st.builds(rows.RunStopped, reason=texts),
    rows.MemberSpawned: st.builds(
        rows.MemberSpawned,
        member=names,
        generation=st.integers(1, 9),
        profile=ids,
        model=texts,
        overrides=st.dictionaries(ids, st.one_of(texts, st.booleans(), st.lists(st.integers(0, 9)))),
    ),
    rows.MemberEnded: st.builds(
        rows.MemberEnded, member=names, generation=st.integers(1, 9), reason=ids, error=st.none() | texts
    ),
    rows.ChannelOpened: st.builds(
        rows.ChannelOpened,
        member=names,
        channel_id=ids,
        epoch=st.integers(1, 9),
        continuity=st.sampled_from(["fresh", "transcript_only", "degraded", "provider_native_resume"]),
    ),
    rows.TurnRow: st.builds(rows.TurnRow, member=names, turn=turns, generation=st.integers(0, 9)),
    rows.TranscriptFilled: st.builds(
        rows.TranscriptFilled, member=names, item_id=ids, text=texts, failed=st.booleans()
    ),
    rows.ToolStarted: st.builds(
        rows.ToolStarted,
        member=names,
        call_id=call_ids,
        name=ids,
        arguments=texts,
        effect=st.sampled_from(["read", "write"]),
        turn_id=st.none() | ids,
        response_id=st.none() | ids,
    ),
    rows.ToolEnded: st.builds(
        rows.ToolEnded,
        member=names,
        call_id=call_ids,
        name=ids,
        status=statuses,
        output=texts,
        elapsed_ms=counts,
    ),
    rows.MessageAdmitted: st.builds(
        rows.MessageAdmitted,
        member=names,
        message_id=ids,
        sender=names,
        via=vias,
        text=texts,
        hops=st.integers(0, 8),
    ),
    rows.MessageEnded: st.builds(rows.MessageEnded, member=names, message_id=ids, status=statuses, answer=texts),
    rows.FloorMoved: st.builds(
        rows.FloorMoved,
        member=st.none(),
        origin=st.none() | names,
        to=st.none() | names,
        reason=texts,
        turns=st.lists(ids, max_size=3).map(tuple),
    ),
    rows.Wired: st.builds(
        rows.Wired,
        member=st.none(),
        origin=names,
        to=names,
        via=st.lists(vias, max_size=3).map(tuple),
        removed=st.booleans(),
    ),
}
any_row = st.one_of(*ROW_STRATEGIES.values())


@st.composite
def logs(draw, max_size=12):
    """Any rows, as a store would have them; sequence numbers rise, with gaps as one member's rows have."""
    seq = 0
    log = []
    for row in draw(st.lists(any_row, max_size=max_size)):
        seq += draw(st.integers(1, 3))
        log.append(rows.Stored(seq, float(seq), row))
    return log


@st.composite
def conversations(draw, member="host", max_rows=14):
    """One member's rows as sessions write them, and as faults make them: turns whose spoken messages lack words and
    whose calls lack results; transcripts and terminal states late, twice, empty or about nothing."""
    pending, called = [], []
    log = []
    for seq in range(1, draw(st.integers(1, max_rows)) + 1):
        what = draw(st.sampled_from(["turn", "turn", "fill", "tool_started", "tool_ended"]))
        if what == "turn":
            row = rows.TurnRow(member, draw(_turn_with_holes(seq, pending, called)))
        elif what == "fill":
            item_id = draw(st.sampled_from([*pending, "nobody"]))
            row = rows.TranscriptFilled(
                member, item_id, draw(st.sampled_from(["", "hello", "bye"])), draw(st.booleans())
            )
        elif what == "tool_started":
            call_id = draw(st.sampled_from([*called, "c_new"]))
            row = rows.ToolStarted(member, call_id, "look", "{}", "read")
        else:
            call_id = draw(st.sampled_from([*called, "c_new"]))
            row = rows.ToolEnded(member, call_id, "look", draw(statuses), draw(st.sampled_from(["one", "two"])))
        log.append(rows.Stored(seq, float(seq), row))
    return log


@st.composite
def _turn_with_holes(draw, seq, pending, called):
    parts = []
    for at in range(draw(st.integers(1, 4))):
        name = f"{seq}.{at}"
        kind = draw(st.sampled_from(["spoken", "typed", "agent", "call", "call_and_result", "result"]))
        if kind == "spoken":
            pending.append(f"u{name}")
            parts.append(items.UserMessage(f"u{name}", "", spoken=True, transcript="pending"))
        elif kind == "typed":
            parts.append(items.UserMessage(f"u{name}", draw(words)))
        elif kind == "agent":
            heard = draw(st.sampled_from(["", "so far"]))
            whole = heard + " and what nobody heard"
            cut = draw(st.booleans())
            parts.append(items.AgentMessage(f"a{name}", spoken_text=heard, interrupted=cut, generated_text=whole))
        elif kind == "result":
            parts.append(items.ToolResult(f"r{name}", f"c{name}", "look", "done", "an orphan"))
        else:
            call_id = f"c{name}"
            called.append(call_id)
            parts.append(items.ToolCall(f"k{name}", call_id, "look", "{}"))
            if kind == "call_and_result":
                parts.append(items.ToolResult(f"r{name}", call_id, "look", draw(statuses), draw(texts)))
    return items.Turn(f"t{seq}", items.Cause("text"), tuple(parts), usage=draw(usages))
