"""A member whose credential is missing is rehearsed; the others are dialled."""

import trio

from mob.definition.catalogue import capabilities_for
from mob.definition.model import Member, MobDefinition, Profile
from mob.live.network import Endpoint
from mob.sessions.dialling import VendorDialler
from mob.team.dialler import FallbackDialler

HOST = Profile("host", "gpt-realtime-2")
TEAM = MobDefinition("team", {"host": HOST}, {"host": Member("host", "host")})


class NamedNetwork:
    def __init__(self, name):
        self.name = name
        self.dialled = []

    async def connect(self, host, port):
        await trio.lowlevel.checkpoint()
        self.dialled.append((host, port))
        return self.name


class Rehearsed:
    network = NamedNetwork("memory")

    async def endpoint(self, identity, profile, model):
        await trio.lowlevel.checkpoint()
        return Endpoint(base_url=f"http://127.0.0.1:81/{identity}/v1", rehearsed=True)


async def test_without_a_credential_the_member_is_rehearsed_and_only_it():
    environ = {}
    dialler = FallbackDialler(VendorDialler(TEAM, environ=environ, network=NamedNetwork("tcp")), Rehearsed())
    model = capabilities_for(HOST, TEAM)
    endpoint = await dialler.endpoint("host", HOST, model)
    assert endpoint.rehearsed
    assert dialler.rehearsed == {"host": "OPENAI_API_KEY is not set"}
    assert await dialler.network.connect("127.0.0.1", 81) == "memory"
    assert await dialler.network.connect("api.openai.com", 443) == "tcp"
    environ["OPENAI_API_KEY"] = "k"
    assert not (await dialler.endpoint("host", HOST, model)).rehearsed
    assert dialler.rehearsed == {}
