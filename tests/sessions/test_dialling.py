"""Where members are dialled: keys from the environment only, and never shown."""

import pytest
import trio

from mob.definition.catalogue import capabilities_for
from mob.definition.model import Member, MobDefinition, Profile, ProviderSpec
from mob.errors import CredentialMissing, UsageError
from mob.sessions.dialling import VendorDialler


class NamedNetwork:
    def __init__(self, name):
        self.name = name
        self.dialled = []

    async def connect(self, host, port):
        await trio.lowlevel.checkpoint()
        self.dialled.append((host, port))
        return self.name


def team(profile, *providers):
    return MobDefinition(
        "team", {"host": profile}, {"host": Member("host", "host")}, providers={each.name: each for each in providers}
    )


HOST = Profile("host", "gpt-realtime-2")


async def dial(definition, environ, *, profile=HOST):
    dialler = VendorDialler(definition, environ=environ, network=NamedNetwork("tcp"))
    return await dialler.endpoint("host", profile, capabilities_for(profile, definition))


async def test_the_key_comes_from_the_environment_and_is_in_no_repr():
    endpoint = await dial(team(HOST), {"OPENAI_API_KEY": "sk-secret\n"})
    assert endpoint.base_url == "https://api.openai.com/v1"
    assert endpoint.api_key == "sk-secret"
    assert "sk-secret" not in repr(endpoint)


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": ""}, {"OPENAI_API_KEY": "  "}])
async def test_a_missing_key_names_its_variable(environ):
    with pytest.raises(CredentialMissing, match="OPENAI_API_KEY") as refusal:
        await dial(team(HOST), environ)
    assert refusal.value.variable == "OPENAI_API_KEY"


async def test_an_address_set_in_the_team_file_is_dialled_without_a_key():
    own = ProviderSpec("openai", base_url="http://127.0.0.1:9/v1", headers={"x-team": "1"})
    endpoint = await dial(team(HOST, own), {})
    assert (endpoint.base_url, endpoint.api_key, endpoint.headers) == ("http://127.0.0.1:9/v1", None, {"x-team": "1"})


async def test_another_variable_and_a_provider_that_needs_none():
    own = ProviderSpec("openai", api_key_env="TEAM_KEY")
    assert (await dial(team(HOST, own), {"TEAM_KEY": "k"})).api_key == "k"
    with pytest.raises(CredentialMissing, match="TEAM_KEY"):
        await dial(team(HOST, own), {"OPENAI_API_KEY": "other"})
    local = Profile("host", "llama3", provider="ollama")
    assert (await dial(team(local), {}, profile=local)).api_key is None


async def test_a_key_with_a_line_break_inside_is_refused_without_showing_it():
    with pytest.raises(UsageError, match="OPENAI_API_KEY") as refusal:
        await dial(team(HOST), {"OPENAI_API_KEY": "sk\r\nx-evil: 1"})
    assert "evil" not in str(refusal.value)


async def test_a_provider_without_an_address_is_refused():
    bare = ProviderSpec("mine", wire="openai-chat")
    profile = Profile("host", "m", provider="mine")
    with pytest.raises(UsageError, match=r"base_url in \[providers.mine\]"):
        await dial(team(profile, bare), {}, profile=profile)
