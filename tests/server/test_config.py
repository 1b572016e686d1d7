"""A realm's configuration: layers, patches, generations, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from mob.errors import ConfigConflict, RequestInvalid, StoreError, UsageError
from mob.server.realm.config import BUILT_IN_MODEL, Layer, RealmConfig, merged, patched, read_layers

LEAF = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4), st.lists(st.integers(), max_size=2))
KEYS = st.sampled_from(["a", "b", "c"])
DOCUMENTS = st.recursive(st.dictionaries(KEYS, LEAF, max_size=3), lambda inner: st.dictionaries(KEYS, inner | LEAF))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_project_stands_over_the_user_and_either_spelling_is_read(tmp_path):
    home, project = tmp_path / "home", tmp_path / "project"
    assert RealmConfig(read_layers(project, home)).default_model == BUILT_IN_MODEL
    write(home / ".mob/config.toml", 'default_model = "gpt-realtime-2"\n[agent]\nmax_tokens = 100\n')
    config = RealmConfig(read_layers(project, home))
    assert (config.default_model, config.setting("max_tokens", int)) == ("gpt-realtime-2", 100)
    write(project / ".mob/config.toml", '[agent]\nmodel = "gpt-4.1"\n[desk]\nopen = 12:00:00\n')
    config = RealmConfig(read_layers(project, home), head={"agent": {"provider": "openai"}})
    assert config.composed == {
        "agent": {"model": "gpt-4.1", "max_tokens": 100, "provider": "openai"},
        "desk": {"open": "12:00:00"},
    }
    assert len(read_layers(home, home)) == 1  # the same file is one layer


@pytest.mark.parametrize(
    "text", ["default_model = 3", "[agent]\nmodel = true", "agent = 1", "= no", "x = nan", "x = [" * 2000]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, text):
    write(tmp_path / ".mob/config.toml", text)
    with pytest.raises(UsageError, match=r"config\.toml"):
        read_layers(tmp_path, tmp_path)


async def test_a_change_is_refused_when_somebody_was_faster():
    saved = []

    async def save(before, head, generation):
        saved.append((head, generation))

    config = RealmConfig((Layer("user", {"default_model": "gpt-realtime-2", "desk": {"a": 1}}),), save=save)
    await config.patch({"agent": {"model": "gpt-4.1"}}, expected=0)
    with pytest.raises(ConfigConflict) as refused:
        await config.patch({"agent": {"model": "gpt-5.5"}}, expected=0)
    assert refused.value.generation == 1
    assert config.default_model == "gpt-4.1"
    await config.patch({"agent": {"model": None}}, expected=None)
    assert config.default_model == "gpt-realtime-2"  # what was inherited is seen again
    whole = config.composed
    whole["desk"]["b"] = 2
    await config.replace(whole, expected=2)
    assert config.head == {"desk": {"b": 2}}  # nothing that was inherited is nailed down
    assert saved[-1] == ({"desk": {"b": 2}}, 3)


async def test_a_change_that_cannot_be_kept_is_not_in_force():
    async def save(before, head, generation):
        raise StoreError("the disk is full")

    config = RealmConfig(save=save)
    with pytest.raises(StoreError):
        await config.patch({"default_model": "gpt-4.1"}, expected=None)
    assert (config.default_model, config.generation) == (BUILT_IN_MODEL, 0)


async def test_what_is_no_configuration_is_refused():
    deep = inner = {}
    for _ in range(100):
        inner["a"] = inner = {}
    config = RealmConfig()
    for head in (deep, {"agent": 3}, {"agent": {"model": 3}}, {"agent": {"max_tokens": True}}, {"x": "y" * 2**21}):
        with pytest.raises(RequestInvalid):
            await config.replace(head, expected=None)
        with pytest.raises(RequestInvalid):
            await config.patch(head, expected=None)
    assert config.generation == 0


@given(target=DOCUMENTS, patch=DOCUMENTS)
def test_a_merge_patch_is_that_of_rfc_7396(target, patch):
    def reference(target, patch):  # the standard's own pseudocode
        if not isinstance(patch, dict):
            return patch
        target = dict(target) if isinstance(target, dict) else {}
        for name, value in patch.items():
            if value is None:
                target.pop(name, None)
            else:
                target[name] = reference(target.get(name), value)
        return target

    before = json.dumps(target)
    assert patched(target, patch) == reference(target, patch)
    assert json.dumps(target) == before


@given(under=DOCUMENTS, over=DOCUMENTS)
async def test_writing_back_what_was_read_changes_nothing(under, over):
    config = RealmConfig((Layer("user", under),), head=over)
    whole = config.composed
    await config.replace(whole, expected=None)
    assert config.composed == whole == merged(merged({"agent": {"model": BUILT_IN_MODEL}}, under), over)
