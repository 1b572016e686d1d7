"""Which method is served by which function, and what becomes of what it raises.

A *method* takes its client and its checked parameters and gives its result as JSON. The table of a server has exactly
what that server offers: `initialize` lists it, and everything else is answered with method-not-found.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mob.errors import MobError
from mob.protocol.jsonrpc import INTERNAL_ERROR, METHOD_NOT_FOUND, Request, Response, RpcError
from mob.server.params import Params
from mob.server.rpc.client import RpcClient
from mob.server.rpc.errors import error_of

_log = logging.getLogger(__name__)

Serve = Callable[[RpcClient, Params], Awaitable[Any]]


class Methods:
    """The methods that a server offers, by name."""

    def __init__(self) -> None:
        self._methods: dict[str, Serve] = {}
        self.served = 0
        """Requests ever taken, whatever became of them."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names, sorted."""
        return tuple(sorted(self._methods))

    def add(self, table: Mapping[str, Serve]) -> None:
        """Offer these too."""
        self._methods.update(table)

    async def call(self, client: RpcClient, request: Request) -> Response:
        """The answer to this request. Raises nothing but cancellation."""
        self.served += 1
        serve = self._methods.get(request.method)
        if serve is None:
            message = f"{request.method[:200]!r} is not offered here; `initialize` lists what is"
            return Response(
                request.id, error=RpcError(METHOD_NOT_FOUND, message, {"code": "method_not_found", "message": message})
            )
        params = Params(request.params)
        try:
            result = await serve(client, params)
        except MobError as error:
            return Response(request.id, error=error_of(error))
        except Exception:
            _log.exception("%s failed", request.method)
            message = f"{request.method} failed in the server; its log says why"
            return Response(
                request.id, error=RpcError(INTERNAL_ERROR, message, {"code": "INTERNAL_ERROR", "message": message})
            )
        return Response(request.id, result)
