"""Sessions and mobs over REST, in virtual time over memory streams."""

from __future__ import annotations

import json

import pytest
import trio
from attrs import evolve
from rest_doors import Http, ask, desk, open_doors
from trio.testing import wait_all_tasks_blocked

from mob.definition.catalogue import catalogue
from mob.protocol.shapes import turn_of
from mob.server.limits import DoorLimits

RISOTTO = "What does the risotto cost?"


async def test_health_is_told_to_everybody(autojump_clock):
    async with open_doors() as doors:
        assert (await ask(doors, "GET", "/healthz")).json == {"status": "ok"}
        ready = await ask(doors, "GET", "/readyz")
        assert (ready.status, ready.json) == (200, {"status": "ready", "mobs": {"front-desk": "running"}})
        await doors.realm.mob("front-desk").stop()
        assert (await ask(doors, "GET", "/readyz")).status == 503
        assert (await ask(doors, "GET", "/healthz")).status == 200
        head = await ask(doors, "HEAD", "/healthz")
        assert (head.status, head.text, head.headers["content-length"]) == (200, "", "16")


async def test_what_there_is(autojump_clock):
    async with open_doors() as doors:
        (one,) = (await ask(doors, "GET", "/mobs")).json["mobs"]
        assert one == (await ask(doors, "GET", "/mobs/front-desk")).json
        assert (one["state"], one["floor"]) == ("running", "host")
        assert one["members"] == ["host", "manager", "menu", "bookings"]
        members = (await ask(doors, "GET", "/mobs/front-desk/members")).json["members"]
        assert [member["member"] for member in members] == one["members"]
        sessions = (await ask(doors, "GET", "/sessions")).json["sessions"]
        assert sessions == members
        menu = (await ask(doors, "GET", "/mobs/front-desk/members/menu")).json
        assert (menu["profile"], menu["state"], menu["model"]["id"]) == ("menu", "idle", "gpt-5.6-terra")
        assert menu == (await ask(doors, "GET", f"/sessions/{menu['session_id']}")).json


async def test_the_catalogue_is_the_one_that_meerkats_clients_read(autojump_clock):
    async with open_doors() as doors:
        body = (await ask(doors, "GET", "/models/catalog")).json
        models = {model["id"]: model for provider in body["providers"] for model in provider["models"]}
        assert set(models) == set(catalogue())
        assert models["gpt-realtime-2"]["profile"]["realtime"]


async def test_a_turn_is_asked_and_stands_in_the_history(autojump_clock):
    async with open_doors() as doors:
        http = Http(doors)
        answer = await http.ask("POST", "/mobs/front-desk/members/menu/turns", {"text": RISOTTO})
        assert answer.status == 200
        assert "14 euros" in answer.json["text"]
        page = (await http.ask("GET", "/mobs/front-desk/members/menu/history")).json
        assert page["turns"] == [answer.json["turn"]]
        assert (page["total"], page["has_more"], page["offset"]) == (1, False, 0)
        (turn,) = doors.realm.mob("front-desk").member("menu").history()
        assert turn_of(page["turns"][0]) == turn
        await http.ask("POST", f"/sessions/{page['session_id']}/turns", {"text": "And the soup?", "timeout_s": 30})
        later = (await http.ask("GET", f"/sessions/{page['session_id']}/history?offset=1&limit=1")).json
        assert (later["total"], len(later["turns"])) == (2, 1)
        first = (await http.ask("GET", f"/sessions/{page['session_id']}/history?limit=1")).json
        assert first["has_more"]


async def test_a_stopped_mob_is_read_and_not_asked(autojump_clock):
    async with open_doors() as doors:
        await ask(doors, "POST", "/mobs/front-desk/members/menu/turns", {"text": RISOTTO})
        await doors.realm.mob("front-desk").stop()
        assert (await ask(doors, "GET", "/mobs/front-desk")).json["state"] == "stopped"
        member = (await ask(doors, "GET", "/mobs/front-desk/members/menu")).json
        assert (member["state"], member["model"]["id"]) == ("stopped", "gpt-5.6-terra")
        assert (await ask(doors, "GET", "/mobs/front-desk/members/menu/history")).json["total"] == 1
        refused = await ask(doors, "POST", "/mobs/front-desk/members/menu/turns", {"text": RISOTTO})
        assert (refused.status, refused.json["error"]["code"]) == (409, "member_not_running")
        events = await ask(doors, "GET", "/mobs/front-desk/events")
        assert events.status == 409


async def test_what_was_never_started_is_idle(autojump_clock):
    async with open_doors(start=False) as doors:
        assert (await ask(doors, "GET", "/mobs/front-desk/members/menu")).json["state"] == "idle"
        refused = await ask(doors, "POST", "/mobs/front-desk/members/menu/turns", {"text": RISOTTO})
        assert (refused.status, refused.json["error"]["code"]) == (409, "session_idle")


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "code", "param"),
    [
        ("GET", "/mobs/nowhere", None, 404, "mob_unknown", None),
        ("GET", "/mobs/front-desk/members/cook", None, 404, "member_unknown", None),
        ("GET", "/sessions/x", None, 404, "session_unknown", None),
        ("GET", "/nothing", None, 404, "unknown_url", None),
        ("DELETE", "/mobs", None, 405, "method_not_allowed", None),
        ("GET", "/mobs/front-desk/members/menu/history?limit=0", None, 400, "bad_request", "limit"),
        ("GET", "/mobs/front-desk/members/menu/history?offset=x", None, 400, "bad_request", "offset"),
        ("GET", "/mobs/front-desk/events?after=-1", None, 400, "bad_request", "after"),
        ("POST", "/mobs/front-desk/members/menu/turns", b"{", 400, "bad_request", "body"),
        ("POST", "/mobs/front-desk/members/menu/turns", [], 400, "bad_request", "body"),
        ("POST", "/mobs/front-desk/members/menu/turns", {}, 400, "bad_request", "text"),
        ("POST", "/mobs/front-desk/members/menu/turns", {"text": 1}, 400, "bad_request", "text"),
        ("POST", "/mobs/front-desk/members/menu/turns", {"text": "x", "loud": 1}, 400, "bad_request", "loud"),
        ("POST", "/mobs/front-desk/members/menu/turns", {"images": [{}]}, 400, "bad_request", "images[0].mime"),
        (
            "POST",
            "/mobs/front-desk/members/menu/turns",
            {"images": [{"mime": "image/png", "data": "%"}]},
            400,
            "bad_request",
            "images[0].data",
        ),
        (
            "POST",
            "/mobs/front-desk/members/menu/turns",
            {"images": [{"mime": "image/png", "data": "R0lGODlh"}]},  # a GIF
            400,
            "bad_request",
            "images[0].data",
        ),
    ],
)
async def test_refusals_name_what_is_wrong(autojump_clock, method, target, body, status, code, param):
    async with open_doors() as doors:
        refused = await ask(doors, method, target, body)
        assert refused.status == status
        assert (refused.json["error"]["code"], refused.json["error"]["param"]) == (code, param)


async def test_a_client_that_hangs_up_interrupts_its_turn(autojump_clock):
    async with open_doors() as doors:
        member = doors.realm.mob("front-desk").member("menu")
        http = Http(doors)
        await http.send("POST", "/mobs/front-desk/members/menu/turns", {"text": RISOTTO})
        async with doors.realm.mob("front-desk").mob.events() as events:
            async for event in events:
                if event.type == "agent_text_delta":
                    break
        await http.stream.aclose()
        await doors.realm.mob("front-desk").mob.wait_quiet()
        (turn,) = member.history()
        assert turn.status == "interrupted"
        assert member.state == "idle"


async def test_interrupt_cuts_what_is_said(autojump_clock):
    async with open_doors() as doors:
        http = Http(doors)
        nobody = await ask(doors, "POST", "/mobs/front-desk/members/menu/interrupt")
        assert nobody.json == {"interrupted": False}
        await http.send("POST", "/mobs/front-desk/members/menu/turns", {"text": RISOTTO})
        async with doors.realm.mob("front-desk").mob.events() as events:
            async for event in events:
                if event.type == "agent_text_delta":
                    break
        assert (await ask(doors, "POST", "/mobs/front-desk/members/menu/interrupt")).json == {"interrupted": True}
        head = await http.head()
        assert head.status == 200
        assert json.loads(await http.piece())["turn"]["status"] == "interrupted"


# -- events ------------------------------------------------------------------------------------------------------------


def read_events(text: str) -> list[dict]:
    """The JSON of a stream's events, each with its id checked."""
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if fields:
            events.append(json.loads(fields["data"]))
            assert int(fields["id"]) == events[-1]["seq"]
    return events


async def test_events_are_told_from_any_place_on(autojump_clock):
    async with open_doors() as doors:
        hosted = doors.realm.mob("front-desk")
        await ask(doors, "POST", "/mobs/front-desk/members/menu/turns", {"text": RISOTTO})
        whole, rest, named = Http(doors), Http(doors), Http(doors)
        await whole.send("GET", "/mobs/front-desk/events?after=0")
        await rest.send("GET", "/mobs/front-desk/events", Last_Event_ID="5")
        await named.send("GET", f"/sessions/{hosted.session_id('host')}/events?after=0")
        for http in (whole, rest, named):
            assert (await http.head()).headers["content-type"] == "text/event-stream"
        await hosted.stop()
        texts = ["", "", ""]
        for index, http in enumerate((whole, rest, named)):
            while data := await http.piece():
                texts[index] += data.decode()
        all_of_them, later, host = map(read_events, texts)
        assert [event["seq"] for event in all_of_them] == list(range(1, len(all_of_them) + 1))
        assert [event["type"] for event in (all_of_them[0], all_of_them[-1])] == ["mob_started", "mob_stopped"]
        assert later == all_of_them[5:]
        assert {event.get("member") for event in host} == {None, "host"}


async def test_a_silent_stream_is_kept_alive(autojump_clock):
    async with open_doors() as doors:
        http = Http(doors)
        await http.send("GET", "/mobs/front-desk/events")
        await http.head()
        seen = b""
        while seen.count(b": still here") < 3:
            seen += await http.piece()
        assert b"data:" not in seen


async def test_law_24_a_slow_or_gone_client_of_events_holds_nothing(autojump_clock):
    limits = evolve(DoorLimits(), max_event_streams=2, idle_s=20)
    async with open_doors(limits=limits) as doors:
        mob = doors.realm.mob("front-desk").mob
        gone, slow = Http(doors), Http(doors)
        for http in (gone, slow):
            await http.send("GET", "/mobs/front-desk/events")
            await http.head()
        await wait_all_tasks_blocked()
        assert mob.statistics().events.subscribers == 2
        full = await ask(doors, "GET", "/mobs/front-desk/events")
        assert (full.status, full.json["error"]["code"]) == (503, "door_full")
        await gone.stream.aclose()
        await wait_all_tasks_blocked()
        assert mob.statistics().events.subscribers == 1
        slow.end.send_stream.send_all_hook = trio.sleep_forever  # what it is sent finds no room
        await trio.sleep(limits.keep_alive_s + limits.idle_s + 1)
        assert mob.statistics().events.subscribers == 0
        assert doors.front.statistics().open == 0


async def test_a_place_of_an_earlier_run_begins_anew(autojump_clock):
    async with open_doors(desk()) as doors:
        http = Http(doors)
        await http.send("GET", "/mobs/front-desk/events?after=100000")
        await http.head()
        seen = b""
        while b"mob_started" not in seen:
            seen += await http.piece()
