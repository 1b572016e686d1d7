"""mob/*: whole mobs, who is in them, and what is said to them; in virtual time, over memory streams."""

from __future__ import annotations

import pytest
import trio
from mob_peer import CREW, RpcFailed, open_crew, open_door, open_peer, spawn

from mob.server.limits import DoorLimits
from mob.server.realm.documents import definition_of
from mob.server.rpc.mobs.facts import MobFacts


async def refused(client, method, **params):
    with pytest.raises(RpcFailed) as caught:
        await client(method, **params)
    return caught.value


async def test_a_definition_without_members_begins_with_nobody(autojump_clock):
    async with open_door() as (realm, methods), open_peer(realm, methods) as peer:
        created = await peer("mob/create", definition=CREW)
        assert created["mob_id"] == "crew"
        assert created["claim_token"]
        assert (await peer("mob/list"))["mobs"] == [{"mob_id": "crew", "status": "Running"}]
        assert (await peer("mob/status", mob_id="crew"))["status"] == "Running"
        assert (await peer("mob/members", mob_id="crew"))["members"] == []


async def test_a_definition_with_members_begins_with_these(autojump_clock):
    definition = {**CREW, "members": {"ann": {"profile": "host"}}}
    async with open_crew(definition=definition) as (_realm, peer):
        (row,) = (await peer("mob/members", mob_id="crew"))["members"]
        assert (row["agent_identity"], row["role"], row["status"], row["is_final"]) == ("ann", "host", "active", False)
        assert (row["generation"], row["fence_token"], row["agent_runtime_id"]) == (0, 1, "ann:0")


async def test_a_second_mob_of_the_same_id_is_refused(autojump_clock):
    async with open_crew() as (_realm, peer):
        assert (await refused(peer, "mob/create", definition=CREW)).number == -32602


async def test_a_bad_definition_is_refused_with_its_findings(autojump_clock):
    async with open_door() as (realm, methods), open_peer(realm, methods) as peer:
        error = await refused(peer, "mob/create", definition={"id": "x", "profiles": {"a": {"modle": "gpt-5.6-terra"}}})
        assert error.number == -32602
        assert "modle" in error.message
        assert (await peer("mob/list"))["mobs"] == []


async def test_a_mob_that_cannot_be_started_is_not_kept(autojump_clock, monkeypatch):
    async with open_door() as (realm, methods), open_peer(realm, methods) as peer:

        async def no(self):
            await trio.lowlevel.checkpoint()
            raise RuntimeError("no")

        monkeypatch.setattr("mob.server.hosted.HostedMob.start", no)
        assert (await refused(peer, "mob/create", definition=CREW)).number == -32603
        assert realm.mobs == ()


async def test_what_is_sent_to_a_member_is_in_its_history(autojump_clock):
    async with open_crew() as (realm, peer):
        spawned = await spawn(peer, "ann", labels={"team": "a"})
        assert spawned["agent_identity"] == "ann"
        sent = await peer(
            "mob/member_send", mob_id="crew", agent_identity="ann", content="Hello", handling_mode="queue"
        )
        assert (sent["mob_id"], sent["handling_mode"], sent["member_ref"]) == ("crew", "queue", spawned["member_ref"])
        await realm.mob("crew").mob.wait_quiet()
        page = (await peer("mob/member_history", mob_id="crew", agent_identity="ann"))["page"]
        assert [row["role"] for row in page["messages"]] == ["system", "user", "block_assistant"]
        assert page["messages"][2]["blocks"][0]["data"]["text"] == "Welcome!"
        assert (page["message_count"], page["complete"]) == (3, True)


async def test_history_comes_in_pages_that_fit_together(autojump_clock):
    async with open_crew() as (realm, peer):
        await spawn(peer, "ann")
        for text in ("one", "two", "three"):
            await peer("mob/member_send", mob_id="crew", agent_identity="ann", content=text)
        await realm.mob("crew").mob.wait_quiet()
        whole = (await peer("mob/member_history", mob_id="crew", agent_identity="ann"))["page"]["messages"]
        rows, index = [], 0
        while index is not None:
            answer = await peer("mob/member_history", mob_id="crew", agent_identity="ann", from_index=index, limit=2)
            page = answer["page"]
            assert page["from_index"] == index
            rows += page["messages"]
            index = page.get("next_index")
            assert (index is None) == page["complete"]
        assert rows == whole
        beyond = (await peer("mob/member_history", mob_id="crew", agent_identity="ann", from_index=99))["page"]
        assert (beyond["from_index"], beyond["messages"], beyond["complete"]) == (len(whole), [], True)


async def test_steering_cuts_what_the_member_does(autojump_clock):
    async with open_crew() as (realm, peer):
        await spawn(peer, "ann")
        await peer("mob/member_send", mob_id="crew", agent_identity="ann", content="be slow")
        await trio.sleep(1)
        begun = trio.current_time()
        await peer("mob/member_send", mob_id="crew", agent_identity="ann", content="hello", handling_mode="steer")
        await realm.mob("crew").mob.wait_quiet()
        assert trio.current_time() - begun < 3
        turns = realm.mob("crew").member("ann").history()
        assert [(turn.user_text, turn.status) for turn in turns] == [("be slow", "interrupted"), ("hello", "done")]


async def test_a_message_under_a_key_is_taken_once(autojump_clock):
    async with open_crew() as (realm, peer):
        await spawn(peer, "ann")
        send = {"mob_id": "crew", "agent_identity": "ann", "content": "Hello", "idempotency_key": "k"}
        first = await peer("mob/member_send", **send)
        assert first["continuation"]["status"]["state"] == "admitted"
        assert await peer("mob/member_send", **send) == first
        error = await refused(peer, "mob/member_send", **{**send, "content": "Other"})
        assert (error.number, error.code) == (-32004, "DUPLICATE_INPUT")
        await realm.mob("crew").mob.wait_quiet()
        assert len(realm.mob("crew").member("ann").history()) == 1


async def test_a_full_mailbox_refuses_and_steers_nothing(autojump_clock):
    definition = {**CREW, "limits": {"max_mailbox": 1}}
    async with open_crew(definition=definition) as (realm, peer):
        await spawn(peer, "ann")
        for text in ("be slow", "one"):
            await peer("mob/member_send", mob_id="crew", agent_identity="ann", content=text)
            await trio.sleep(0.5)
        error = await refused(
            peer, "mob/member_send", mob_id="crew", agent_identity="ann", content="x", handling_mode="steer"
        )
        assert error.code == "SESSION_BUSY"
        await realm.mob("crew").mob.wait_quiet()
        assert [turn.status for turn in realm.mob("crew").member("ann").history()] == ["done", "done"]


@pytest.mark.parametrize("content", ["", [], [{"type": "text", "text": ""}], 5, None, [{"type": "song"}]])
async def test_saying_nothing_is_refused(autojump_clock, content):
    async with open_crew() as (_realm, peer):
        await spawn(peer, "ann")
        error = await refused(peer, "mob/member_send", mob_id="crew", agent_identity="ann", content=content)
        assert error.number == -32602
        assert "content" in error.message


async def test_a_picture_for_who_cannot_see_is_refused_before_it_is_taken(autojump_clock):
    picture = {"type": "image", "media_type": "image/png", "source": "inline", "data": "iVBORw0KGgo="}
    definition = {**CREW, "profiles": {**CREW["profiles"], "blind": {"model": "x", "provider": "ollama"}}}
    async with open_crew(definition=definition) as (realm, peer):
        await spawn(peer, "ann", profile="blind")
        error = await refused(peer, "mob/member_send", mob_id="crew", agent_identity="ann", content=[picture])
        assert error.code == "CAPABILITY_UNAVAILABLE"
        await realm.mob("crew").mob.wait_quiet()
        assert realm.mob("crew").member("ann").history() == ()


async def test_retired_members_are_off_the_roll_and_keep_their_history(autojump_clock):
    async with open_crew() as (realm, peer):
        await spawn(peer, "ann")
        await peer("mob/member_send", mob_id="crew", agent_identity="ann", content="Hello")
        await realm.mob("crew").mob.wait_quiet()
        assert (await peer("mob/retire", mob_id="crew", agent_identity="ann"))["retired"]
        assert (await peer("mob/members", mob_id="crew"))["members"] == []
        page = (await peer("mob/member_history", mob_id="crew", agent_identity="ann"))["page"]
        assert page["message_count"] == 3
        assert (await refused(peer, "mob/retire", mob_id="crew", agent_identity="ann")).code == "SESSION_NOT_RUNNING"


async def test_a_respawned_member_keeps_history_labels_and_wiring_and_the_old_generation_is_refused(autojump_clock):
    async with open_crew() as (realm, peer):
        await spawn(peer, "ann", labels={"team": "a"})
        await spawn(peer, "bob", profile="scribe")
        await peer("mob/wire", mob_id="crew", member="ann", peer={"local": "bob"})
        await peer("mob/member_send", mob_id="crew", agent_identity="ann", content="Hello")
        await realm.mob("crew").mob.wait_quiet()
        answer = await peer("mob/respawn", mob_id="crew", agent_identity="ann", initial_message="Again")
        assert answer["status"] == "completed"
        assert (answer["receipt"]["identity"], answer["receipt"]["generation"]) == ("ann", 1)
        await realm.mob("crew").mob.wait_quiet()
        row = (await peer("mob/members", mob_id="crew"))["members"][0]
        assert (row["labels"], row["wired_to"], row["generation"]) == ({"team": "a"}, ["bob"], 1)
        assert [turn.user_text for turn in realm.mob("crew").member("ann").history()] == ["Hello", "Again"]
        for stale in ({"generation": 0}, {"fence_token": 1}):
            error = await refused(peer, "mob/member_send", mob_id="crew", agent_identity="ann", content="x", **stale)
            assert (error.number, error.details) == (-32028, {"expected": 1, "actual": 2})
        await peer("mob/member_send", mob_id="crew", agent_identity="ann", content="x", generation=1, fence_token=2)


async def test_members_are_found_by_labels_role_and_status(autojump_clock):
    async with open_crew() as (_realm, peer):
        await spawn(peer, "ann", labels={"team": "a", "x": "y"})
        await spawn(peer, "bob", profile="scribe", labels={"team": "a"})
        await spawn(peer, "cyd", profile="scribe")

        async def found(**wanted):
            rows = (await peer("mob/list_members_matching", mob_id="crew", filter=wanted))["members"]
            return [row["agent_identity"] for row in rows]

        assert await found() == ["ann", "bob", "cyd"]
        assert await found(labels={"team": "a"}) == ["ann", "bob"]
        assert await found(labels={"team": "a"}, role="scribe") == ["bob"]
        assert await found(status="broken") == []


async def test_one_bad_spec_keeps_no_other_member_from_coming(autojump_clock):
    async with open_crew(limits=DoorLimits(max_members=2)) as (_realm, peer):
        specs = [
            {"profile": "host", "agent_identity": "ann"},
            {"profile": "nobody", "agent_identity": "bob"},
            {"profile": "host", "agent_identity": "ann"},
            {"profile": "host", "agent_identity": "not a name"},
            {"profile": "host"},
            {"profile": "host", "agent_identity": "cyd", "launch_mode": {"mode": "fork"}},
            {"profile": "host", "agent_identity": "dan"},
            {"profile": "host", "agent_identity": "eve"},
        ]
        results = (await peer("mob/spawn_many", mob_id="crew", specs=specs))["results"]
        assert [(r["status"], r["result"].get("cause")) for r in results] == [
            ("spawned", None),
            ("failed", "profile_not_found"),
            ("failed", "member_already_exists"),
            ("failed", "definition_error"),
            ("failed", "schema_validation"),
            ("failed", "unsupported_for_mode"),
            ("spawned", None),
            ("failed", "session_error"),
        ]
        assert all(set(result) == {"status", "result"} for result in results)


async def test_ensuring_a_member_spawns_it_once(autojump_clock):
    async with open_crew() as (_realm, peer):
        spec = {"profile": "host", "agent_identity": "ann"}
        first = await peer("mob/ensure_member", mob_id="crew", spec=spec)
        assert first["outcome"]["spawned"]["agent_identity"] == "ann"
        second = await peer("mob/ensure_member", mob_id="crew", spec=spec)
        assert second["outcome"]["existed"]["agent_identity"] == "ann"


@pytest.mark.parametrize(
    "more",
    [
        {"backend": "external"},
        {"placement": "host-b"},
        {"auto_wire_parent": True},
        {"launch_mode": {"mode": "resume", "bridge_session_id": "x"}},
        {"tool_access_policy": {"mode": "allow_list", "tools": []}},
        {"shell_env": {"A": "b"}},
    ],
    ids=lambda more: next(iter(more)),
)
async def test_what_cannot_be_honoured_is_refused_by_name(autojump_clock, more):
    async with open_crew() as (_realm, peer):
        with pytest.raises(RpcFailed) as caught:
            await spawn(peer, "ann", **more)
        assert (caught.value.number, caught.value.code) == (-32020, "CAPABILITY_UNAVAILABLE")
        assert next(iter(more)) in caught.value.message
        assert (await peer("mob/members", mob_id="crew"))["members"] == []


async def test_edges_go_both_ways_and_are_made_once(autojump_clock):
    async with open_crew() as (realm, peer):
        for name in ("ann", "bob", "cyd"):
            await spawn(peer, name)
        edges = [{"a": "bob", "b": "ann"}, {"a": "bob", "b": "cyd"}]
        await peer("mob/wire", mob_id="crew", member="ann", peer={"local": "bob"})
        answer = await peer("mob/wire_members_batch", mob_id="crew", edges=edges)
        assert answer["requested"] == 2
        assert answer["wired"] == [{"a": "bob", "b": "cyd"}]
        assert answer["already_wired"] == [{"a": "ann", "b": "bob"}]
        tools = {tool.name for tool in realm.mob("crew").member("ann").session.tools}
        assert tools == {"ask_bob", "tell_bob"}
        await peer("mob/unwire", mob_id="crew", member="bob", peer={"local": "ann"})
        rows = (await peer("mob/members", mob_id="crew"))["members"]
        assert {row["agent_identity"]: row["wired_to"] for row in rows} == {"ann": [], "bob": ["cyd"], "cyd": ["bob"]}


async def test_edges_that_cannot_be_are_refused(autojump_clock):
    async with open_crew() as (_realm, peer):
        await spawn(peer, "ann")
        far = {"external": {"name": "x", "address": "tcp://10.0.0.1:9"}}
        assert (await refused(peer, "mob/wire", mob_id="crew", member="ann", peer=far)).number == -32020
        assert (await refused(peer, "mob/wire", mob_id="crew", member="ann", peer={"local": "ann"})).number == -32602
        assert (await refused(peer, "mob/wire", mob_id="crew", member="ann", peer={"local": "bob"})).number == -32602
        batch = [{"a": "ann", "b": "bob"}]
        assert (await refused(peer, "mob/wire_members_batch", mob_id="crew", edges=batch)).number == -32602


async def test_a_stopped_mob_is_read_and_takes_nothing_until_it_is_resumed(autojump_clock):
    async with open_crew() as (_realm, peer):
        await spawn(peer, "ann", labels={"a": "b"})
        await peer("mob/lifecycle", mob_id="crew", action="stop")
        assert (await peer("mob/status", mob_id="crew"))["status"] == "Stopped"
        assert [row["agent_identity"] for row in (await peer("mob/members", mob_id="crew"))["members"]] == ["ann"]
        error = await refused(peer, "mob/member_send", mob_id="crew", agent_identity="ann", content="x")
        assert error.code == "SESSION_NOT_RUNNING"
        await peer("mob/lifecycle", mob_id="crew", action="resume")
        (row,) = (await peer("mob/members", mob_id="crew"))["members"]
        assert (row["agent_identity"], row["generation"], row["labels"]) == ("ann", 1, {"a": "b"})
        await peer("mob/member_send", mob_id="crew", agent_identity="ann", content="x")


async def test_a_completed_mob_is_not_resumed_and_a_reset_one_begins_anew(autojump_clock):
    async with open_crew() as (realm, peer):
        await spawn(peer, "ann")
        before = realm.mob("crew").run_id
        await peer("mob/lifecycle", mob_id="crew", action="complete")
        assert (await peer("mob/status", mob_id="crew"))["status"] == "Completed"
        assert (await refused(peer, "mob/lifecycle", mob_id="crew", action="resume")).number == -32602
        await peer("mob/lifecycle", mob_id="crew", action="reset")
        assert (await peer("mob/status", mob_id="crew"))["status"] == "Running"
        assert (await peer("mob/members", mob_id="crew"))["members"] == []
        assert realm.mob("crew").run_id != before
        assert (await spawn(peer, "ann"))["generation"] == 0


async def test_p39_destroying_is_idempotent_and_leaves_nothing(autojump_clock):
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_door() as (realm, methods), open_peer(realm, methods) as peer:
        await trio.sleep(0.01)
        before = trio.lowlevel.current_statistics().tasks_living
        await peer("mob/create", definition=CREW)
        await spawn(peer, "ann")
        await peer("mob/member_send", mob_id="crew", agent_identity="ann", content="be slow")
        await trio.sleep(1)
        answers = []
        async with trio.open_nursery() as nursery:
            for _ in range(3):

                async def destroy():
                    answers.append(await peer("mob/destroy", mob_id="crew"))

                nursery.start_soon(destroy)
        answers.append(await peer("mob/lifecycle", mob_id="crew", action="destroy"))
        assert all(answer["destroy_report"] == answers[0]["destroy_report"] for answer in answers)
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert (await peer("mob/list"))["mobs"] == []
        assert (await peer("mob/status", mob_id="crew"))["status"] == "Destroyed"
        assert (await refused(peer, "mob/members", mob_id="crew")).number == -32602
        assert (await refused(peer, "mob/destroy", mob_id="other")).number == -32602
        await peer("mob/create", definition=CREW)
        assert (await peer("mob/status", mob_id="crew"))["status"] == "Running"
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_a_mob_outlives_the_client_that_made_it(autojump_clock):
    async with open_door() as (realm, methods):
        async with open_peer(realm, methods) as peer:
            await peer("mob/create", definition=CREW)
            await spawn(peer, "ann")
            await peer("mob/member_send", mob_id="crew", agent_identity="ann", content="be slow")
        async with open_peer(realm, methods) as peer:
            await realm.mob("crew").mob.wait_quiet()
            page = (await peer("mob/member_history", mob_id="crew", agent_identity="ann"))["page"]
            assert page["messages"][-1]["blocks"][0]["data"]["text"] == "That took a while."


async def test_a_member_is_spawned_with_keys_of_its_own(autojump_clock):
    async with open_crew() as (realm, peer):
        own = {"override_profile": {"model": "gpt-4.1", "peer_description": "Kind."}, "model_override": "gpt-4.1-mini"}
        await spawn(peer, "ann", additional_instructions=["Be brief.", "Be kind."], **own)
        profile = realm.mob("crew").member("ann").profile
        assert (profile.model, profile.peer_description) == ("gpt-4.1-mini", "Kind.")
        assert profile.instructions == "You welcome people. We open at noon.\n\nBe brief.\n\nBe kind."
        history = await peer("mob/member_history", mob_id="crew", agent_identity="ann")
        assert history["page"]["messages"][0]["content"] == profile.instructions
        await peer("mob/respawn", mob_id="crew", agent_identity="ann")
        assert realm.mob("crew").member("ann").profile == profile


@pytest.mark.parametrize(
    "own",
    [
        {"override_profile": {"modle": "gpt-4.1"}},
        {"override_profile": {"instructions": {"file": "secrets.txt"}}},
        {"override_profile": {"tools": ["nothing"]}},
        {"override_profile": {"instructions": 5}, "additional_instructions": ["x"]},
        {"model_override": "no-such-model"},
    ],
)
async def test_keys_that_cannot_be_are_refused_and_nobody_comes(autojump_clock, own):
    async with open_crew() as (_realm, peer):
        with pytest.raises(RpcFailed) as caught:
            await spawn(peer, "ann", **own)
        assert caught.value.number == -32602
        assert (await peer("mob/members", mob_id="crew"))["members"] == []


async def test_context_is_told_without_a_turn_and_once_under_a_key(autojump_clock):
    async with open_crew() as (realm, peer):
        await spawn(peer, "ann")
        told = {"mob_id": "crew", "agent_identity": "ann", "text": "It rains.", "source": "sky", "idempotency_key": "k"}
        assert (await peer("mob/append_system_context", **told))["status"] == "applied"
        assert (await peer("mob/append_system_context", **told))["status"] == "duplicate"
        page = (await peer("mob/member_history", mob_id="crew", agent_identity="ann"))["page"]
        assert [row.get("transcript_role") for row in page["messages"]] == [None, "injected_context"]
        assert len(realm.mob("crew").member("ann").history()) == 1


async def test_a_members_mob_that_failed_says_why_and_is_resumed(autojump_clock):
    async with open_crew() as (realm, peer):
        await spawn(peer, "ann")
        hosted = realm.mob("crew")

        async def fault():
            await trio.lowlevel.checkpoint()
            raise RuntimeError("a bug")

        hosted.mob._tree.team.nursery.start_soon(fault)
        await trio.sleep(10)
        (row,) = (await peer("mob/list"))["mobs"]
        assert (row["status"], "RuntimeError" in row["failure"]["message"]) == ("Stopped", True)
        await peer("mob/lifecycle", mob_id="crew", action="resume")
        assert (await peer("mob/status", mob_id="crew"))["status"] == "Running"
        assert [row["agent_identity"] for row in (await peer("mob/members", mob_id="crew"))["members"]] == ["ann"]


async def test_a_team_that_nobody_started_is_started_by_whoever_speaks_to_it(autojump_clock):
    async with open_door() as (realm, methods), open_peer(realm, methods) as peer:
        realm.add_mob(definition_of({**CREW, "members": {"ann": {"profile": "host"}}}))
        (row,) = (await peer("mob/members", mob_id="crew"))["members"]
        assert (row["agent_identity"], row["state"]) == ("ann", "stopped")
        answer = await peer("mob/turn_start", mob_id="crew", agent_identity="ann", prompt="Hello")
        assert answer["text"] == "Welcome!"


async def test_nothing_that_was_kept_of_a_member_outlives_a_reset(autojump_clock):
    async with open_crew() as (realm, peer):
        told = {"mob_id": "crew", "agent_identity": "ann", "idempotency_key": "1"}
        sent = {**told, "handling_mode": "queue"}
        for text in ("We close at nine.", "We close at ten."):  # the same key for another text, each time
            await spawn(peer, "ann")
            assert (await peer("mob/append_system_context", **told, text=text))["status"] == "applied"
            assert (await peer("mob/append_system_context", **told, text=text))["status"] == "duplicate"
            await peer("mob/member_send", **sent, content=text)
            await peer("mob/lifecycle", mob_id="crew", action="complete")
            await peer("mob/lifecycle", mob_id="crew", action="reset")
        assert not realm.kept_of(realm.mob("crew"))["rpc mobs"].get("completed")


@pytest.mark.parametrize("method", ["mob/retire", "team/retire"])
async def test_no_key_of_a_member_outlives_its_retirement(autojump_clock, method):
    async with open_crew() as (realm, peer):
        told = {"mob_id": "crew", "agent_identity": "ann", "idempotency_key": "1"}
        for text in ("We close at nine.", "We close at ten."):  # the same key for another text
            await spawn(peer, "ann")
            assert (await peer("mob/append_system_context", **told, text=text))["status"] == "applied"
            await peer(method, mob_id="crew", agent_identity="ann", member="ann")
        await spawn(peer, "ann")
        assert [turn.items[0].text for turn in realm.mob("crew").member("ann").history()] == [
            "We close at nine.",
            "We close at ten.",
        ]


@pytest.mark.parametrize(
    "damaged",
    [
        {"members": 5},
        {"members": {"ann": ["only labels"]}},
        {"members": {"ann": {"labels": {"a": 5}}}},
        {"members": {"ann": {"runtime_mode": "asleep"}}},
        {"completed": "perhaps"},
    ],
    ids=str,
)
async def test_law_26_a_damaged_record_of_a_mob_is_told_of_once_and_left_out(autojump_clock, caplog, damaged):
    async with open_door() as (realm, methods), open_peer(realm, methods) as peer:
        hosted = realm.add_mob(definition_of(CREW), document=CREW)
        await realm.keep(hosted, **{"rpc mobs": damaged})
        for _ in range(2):
            assert (await peer("mob/list"))["mobs"] == [{"mob_id": "crew", "status": "Stopped"}]
        await spawn(peer, "ann", labels={"team": "a"})
    (record,) = [each for each in caplog.records if "damaged" in each.getMessage()]
    assert "crew" in record.getMessage()
    assert MobFacts.read(realm.kept_of(hosted)["rpc mobs"]).members["ann"].labels == {"team": "a"}
