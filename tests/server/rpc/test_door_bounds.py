"""What clients of the JSON-RPC door can make the server keep: under a key, of what they ask, of what they are told."""

from __future__ import annotations

import base64
import gc
import sys

from hypothesis import given, strategies as st
from mob_peer import open_crew, spawn
from rpc_peer import join, open_server

from mob.server.rpc.content import Content
from mob.values import Image

PNG = b"\x89PNG\r\n\x1a\n"
PICTURES = st.builds(Image, st.sampled_from(["image/png", "image/jpeg"]), st.binary(max_size=3))
CONTENTS = st.builds(Content, st.text(max_size=3), st.lists(PICTURES, max_size=2).map(tuple))


def size_of(whole):
    """The bytes of data that can be reached from an object: text, bytes and what holds them, not classes or code."""
    found, line = {}, [whole]
    while line:
        each = line.pop()
        if id(each) in found or isinstance(each, type) or callable(each):
            continue
        found[id(each)] = sys.getsizeof(each)
        line += gc.get_referents(each)
    return sum(found.values())


@given(one=CONTENTS, other=CONTENTS)
def test_two_messages_have_the_same_digest_exactly_when_they_are_the_same(one, other):
    assert (one.digest() == other.digest()) == (one == other)


async def test_a_key_keeps_no_message(autojump_clock):
    async with open_crew() as (realm, peer):
        await spawn(peer, "ann")
        to = {"mob_id": "crew", "agent_identity": "ann"}
        picture = base64.b64encode(PNG + bytes(100_000)).decode()
        said = [
            {"type": "text", "text": "x" * 100_000},
            {"type": "image", "source": "inline", "media_type": "image/png", "data": picture},
        ]
        await peer("mob/member_send", content=said, idempotency_key="k", **to)
        await peer("mob/append_system_context", text="y" * 100_000, idempotency_key="k", **to)
        kept = realm.mob("crew").kept
        deliveries = kept["rpc mobs"].member("ann").deliveries
        injected = kept["rpc injected ann"].keys
        assert (len(deliveries), len(injected)) == (1, 1)
        assert size_of(deliveries) < 8192
        assert size_of(injected) < 8192


async def test_a_key_tells_a_long_text_from_another(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        made = await peer("session/create", prompt="", model="gpt-4.1-mini")
        for text, status in (("z" * 100_000, "applied"), ("z" * 100_000, "duplicate")):
            content = {"type": "text", "text": text}
            told = {"session_id": made["session_id"], "content": content, "idempotency_key": "k"}
            assert await peer("session/inject_context", **told) == {"status": status}
