"""Both drivers, both peers, every link: one suite."""

from functools import partial

import pytest
from transport_conformance import CHECKS, MIB, STALLING, check_large_messages_pass
from transport_peers import DRIVERS, LINKS, PEERS, conversation

PLACES = [(driver, link, peer) for driver in DRIVERS for link in LINKS for peer in PEERS]


@pytest.mark.parametrize("place", PLACES, ids="-".join)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
async def test_transport(check, place):
    await check(partial(conversation, *place))


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("size", [MIB + 4, 16 * MIB])
async def test_large_messages_pass(link, peer, size):
    await check_large_messages_pass(partial(conversation, "ours", link, peer), size)


@pytest.mark.parametrize("link", ["socket", "tls"])
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("check", STALLING, ids=lambda check: check.__name__.removeprefix("check_"))
async def test_a_peer_that_does_not_read(check, driver, link):
    await check(partial(conversation, driver, link, "websockets"))
