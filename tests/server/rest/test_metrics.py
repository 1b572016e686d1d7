"""What the server counts: the text is Prometheus', the numbers are true, and nothing that was said is in it."""

from __future__ import annotations

import re

from attrs import evolve
from rest_doors import SECRET, ask, desk, open_doors

from mob.server.front.auth import Gatekeeper
from mob.server.rest.metrics import Metric, render

_LINE = re.compile(r'^[a-z_]+(\{[a-z_]+="(?:[^"\\\n]|\\.)*"(,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})? -?[0-9.e+-]+$')


def read(text: str) -> dict[str, float]:
    """Each sample by its name and labels; checks the format of every line."""
    samples: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            assert _LINE.match(line), line
            name, _, value = line.rpartition(" ")
            assert name not in samples
            samples[name] = float(value)
    return samples


async def test_metrics_tell_what_happened(autojump_clock):
    async with open_doors() as doors:
        said = {"messages": [{"role": "user", "content": "What does the risotto cost?"}], "model": "menu"}
        assert (await ask(doors, "POST", "/v1/chat/completions", said)).status == 200
        await ask(doors, "POST", "/mobs/front-desk/members/bookings/turns", {"text": "Which tables are free at eight?"})
        await ask(doors, "GET", "/nowhere")
        got = await ask(doors, "GET", "/metrics")
        assert got.headers["content-type"].startswith("text/plain; version=0.0.4")
        samples = read(got.text)
        mob = doors.realm.mob("front-desk").mob
        assert samples['mob_turns_total{mob="front-desk"}'] == 2
        assert samples['mob_tool_calls_total{mob="front-desk",status="done"}'] == 1
        assert samples['mob_tokens_total{mob="front-desk",direction="input"}'] == mob.usage.input_tokens > 0
        assert samples['mob_members{mob="front-desk",state="idle"}'] == 4
        assert samples['mob_mobs{state="running"}'] == 1
        assert samples["mob_chat_turns_total"] == 1
        assert samples["mob_chat_turns"] == 0
        assert samples["mob_requests_refused_total"] == 1
        assert samples["mob_connections"] == 1
        assert "risotto" not in got.text


async def test_a_stopped_mob_is_counted_as_such(autojump_clock):
    async with open_doors(evolve(desk(), id='odd "name"\\')) as doors:
        await doors.realm.mobs[0].stop()
        samples = read((await ask(doors, "GET", "/metrics")).text)
        assert samples['mob_mobs{state="stopped"}'] == 1
        assert samples['mob_members{mob="odd \\"name\\"\\\\",state="stopped"}'] == 4


async def test_metrics_want_the_secret(autojump_clock):
    async with open_doors(gatekeeper=Gatekeeper(SECRET)) as doors:
        assert (await ask(doors, "GET", "/metrics")).status == 401
        got = await ask(doors, "GET", "/metrics", Authorization=f"Bearer {SECRET}")
        assert got.status == 200
        assert SECRET not in got.text


def test_a_metric_is_written_as_prometheus_reads_it():
    metric = Metric("a_total", "counter", "Help.", {(("x", 'a"\n\\'),): 1.5, (): 2.0})
    assert render([metric]) == '# HELP a_total Help.\n# TYPE a_total counter\na_total{x="a\\"\\n\\\\"} 1.5\na_total 2\n'
