"""The gatekeeper: secrets, origins, hosts, and which addresses may be served without one."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from mob.errors import Unauthorized, UsageError
from mob.server.front.auth import Gatekeeper, bearer_of, check_exposure, is_loopback, read_secret

SECRET = "0123456789abcdef-a-secret"
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=40)


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({}, None),
        ({"authorization": "Bearer x"}, "x"),
        ({"authorization": "bearer  x "}, "x"),
        ({"authorization": "Basic x"}, None),
        ({"authorization": "Bearer "}, None),
        ({"sec-websocket-protocol": "realtime, openai-insecure-api-key.x"}, "x"),
        ({"sec-websocket-protocol": "realtime"}, None),
        ({"authorization": "Bearer y", "sec-websocket-protocol": "openai-insecure-api-key.x"}, "y"),
    ],
)
def test_what_a_client_shows(headers, shown):
    assert bearer_of(headers) == shown


def test_who_has_not_the_secret_is_refused_and_not_told_it():
    keeper = Gatekeeper(SECRET)
    keeper.check({"authorization": f"Bearer {SECRET}"})
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {SECRET}x"}):
        with pytest.raises(Unauthorized) as refused:
            keeper.check(headers)
        assert SECRET not in refused.value.message
    assert SECRET not in repr(keeper)


@given(PRINTABLE)
def test_law_26_nothing_but_the_secret_is_the_secret(shown):
    assert Gatekeeper(SECRET).knows(shown) == (shown == SECRET)
    assert not Gatekeeper(SECRET).knows(None)
    assert Gatekeeper().knows(shown)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:3000", True),
        ("http://127.0.0.1", True),
        ("https://[::1]:8443", True),
        ("http://app.localhost", True),
        ("https://desk.example", True),
        ("HTTPS://DESK.EXAMPLE", True),
        ("https://desk.example:444", False),
        ("http://desk.example", False),
        ("https://evil.example", False),
        ("http://localhost.evil.example", False),
        ("http://127.0.0.1.evil.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
        ("file://", False),
    ],
)
def test_which_pages_may_talk_to_us(origin, allowed):
    keeper = Gatekeeper(origins=("https://desk.example/",))
    assert keeper.allows(origin) is allowed
    if not allowed:
        with pytest.raises(Unauthorized, match="allow-origin"):
            keeper.check_origin({"host": "localhost", "origin": origin})
    assert Gatekeeper(origins=("*",)).allows(origin)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost:8080", True),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("192.168.1.7", True),
        ("desk.local", True),
        ("DESK.local:80", True),
        ("rebound.example", False),
        ("localhost.rebound.example:80", False),
        ("", False),
        ("[", False),
    ],
)
def test_names_that_are_not_ours_are_not_answered_to(host, allowed):
    """A page can point a name of its own at 127.0.0.1; a server with a secret need not mind."""
    keeper = Gatekeeper(hosts=("desk.local",))
    if allowed:
        keeper.check_origin({"host": host})
    else:
        with pytest.raises(Unauthorized, match="allow-host"):
            keeper.check_origin({"host": host})
    Gatekeeper(SECRET).check_origin({"host": host})


@given(PRINTABLE, PRINTABLE)
def test_law_26_headers_are_allowed_or_refused_and_nothing_else(host, origin):
    with suppress(Unauthorized):
        Gatekeeper().check_origin({"host": host, "origin": origin})


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "x.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_this_machine_itself(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.0.0.1.example"])
def test_other_machines(host):
    assert not is_loopback(host)


def test_the_secret_is_read_from_a_file_or_the_environment(tmp_path):
    file = tmp_path / "secret"
    file.write_text(f"  {SECRET}  \nanother line\n")
    assert read_secret(file, {"MOB_SERVER_SECRET": "not this one, it has spaces"}) == SECRET
    assert read_secret(None, {"MOB_SERVER_SECRET": SECRET}) == SECRET
    assert read_secret(None, {}) is None
    assert read_secret(None, {"MOB_SERVER_SECRET": " "}) is None


@pytest.mark.parametrize("bad", ["", "short", "with spaces in the middle", "mit-umläuten-und-lang-genug", "a" * 15])
def test_a_secret_that_protects_nothing_is_refused(tmp_path, bad):
    file = tmp_path / "secret"
    file.write_text(bad + "\n", encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        read_secret(file, {})
    assert not bad or bad not in refused.value.message.replace("secret", "")


def test_a_secret_that_looks_like_a_client_secret_is_refused():
    """The gateway would look for it among those that it made, and let nobody in."""
    with pytest.raises(UsageError, match="begins with 'ek_'") as refused:
        read_secret(None, {"MOB_SERVER_SECRET": f"ek_{SECRET}"})
    assert SECRET not in refused.value.message


def test_a_secret_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(UsageError, match="nowhere: No such file"):
        read_secret(tmp_path / "nowhere", {})
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no UTF-8 text"):
        read_secret(binary, {})


def test_open_addresses_want_a_secret_and_warn_without_tls():
    assert check_exposure(["127.0.0.1", "localhost", "::1"], None, tls=False) == []
    with pytest.raises(UsageError, match=r"0\.0\.0\.0"):
        check_exposure(["127.0.0.1", "0.0.0.0"], None, tls=True)
    assert check_exposure(["0.0.0.0"], SECRET, tls=True) == []
    (warning,) = check_exposure(["0.0.0.0"], SECRET, tls=False)
    assert "TLS" in warning
    assert SECRET not in warning
