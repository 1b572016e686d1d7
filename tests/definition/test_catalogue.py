"""The shipped catalogue is whole, and lookups never guess."""

from __future__ import annotations

import datetime as dt

import pytest
from team_files import SMALL, good

from mob.definition.catalogue import capabilities_for, catalogue, lookup, provider_of, providers
from mob.definition.keys_models import BUILT_WIRES, REALTIME_WIRES, WIRES
from mob.errors import UsageError


def test_every_model_is_served_by_a_shipped_provider_over_a_wire_that_it_speaks():
    for model in catalogue().values():
        assert model.wire in WIRES
        assert model.wire in providers()[model.provider].wires, model.id
        assert model.realtime == (model.wire in REALTIME_WIRES), model.id


def test_live_models_say_what_a_channel_needs():
    for model in catalogue().values():
        if model.realtime:
            assert model.input_rate, model.id
            assert model.output_rate, model.id
            assert model.turn_modes, model.id
            assert "audio" in model.input_modalities, model.id
        else:
            assert not model.voices, model.id
        if model.can_truncate:
            assert model.can_interrupt, model.id


def test_openai_live_models_have_the_vendors_limits():
    live = [model for model in catalogue().values() if model.wire == "openai-realtime"]
    assert {model.id for model in live} == {
        "gpt-realtime-2.1",
        "gpt-realtime-2.1-mini",
        "gpt-realtime-2",
        "gpt-realtime-1.5",
        "gpt-realtime",
        "gpt-realtime-mini",
    }
    for model in live:
        assert (model.input_rate, model.output_rate, model.max_session_s) == (24000, 24000, 3600)
        assert model.turn_modes == ("server_vad", "semantic_vad", "manual")
        assert model.can_interrupt
        assert model.can_truncate
        assert model.can_seed
        assert model.transcription_model


def test_prices_have_a_real_date_and_both_directions():
    for model in catalogue().values():
        if model.price is not None:
            dt.date.fromisoformat(model.price.as_of)
            assert model.price.input_text is not None, model.id
            assert model.price.output_text is not None, model.id
            if model.realtime:
                assert model.price.input_audio is not None, model.id
                assert model.price.output_audio is not None, model.id


def test_lookup_is_by_exact_id_and_teaches():
    assert lookup("gpt-realtime-2").wire == "openai-realtime"
    with pytest.raises(UsageError, match=r"did you mean 'gpt-realtime-2'"):
        lookup("gpt-realtime-2x")
    with pytest.raises(UsageError, match="mob models"):
        lookup("gpt-realtime-2-2026-01-01-preview-of-something")


def test_a_teams_own_model_comes_first_and_lies_over_the_shipped_one():
    team = good(SMALL + '[models.gpt-realtime-2]\nvoices = ["mine"]\n')
    assert lookup("gpt-realtime-2", team).voices == ("mine",)
    assert lookup("gpt-realtime-2", team).input_rate == 24000
    assert lookup("gpt-realtime-2").voices != ("mine",)


def test_a_model_that_nobody_knows_is_taken_for_the_least():
    team = good('[mob]\nid = "x"\n[profiles.a]\nmodel = "llama"\nprovider = "ollama"\n')
    model = capabilities_for(team.profiles["a"], team)
    assert (model.id, model.provider, model.wire, model.realtime) == ("llama", "ollama", "openai-chat", False)
    assert model.input_modalities == model.output_modalities == ("text",)
    assert model.price is None


def test_another_provider_on_the_same_wire_keeps_the_facts_and_not_the_price():
    team = good(SMALL + 'provider = "mesh"\n')
    model = capabilities_for(team.profiles["host"], team)
    assert (model.provider, model.realtime, model.price) == ("mesh", True, None)


def test_another_provider_on_another_wire_is_a_text_model():
    team = good(SMALL + 'provider = "ollama"\n')
    assert not capabilities_for(team.profiles["host"], team).realtime


def test_providers_of_a_team():
    team = good(
        SMALL
        + '[providers.openai]\nbase_url = "http://127.0.0.1:1/v1"\n'
        + '[providers.mine]\nwire = "openai-chat"\nbase_url = "https://x/v1"\napi_key_env = "MINE"\n'
        + 'headers = { A = "b" }\n'
    )
    assert provider_of("openai", team).base_url == "http://127.0.0.1:1/v1"
    assert provider_of("openai", team).api_key_env == "OPENAI_API_KEY"
    mine = provider_of("mine", team)
    assert (mine.wires, mine.key_required, mine.headers) == (("openai-chat",), True, {"A": "b"})
    assert not provider_of("ollama", team).key_required
    with pytest.raises(UsageError, match=r"did you mean 'ollama'"):
        provider_of("olama", team)


def test_the_wires_that_are_built_are_known():
    assert set(WIRES) >= BUILT_WIRES
