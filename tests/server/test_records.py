"""What a realm keeps beside its log: found by the next server, whole after a crash, refused when it is not ours."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from attrs import evolve

import mob
from mob.errors import ConfigConflict, MobError, MobUnknown, RunUnknown, StoreCorrupt, StoreError, UsageError
from mob.server.realm.realm import AGENT, RealmSettings, open_realm
from mob.server.realm.records import MobRecord, find_realm
from mob.server.realm.standalone import SessionSpec, check_spec, spec_of
from mob.store.memory import MemoryStore

DEFINITIONS = Path(__file__).resolve().parents[2] / "definitions"
SETTINGS = RealmSettings("test", rehearse=True, seed=1)
SPEC = SessionSpec("gpt-4.1-mini", instructions="You know the time. It is noon.", max_tokens=100, name="clock")


def open_named(root, **options):
    return open_realm(SETTINGS, files=find_realm("house", root=root, **options))


async def add_session(realm, **kept):
    ref = realm.add_session(SPEC.definition, document=SPEC.as_json(), labels={"desk": "front"})
    await realm.keep(ref.hosted, **kept)
    return ref


async def test_the_next_server_has_the_sessions_and_goes_on_with_them(autojump_clock, tmp_path):
    async with open_named(tmp_path) as realm:
        first, idle = await add_session(realm), await add_session(realm, staged={"prompt": "Hello"})
        gone = await add_session(realm)
        await first.hosted.start()
        await first.member.ask("What time is it?")
        before = await realm.history(first)
        await realm.end_mob(gone.hosted)
    async with open_named(tmp_path) as realm:
        assert [ref.session_id for ref in realm.sessions()] == [first.session_id, idle.session_id]
        again, still_idle = realm.sessions()
        assert await realm.history(again) == before
        assert (again.hosted.began, still_idle.hosted.began) == (True, False)
        assert again.hosted.labels == {"desk": "front"}
        assert again.hosted.created_at == first.hosted.created_at
        assert spec_of(again.hosted.document) == SPEC
        assert realm.kept_of(still_idle.hosted) == {"staged": {"prompt": "Hello"}}
        await again.hosted.start()
        await again.member.ask("And now?")
        assert len(await realm.history(again)) == 2
        assert again.member.generation == 2


async def test_a_team_goes_on_with_its_run(autojump_clock, tmp_path):
    team = mob.load(DEFINITIONS / "front-desk.toml")
    runs = []
    for number in range(2):
        async with open_named(tmp_path) as realm:
            assert realm.mobs == ()
            hosted = await realm.add_team(team)
            await hosted.start()
            await hosted.member("menu").ask("What is in the risotto?")
            runs.append(hosted.run_id)
            assert len(hosted.member("menu").history()) == number + 1
    assert runs[0] == runs[1]
    async with open_named(tmp_path) as realm:
        await realm.end_mob(await realm.add_team(team))
        with pytest.raises(MobUnknown):
            realm.mob(team.id)
    async with open_named(tmp_path) as realm:
        assert (await realm.add_team(team)).run_id != runs[0]


async def test_a_team_begins_anew_or_goes_on_with_the_run_that_was_chosen(autojump_clock, tmp_path):
    team = mob.load(DEFINITIONS / "front-desk.toml")
    runs = []
    for _ in range(2):
        async with open_named(tmp_path) as realm:
            hosted = await realm.add_team(team, anew=True)
            assert realm.kept_of(hosted) == {}  # what doors kept is about the run that was
            await hosted.start()
            await hosted.member("menu").ask("What is in the risotto?")
            assert len(hosted.member("menu").history()) == 1
            await realm.keep(hosted, facts={"completed": True})
            runs.append(hosted.run_id)
    assert runs[0] != runs[1]
    async with open_named(tmp_path) as realm:
        with pytest.raises(RunUnknown, match="run_none"):
            await realm.add_team(team, run_id="run_none")
        assert realm.mobs == ()
        hosted = await realm.add_team(team, run_id=runs[0])
        await hosted.start()
        assert hosted.run_id == runs[0]
        assert len(hosted.member("menu").history()) == 1
    async with open_named(tmp_path) as realm:
        assert (await realm.add_team(team)).run_id == runs[0]


async def test_the_configuration_outlives_the_server(autojump_clock, tmp_path):
    async with open_named(tmp_path) as realm:
        await realm.config.patch({"default_model": "gpt-realtime-2"}, expected=0)
    async with open_named(tmp_path) as realm:
        assert (realm.config.default_model, realm.config.generation) == ("gpt-realtime-2", 1)


async def test_a_realm_has_the_store_that_it_was_made_with(autojump_clock, tmp_path):
    assert not isinstance(find_realm("house", root=tmp_path).store(), MemoryStore)
    assert find_realm("house", root=tmp_path, backend="sqlite").backend == "sqlite"
    with pytest.raises(UsageError, match="backend sqlite"):
        find_realm("house", root=tmp_path, backend="memory")
    assert isinstance(find_realm("tent", root=tmp_path, backend="memory").store(), MemoryStore)
    with pytest.raises(UsageError, match="backend memory"):
        find_realm("tent", root=tmp_path, backend="sqlite")
    async with open_realm(SETTINGS, files=find_realm("tent", root=tmp_path)) as realm:
        await add_session(realm)
    assert find_realm("tent", root=tmp_path).records == {}  # their log is gone, and so are they
    with pytest.raises(UsageError, match="no realm backend"):
        find_realm("x", root=tmp_path, backend="jsonl")
    with pytest.raises(UsageError, match="--realm"):
        find_realm(None, root=tmp_path, backend="sqlite")


async def test_a_realm_without_a_name_leaves_nothing(autojump_clock, tmp_path):
    files = find_realm(None, root=tmp_path)
    async with open_realm(SETTINGS, files=files) as realm:
        await add_session(realm)
        await realm.config.patch({"a": 1}, expected=None)
    assert list(tmp_path.iterdir()) == []
    assert find_realm(None, root=tmp_path).name != files.name


async def test_two_servers_of_a_realm_take_nothing_from_each_other(autojump_clock, tmp_path):
    async with open_named(tmp_path) as one, open_named(tmp_path) as two:
        kept = [await add_session(realm) for realm in (one, two, one, two)]
        gone = await add_session(one)
        await two.keep(kept[1].hosted, staged={"prompt": "Hello"})
        await one.end_mob(gone.hosted)
        await one.config.patch({"default_model": "gpt-realtime-2"}, expected=0)
        for expected in (0, 0, None):
            with pytest.raises(ConfigConflict) as refused:
                await two.config.patch({"default_model": "gpt-4.1"}, expected=expected)
            assert refused.value.generation == two.config.generation
            await one.config.patch({"default_model": "gpt-realtime-2"}, expected=one.config.generation)
        with pytest.raises(ConfigConflict):
            await two.config.patch({"default_model": "gpt-4.1"}, expected=two.config.generation)
        await two.config.patch({"default_model": "gpt-4.1"}, expected=two.config.generation)
    async with open_named(tmp_path) as realm:
        assert {ref.session_id for ref in realm.sessions()} == {ref.session_id for ref in kept}
        assert realm.kept_of(realm.session(kept[1].session_id).hosted) == {"staged": {"prompt": "Hello"}}
        assert (realm.config.default_model, realm.config.generation) == ("gpt-4.1", 5)


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "a/b", "a\\b", "ü", "a b", "x" * 101, "a\0b"])
def test_a_name_that_is_no_directory_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="cannot name a realm"):
        find_realm(name, root=tmp_path)


@pytest.mark.parametrize("file", ["realm.json", "config.json"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": 2}',
        '{"format": 1, "records": [{}], "backend": "sqlite", "generation": "x", "config": {}}',
        '{"format": 1, "records": [7], "backend": "sqlite", "generation": 1, "config": []}',
        '{"format": 1, "records": 7, "backend": "sqlite", "generation": -1, "config": {}}',
        '{"format": 1, "backend": "jsonl", "generation": 1, "config": {"agent": 7}}',
        "[" * 100_000,
        "\x00\xff",
    ],
)
def test_law_26_files_that_are_not_ours_are_named(tmp_path, file, text):
    find_realm("house", root=tmp_path)
    path = tmp_path / "realms" / "house" / file
    path.write_text(text, encoding="latin-1")
    with pytest.raises(StoreError) as refused:
        find_realm("house", root=tmp_path)
    assert isinstance(refused.value, StoreCorrupt)
    assert str(path) in refused.value.message
    assert path.read_text(encoding="latin-1") == text


async def test_a_write_that_is_cut_short_leaves_what_was_there(autojump_clock, tmp_path, monkeypatch):
    async with open_named(tmp_path) as realm:
        kept = await add_session(realm)

        def cut(descriptor):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", cut)
            with pytest.raises(StoreError, match="No space left"):
                await add_session(realm)
    found = find_realm("house", root=tmp_path)
    assert list(found.records) == [kept.hosted.mob_id]
    for path in (tmp_path / "realms" / "house").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


async def test_a_record_of_which_nothing_can_be_made_hinders_no_other(autojump_clock, tmp_path, caplog):
    async with open_named(tmp_path) as realm:
        ref = await add_session(realm)
    path = tmp_path / "realms" / "house" / "realm.json"
    body = json.loads(path.read_text())
    lost = {**body["records"][0], "mob_id": "lost", "run_id": "lost", "document": {"model": "gpt-9"}}
    body["records"].insert(0, lost)
    path.write_text(json.dumps(body))
    async with open_named(tmp_path) as realm:
        assert [each.session_id for each in realm.sessions()] == [ref.session_id]
        assert "lost is kept in this realm and cannot be made again" in caplog.text
        await add_session(realm)
    assert "lost" in find_realm("house", root=tmp_path).records  # a later mob may know its model


def test_a_session_is_what_it_is_kept_as():
    assert spec_of(SPEC.as_json()) == SPEC
    assert spec_of(json.loads(json.dumps(evolve(SPEC, params={"a": [1]}).as_json()))).params == {"a": [1]}
    for document in (
        {},
        {"model": 3},
        {"model": "gpt-4.1", "max_tokens": "x"},
        {"model": "gpt-9"},
        {"provider": "openai"},
    ):
        with pytest.raises(MobError):
            spec_of(document)
    check_spec(SessionSpec("anything", provider="openai"))
    profile = SPEC.definition.profiles[AGENT]
    assert profile.params == {"max_completion_tokens": 100}
    assert evolve(SPEC, model="gpt-realtime-2").profile.params == {"max_output_tokens": 100}
    assert MobRecord("m", "r", 1.0).document is None
