"""Members as models: the names under which OpenAI's clients reach them.

    MEMBER        where only one mob of the realm has a member of this identity
    MOB/MEMBER    always
    MOB           whoever has the floor of this mob now, so that a client follows hand-overs from request to request

Members of stopped mobs have names too: whoever calls one learns why it does not answer.
"""

from __future__ import annotations

from collections import Counter

from attrs import frozen

from mob.errors import MemberNotRunning, ModelUnknown, RequestInvalid
from mob.server.hosted import HostedMob
from mob.server.realm.realm import Realm, SessionRef, members_of

_GONE = ("retired", "stopped")
_MANY = 40


@frozen(slots=True)
class ServedModel:
    """A name that can be called as a model. `created` is unix seconds, `owner` a mob."""

    name: str
    owner: str
    created: int


def list_models(realm: Realm) -> tuple[ServedModel, ...]:
    """Every member that may be called, under its shortest name, and every mob; in the order of the mobs."""
    there = [(hosted, identity) for hosted in realm.mobs for identity in _present(hosted)]
    count = Counter(identity for _, identity in there)
    names = [
        (hosted, identity if count[identity] == 1 else f"{hosted.mob_id}/{identity}") for hosted, identity in there
    ]
    names += [(hosted, hosted.mob_id) for hosted in realm.mobs if hosted.mob_id not in count]
    return tuple(ServedModel(name, hosted.mob_id, int(hosted.created_at)) for hosted, name in names)


def resolve_model(realm: Realm, name: str) -> SessionRef:
    """The session that this name means. ModelUnknown; RequestInvalid for a member's name that several mobs have."""
    found = [
        _ref(hosted, identity)
        for hosted in realm.mobs
        for identity in _present(hosted)
        if name in (identity, f"{hosted.mob_id}/{identity}")
    ]
    if len(found) == 1:
        return found[0]
    if found:
        full = ", ".join(f"{ref.hosted.mob_id}/{ref.identity}" for ref in found[:_MANY])
        raise RequestInvalid(f"several mobs have a member {name!r}; say which: {full}", field="model")
    for hosted in realm.mobs:
        if hosted.mob_id == name:
            return _ref(hosted, _holder(hosted))
    known = ", ".join(model.name for model in list_models(realm)[:_MANY]) or "none"
    raise ModelUnknown(f"The model {name[:200]!r} does not exist. Models here are members of mobs: {known}")


def _ref(hosted: HostedMob, identity: str) -> SessionRef:
    return SessionRef(hosted.session_id(identity), hosted, identity)


def _holder(hosted: HostedMob) -> str:
    if not hosted.running:
        return hosted.definition.entry_member
    if hosted.mob.floor is None:
        raise MemberNotRunning(f"nobody has the floor of {hosted.mob_id}; call one of its members by name")
    return hosted.mob.floor


def _present(hosted: HostedMob) -> list[str]:
    if not hosted.running:
        return list(members_of(hosted))
    return [identity for identity, member in hosted.mob.members.items() if member.state not in _GONE]
