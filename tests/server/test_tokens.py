"""Law 25: a token is used at most once, before it expires, for its channel and its purpose only."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from mob.errors import DoorFull, TokenRefused
from mob.server.channels.tokens import TokenBook

STEPS = st.one_of(
    st.tuples(st.just("mint"), st.sampled_from("ab"), st.sampled_from(["live", "resume"]), st.sampled_from([5, 60])),
    st.tuples(st.just("admit"), st.integers(0, 9), st.sampled_from([None, None, "a", "b", "live", "resume"])),
    st.tuples(st.just("wait"), st.sampled_from([1, 4, 30, 100])),
    st.tuples(st.just("revoke"), st.sampled_from("ab"), st.sampled_from(["live", "resume"])),
    st.tuples(st.just("limit"), st.sampled_from("ab"), st.sampled_from(["live", "resume"]), st.sampled_from([0, 2])),
)


def check_law_25(steps, book):
    """Against a list of what was minted: let in exactly when it should be, refused for the true reason."""
    now, minted = 0.0, []
    for step in steps:
        match step:
            case ("mint", channel, purpose, ttl):
                token = book.mint(channel, purpose, now=now, ttl_s=ttl, payload=len(minted))
                minted.append({"token": token, "channel": channel, "purpose": purpose, "until": now + ttl, "bad": None})
            case ("admit", index, odd) if minted:
                _admit(book, minted, index % len(minted), odd, now)
            case ("wait", seconds):
                now += seconds
            case ("revoke", channel, purpose):
                book.revoke(channel, purpose, now=now)
                for token in minted:
                    if (token["channel"], token["purpose"]) == (channel, purpose) and token["bad"] is None:
                        token["bad"] = "channel_not_bound"
            case ("limit", channel, purpose, more):
                book.limit(channel, purpose, until=now + more)
                for token in minted:
                    if (token["channel"], token["purpose"]) == (channel, purpose):
                        token["until"] = min(token["until"], now + more)


def _admit(book, minted, index, odd, now):
    """Show a token at its own door, or at one that is odd in one respect."""
    token = minted[index]
    channel = odd if odd in ("a", "b") else token["channel"]
    purpose = odd if odd in ("live", "resume") else token["purpose"]
    right = (token["channel"], token["purpose"]) == (channel, purpose)
    if right and token["bad"] is None and now < token["until"]:
        assert book.admit(token["token"], channel, purpose, now=now) == index
        token["bad"] = "already_consumed"
        return
    with pytest.raises(TokenRefused) as refused:
        book.admit(token["token"], channel, purpose, now=now)
    assert refused.value.reason in reasons(token, channel, purpose)


def reasons(token, channel, purpose):
    """Why it may be refused; one that is no good any more may have been forgotten."""
    if token["purpose"] != purpose:
        return {"not_found"}
    if token["channel"] != channel:
        return {"other_channel", "not_found"}
    return {token["bad"] or "expired", "not_found"}


@settings(max_examples=400)
@given(st.lists(STEPS, max_size=40))
def test_law_25_a_token_opens_its_door_once_and_in_time(steps):
    check_law_25(steps, TokenBook(max_tokens=100))


def test_law_25_the_wrong_door_does_not_spend_it():
    book = TokenBook(max_tokens=10)
    token = book.mint("a", "live", now=0, ttl_s=60)
    for channel, purpose, reason in [("b", "live", "other_channel"), ("a", "resume", "not_found")]:
        with pytest.raises(TokenRefused) as refused:
            book.admit(token, channel, purpose, now=1)
        assert refused.value.reason == reason
    assert book.peek(token, "live", now=1, channel="a") is None
    book.admit(token, "a", "live", now=1)
    with pytest.raises(TokenRefused) as refused:
        book.admit(token, "a", "live", now=2)
    assert refused.value.reason == "already_consumed"


@given(st.text(max_size=60))
def test_law_26_any_text_is_a_token_that_is_not_known(text):
    book = TokenBook(max_tokens=10)
    book.mint("a", "live", now=0, ttl_s=60)
    with pytest.raises(TokenRefused) as refused:
        book.admit(text, "a", "live", now=1)
    assert refused.value.reason == "not_found"


def test_there_is_room_for_so_many_good_ones_and_spent_ones_make_way():
    book = TokenBook(max_tokens=3)
    first, *_ = [book.mint("a", "live", now=0, ttl_s=60) for _ in range(3)]
    with pytest.raises(DoorFull):
        book.mint("a", "live", now=0, ttl_s=60)
    book.admit(first, "a", "live", now=0)
    book.mint("a", "live", now=0, ttl_s=60)
    with pytest.raises(DoorFull):
        book.mint("a", "live", now=0, ttl_s=60)
    book.mint("a", "live", now=61, ttl_s=60)
    assert len(book) <= 3


def test_all_but_one_can_be_revoked_and_the_revoked_are_forgotten():
    book = TokenBook(max_tokens=10)
    old, new = (book.mint("a", "resume", now=0, ttl_s=float("inf")) for _ in range(2))
    book.revoke("a", "resume", now=0, but=new)
    with pytest.raises(TokenRefused) as refused:
        book.admit(old, "a", "resume", now=1)
    assert refused.value.reason == "channel_not_bound"
    book.admit(new, "a", "resume", now=1)
    book.mint("b", "live", now=1000, ttl_s=1)
    assert len(book) == 1


def test_no_token_is_in_memory_or_in_a_repr():
    book = TokenBook(max_tokens=10)
    token = book.mint("a", "live", now=0, ttl_s=60)
    assert token not in repr(vars(book))


def test_law_25_mutant_a_token_that_is_not_spent_is_caught(monkeypatch):
    twice = [("mint", "a", "live", 60), ("admit", 0, None), ("admit", 0, None)]
    check_law_25(twice, TokenBook(max_tokens=100))
    monkeypatch.setattr("mob.server.channels.tokens._spend", lambda kept, now: kept.payload)
    with pytest.raises(pytest.fail.Exception):
        check_law_25(twice, TokenBook(max_tokens=100))


def test_tokens_of_a_purpose_are_counted_while_they_open_something():
    book = TokenBook(max_tokens=9)
    spent = book.mint("c", "live", now=0, ttl_s=10)
    book.mint("c", "live", now=0, ttl_s=10)
    book.mint("c", "live", now=0, ttl_s=2)
    book.mint("c", "realtime", now=0, ttl_s=10)
    assert (book.alive("live", now=1), book.alive("realtime", now=1)) == (3, 1)
    book.admit(spent, "c", "live", now=1)
    assert book.alive("live", now=3) == 1
    book.revoke("c", "live", now=3)
    assert (book.alive("live", now=3), book.alive("realtime", now=11)) == (0, 0)
