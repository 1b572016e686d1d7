"""Members as models: the names under which OpenAI's clients reach them.

A member is known by its identity where only one mob of the realm has it, and always as `MOB/MEMBER`. Members of
stopped mobs have names too: whoever calls one learns why it does not answer.
"""

from __future__ import annotations

from collections import Counter

from attrs import frozen

from mob.errors import ModelUnknown, RequestInvalid
from mob.server.hosted import HostedMob
from mob.server.realm import Realm, SessionRef, members_of

_GONE = ("retired", "stopped")
_MANY = 40


@frozen(slots=True)
class ServedModel:
    """A member that can be named as a model. `created` is unix seconds, `owner` its mob."""

    name: str
    owner: str
    created: int
    ref: SessionRef


def list_models(realm: Realm) -> tuple[ServedModel, ...]:
    """Every member that may be called, under its shortest name, in the order of the mobs."""
    there = [(hosted, identity) for hosted in realm.mobs for identity in _present(hosted)]
    count = Counter(identity for _, identity in there)
    return tuple(
        ServedModel(
            identity if count[identity] == 1 else f"{hosted.mob_id}/{identity}",
            hosted.mob_id,
            int(hosted.created_at),
            SessionRef(hosted.session_id(identity), hosted, identity),
        )
        for hosted, identity in there
    )


def resolve_model(realm: Realm, name: str) -> SessionRef:
    """The session of the member of this name. ModelUnknown; RequestInvalid for a name that several mobs have."""
    found = [
        SessionRef(hosted.session_id(identity), hosted, identity)
        for hosted in realm.mobs
        for identity in _present(hosted)
        if name in (identity, f"{hosted.mob_id}/{identity}")
    ]
    if len(found) == 1:
        return found[0]
    if found:
        full = ", ".join(f"{ref.hosted.mob_id}/{ref.identity}" for ref in found[:_MANY])
        raise RequestInvalid(f"several mobs have a member {name!r}; say which: {full}", field="model")
    known = ", ".join(model.name for model in list_models(realm)[:_MANY]) or "none"
    raise ModelUnknown(
        f"The model {name[:200]!r} does not exist: models here are members of mobs, and there are {known}"
    )


def _present(hosted: HostedMob) -> list[str]:
    members = members_of(hosted)
    if not hosted.running:
        return list(members)
    return [identity for identity in members if hosted.mob.members[identity].state not in _GONE]
