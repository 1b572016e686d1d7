"""What a server counts, in Prometheus' text format (exposition format 0.0.4).

Everything is read when it is asked for, from the statistics that each part keeps; nothing is collected in between.
Labels are names of mobs (empty: the stand-alone sessions, together), of members' states and of calls' ends, and never
what anybody said. What a mob counts goes on over its restarts, since it is read from its log, and goes with the mob.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Literal

from attrs import field, frozen

from mob.errors import MobError
from mob.server.channels.attached import SocketCounts
from mob.server.channels.held import HeldChannel
from mob.server.front.port import FrontStatistics
from mob.server.hosted import HostedMob
from mob.server.realm.realm import Realm, members_of
from mob.team.handles import MemberHandle

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge"]
Labels = tuple[tuple[str, str], ...]


@frozen(slots=True)
class Metric:
    """One metric with its samples, by labels."""

    name: str
    kind: Kind
    help: str
    samples: Mapping[Labels, float] = field(hash=False)


def render(metrics: Iterable[Metric]) -> str:
    """The text of a scrape."""
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        lines += [f"{metric.name}{_labels(labels)} {_number(value)}" for labels, value in metric.samples.items()]
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def one(name: str, kind: Kind, help_text: str, value: float) -> Metric:
    """A metric without labels."""
    return Metric(name, kind, help_text, {(): value})


def front_metrics(front: FrontStatistics) -> Iterator[Metric]:
    """The port's."""
    yield one("mob_connections", "gauge", "Connections that are open, of HTTP and WebSockets.", front.open)
    yield one("mob_connections_total", "counter", "Connections ever accepted.", front.accepted)
    yield one("mob_connections_turned_away_total", "counter", "Connections beyond the limit.", front.turned_away)
    yield one("mob_requests_refused_total", "counter", "Requests answered with a refusal.", front.refused)


def realm_metrics(realm: Realm) -> Iterator[Metric]:
    """The realm's: its mobs, their members, what they did and what it cost."""
    every = {hosted.mob_id: hosted for hosted in (*realm.mobs, *(ref.hosted for ref in realm.sessions()))}
    tallies = [_tally(hosted) for hosted in every.values()]
    yield Metric("mob_mobs", "gauge", "Mobs by state.", _counted(("state",), ((h.state,) for h in realm.mobs)))
    yield one("mob_sessions", "gauge", "Sessions, members' included.", sum(1 for _ in realm.sessions()))
    for name, kind, text, labels, part in _OF_MOBS:
        yield _summed(name, kind, text, labels, (getattr(tally, part) for tally in tallies))
    yield from _channel_metrics(tuple(realm.channels))
    yield from _socket_metrics(realm.channels.sockets)


def _channel_metrics(channels: tuple[HeldChannel, ...]) -> Iterator[Metric]:
    there = [channel.statistics() for channel in channels]
    counted = _counted(("status",), ((each.status,) for each in there))
    yield Metric("mob_live_channels", "gauge", "Live channels that doors hold, by status.", counted)
    attached = sum(each.attached for each in there)
    yield one("mob_live_sockets", "gauge", "Live sockets that are attached to a channel.", attached)
    dropped = sum(each.ring.audio_bytes_dropped for each in there)
    yield one("mob_live_audio_dropped_bytes", "gauge", "Audio that the channels of now had no room for.", dropped)


def _socket_metrics(counts: SocketCounts) -> Iterator[Metric]:
    yield one("mob_live_sockets_total", "counter", "Live sockets ever attached.", counts.attached)
    yield one("mob_live_sockets_refused_total", "counter", "Live sockets that were refused.", counts.refused)
    refused = counts.commands_refused
    yield one("mob_live_commands_refused_total", "counter", "Refused commands of sockets that ended.", refused)
    yield one("mob_live_events_lost_total", "counter", "Events that slow sockets lost, once ended.", counts.lost_events)
    lost = counts.lost_audio_bytes
    yield one("mob_live_audio_lost_bytes_total", "counter", "Sound that slow sockets lost, once ended.", lost)


@frozen(slots=True)
class _Tally:
    """What one mob adds to each metric, by label values."""

    states: Counter[tuple[str, ...]]
    turns: Counter[tuple[str, ...]]
    calls: Counter[tuple[str, ...]]
    tokens: Counter[tuple[str, ...]]
    spend: dict[tuple[str, ...], float]
    events: Counter[tuple[str, ...]]
    missed: Counter[tuple[str, ...]]


_OF_MOBS: tuple[tuple[str, Kind, str, tuple[str, ...], str], ...] = (
    ("mob_members", "gauge", "Members by state.", ("mob", "state"), "states"),
    ("mob_turns_total", "counter", "Turns committed.", ("mob",), "turns"),
    ("mob_tool_calls_total", "counter", "Tool calls by how they ended.", ("mob", "status"), "calls"),
    ("mob_tokens_total", "counter", "Tokens used, as far as reported.", ("mob", "direction"), "tokens"),
    ("mob_spend_usd_total", "counter", "Dollars spent, as far as known.", ("mob",), "spend"),
    ("mob_events_total", "counter", "Events published since the mob was started.", ("mob",), "events"),
    ("mob_events_missed_total", "counter", "Events that slow readers missed.", ("mob",), "missed"),
)
"""What is summed over mobs: name, kind, help, labels, and the field of the tally."""


def _tally(hosted: HostedMob) -> _Tally:
    name = "" if hosted.hidden else hosted.mob_id
    if not hosted.running:
        stopped = Counter[tuple[str, ...]]({(name, hosted.state): len(members_of(hosted))})
        return _Tally(stopped, Counter(), Counter(), Counter(), {}, Counter(), Counter())
    mob = hosted.mob
    handles = tuple(mob.members.values())
    bus = mob.statistics().events
    usage = mob.usage
    tokens = {(name, "input"): usage.input_tokens, (name, "output"): usage.output_tokens}
    return _Tally(
        states=Counter((name, handle.state) for handle in handles),
        turns=Counter({(name,): sum(_turns_of(handle) for handle in handles)}),
        calls=Counter((name, end) for handle in handles for end in _ends_of(handle)),
        tokens=Counter(tokens),
        spend={(name,): usage.cost_usd or 0.0},
        events=Counter({(name,): bus.published}),
        missed=Counter({(name,): bus.missed}),
    )


def _turns_of(handle: MemberHandle) -> int:
    with suppress(MobError):
        return handle.statistics().history.turns
    return 0


def _ends_of(handle: MemberHandle) -> list[str]:
    with suppress(MobError):
        return [record.status for record in handle.session.folded.calls.values() if record.status is not None]
    return []


def _summed(
    name: str, kind: Kind, help_text: str, labels: tuple[str, ...], parts: Iterable[Mapping[tuple[str, ...], float]]
) -> Metric:
    samples: dict[Labels, float] = {}
    for part in parts:
        for values, value in part.items():
            at = tuple(zip(labels, values, strict=True))
            samples[at] = samples.get(at, 0) + value
    return Metric(name, kind, help_text, samples)


def _counted(labels: tuple[str, ...], values: Iterable[tuple[str, ...]]) -> dict[Labels, float]:
    return {tuple(zip(labels, each, strict=True)): count for each, count in Counter(values).items()}
