"""OpenAI's endpoints that are plain HTTP and no conversation: the models there are, and secrets for browsers.

A client secret lets its holder open realtime sessions until it expires (10 to 7200 s, 600 when nothing is said), each
with the configuration that the secret was made with; it opens nothing else. Whoever makes one needs the server's own.
"""

from __future__ import annotations

from typing import Any

import trio

from mob.errors import DoorFull, RequestInvalid
from mob.ids import Ids
from mob.providers.openai_realtime.checks import Refusal
from mob.providers.openai_realtime.schema import SESSION
from mob.providers.openai_realtime.server_session import ServerSession
from mob.server.front.auth import CLIENT_SECRET_PREFIX
from mob.server.front.routes import Call, Route
from mob.server.params import Params
from mob.server.realm.models import ServedModel, list_models, resolve_model
from mob.server.realm.realm import Realm
from mob.server.rest.reading import body_params, check_known
from mob.server.rest.schemas import ERRORS, component

JSON = dict[str, Any]

_CHANNEL = "realtime"
_LEAST_S, _USUAL_S, _MOST_S = 10, 600, 7200


class OpenAiDoor:
    """Handlers of one realm."""

    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self._ids = Ids()

    async def models(self, call: Call) -> None:
        """All models: the members."""
        data = [_model_json(model) for model in list_models(self._realm)]
        await call.reply.send_json(200, {"object": "list", "data": data})

    async def model(self, call: Call) -> None:
        """One model, by its name or by its mob's and its own."""
        name = "/".join(call.params.values())
        hosted = resolve_model(self._realm, name).hosted
        model = ServedModel(name, hosted.mob_id, int(hosted.created_at))
        await call.reply.send_json(200, _model_json(model))

    async def client_secret(self, call: Call) -> None:
        """Mint a client secret."""
        params = body_params(call) if call.request.body else Params({})
        check_known(params, "expires_after", "session")
        seconds = _lifetime(params)
        wall = self._realm.wall()
        session = self._session(params)
        secret = self._mint(seconds, params.values.get("session") or {})
        body = {"value": secret, "expires_at": int(wall) + seconds, "session": session}
        await call.reply.send_json(200, body, [("cache-control", "no-store")])

    def _session(self, params: Params) -> JSON:
        """The session that the secret will open, as it is without the member's own words."""
        given = params.maybe_child("session")
        wanted = {} if given is None else given.values
        model = str(wanted.get("model", ""))
        session = ServerSession(self._ids.new("sess"), model, expires_at=None)
        if given is not None:
            try:
                checked = SESSION(wanted, "session")
                session.update(
                    dict(checked) if isinstance(checked, dict) else {}, has_spoken=False, is_responding=False
                )
            except Refusal as refusal:
                raise RequestInvalid(refusal.message, field=refusal.param) from None
            if model:
                resolve_model(self._realm, model)
        echo = session.echo()
        return {name: value for name, value in echo.items() if value != "" or name != "model"}

    def _mint(self, seconds: int, config: object) -> str:
        now = trio.current_time()
        alive = self._realm.tokens.alive("realtime", now=now)
        if alive >= self._realm.limits.max_client_secrets:
            raise DoorFull(f"{alive} client secrets are alive, which is all this server makes; wait until one ends")
        return self._realm.tokens.mint(
            _CHANNEL, "realtime", now=now, ttl_s=seconds, payload=config, prefix=CLIENT_SECRET_PREFIX
        )


def _lifetime(params: Params) -> int:
    after = params.maybe_child("expires_after")
    if after is None:
        return _USUAL_S
    check_known(after, "anchor", "seconds")
    after.choice("anchor", ("created_at",))
    seconds = after.maybe_whole("seconds", least=_LEAST_S, most=_MOST_S)
    return _USUAL_S if seconds is None else seconds


def _model_json(model: ServedModel) -> JSON:
    return {"id": model.name, "object": "model", "created": model.created, "owned_by": model.owner}


def openai_routes(realm: Realm) -> list[Route]:
    """`/v1/models` and `/v1/realtime/client_secrets`."""
    door = OpenAiDoor(realm)
    one = component("OpenAiModel")
    missing = {404: ERRORS[404]}
    return [
        Route(
            "GET", "/v1/models", door.models, "The members, as models.", tag="openai", answer=component("OpenAiModels")
        ),
        Route(
            "GET",
            "/v1/models/{model}",
            door.model,
            "One member, as a model.",
            tag="openai",
            answer=one,
            answers=missing,
        ),
        Route(
            "GET",
            "/v1/models/{mob}/{member}",
            door.model,
            "One member of one mob, as a model.",
            tag="openai",
            answer=one,
            answers=missing,
        ),
        Route(
            "POST",
            "/v1/realtime/client_secrets",
            door.client_secret,
            "Make a secret that opens realtime sessions, for a browser.",
            tag="openai",
            body=component("ClientSecretRequest"),
            answer=component("ClientSecret"),
            answers={404: ERRORS[404], 503: ERRORS[503]},
        ),
    ]
