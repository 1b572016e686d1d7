"""JSON-RPC 2.0: messages read and written, both ends, without I/O.

A message is one JSON object: a *request* (with an id), a *notification* (without), or a *response*. What cannot be read
is given back as a `Malformed` with the error that answers it, so that reading raises nothing, whatever came (law 26).
Batches are not taken: no client of ours sends them. Source: the JSON-RPC 2.0 specification.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from mob.jsontext import read_json

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

Id = int | str
Params = Mapping[str, Any]
_NO_PARAMS: Final[Params] = {}
_MAX_ID = 256


@frozen(slots=True)
class RpcError:
    """The error of a response. `data` is for programs."""

    code: int
    message: str
    data: Any = None


@frozen(slots=True)
class Request:
    """Asks for a response. `params` by name."""

    id: Id
    method: str
    params: Params = field(factory=dict)


@frozen(slots=True)
class Notification:
    """Asks for none."""

    method: str
    params: Params = field(factory=dict)


@frozen(slots=True)
class Response:
    """Answers the request of this id: with a result, or an error."""

    id: Id | None
    result: Any = None
    error: RpcError | None = None


@frozen(slots=True)
class Malformed:
    """What came is no message. `id` is the request's, as far as it could be read."""

    error: RpcError
    id: Id | None = None


Message = Request | Notification | Response


def read_message(data: bytes | str) -> Message | Malformed:
    """One message from one line, or from one frame."""
    try:
        value = read_json(data)
    except UnicodeDecodeError as error:
        return Malformed(RpcError(PARSE_ERROR, f"this is not UTF-8: byte {error.start} begins no character"))
    except json.JSONDecodeError as error:
        return Malformed(RpcError(PARSE_ERROR, f"this is not JSON at character {error.pos}; send one object a line"))
    except ValueError as error:
        return Malformed(RpcError(PARSE_ERROR, f"this {error}, and is not read"))
    if not isinstance(value, dict):
        kind = "a batch; send its messages one by one" if isinstance(value, list) else "not an object"
        return Malformed(RpcError(INVALID_REQUEST, f"a message is one JSON object, and this is {kind}"))
    return _message(value)


def _message(value: dict[str, Any]) -> Message | Malformed:
    ident = value.get("id")
    known = ident if _is_id(ident) else None

    def wrong(what: str) -> Malformed:
        return Malformed(RpcError(INVALID_REQUEST, what), known)

    if value.get("jsonrpc") != "2.0":
        return wrong('`jsonrpc` must be "2.0"')
    if ident is not None and known is None:
        return wrong(f"`id` must be a whole number or a string of at most {_MAX_ID} characters")
    if "method" not in value:
        if "result" in value or "error" in value:
            return _response(value, known)
        return wrong("`method` is missing")
    method, params = value["method"], value.get("params")
    if not isinstance(method, str):
        return wrong("`method` must be a string")
    if params is None:
        params = _NO_PARAMS
    if not isinstance(params, dict):
        return Malformed(RpcError(INVALID_PARAMS, "`params` must be an object: parameters go by name"), known)
    return Notification(method, params) if known is None else Request(known, method, params)


def _response(value: dict[str, Any], ident: Id | None) -> Message | Malformed:
    error = value.get("error")
    if error is None:
        return Response(ident, value.get("result"))
    if not isinstance(error, dict):
        return Malformed(RpcError(INVALID_REQUEST, "`error` must be an object"), ident)
    code, message = error.get("code"), error.get("message")
    whole = code if isinstance(code, int) and not isinstance(code, bool) else INTERNAL_ERROR
    return Response(ident, None, RpcError(whole, message if isinstance(message, str) else "", error.get("data")))


def write_message(message: Message | Malformed) -> bytes:
    """The message as one line of UTF-8, without the line's end. ValueError for what JSON has no word for."""
    body = _as_json(message)
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON text can carry and UTF-8 cannot
        return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


def _as_json(message: Message | Malformed) -> dict[str, Any]:
    match message:
        case Request(id=ident, method=method, params=params):
            return {"jsonrpc": "2.0", "id": ident, "method": method, "params": params}
        case Notification(method=method, params=params):
            return {"jsonrpc": "2.0", "method": method, "params": params}
        case Response(id=ident, result=result, error=None):
            return {"jsonrpc": "2.0", "id": ident, "result": result}
        case Response(id=ident, error=RpcError() as error) | Malformed(id=ident, error=error):
            said: dict[str, Any] = {"code": error.code, "message": error.message}
            if error.data is not None:
                said["data"] = error.data
            return {"jsonrpc": "2.0", "id": ident, "error": said}
    raise TypeError(f"{message!r} is no message")


def _is_id(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_ID
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def too_long(limit: int) -> bytes:
    """The answer to a message that was longer than may be, and so was not read."""
    message = f"a request has at most {limit} bytes; this one was longer and was not read"
    return write_message(Response(None, error=RpcError(INVALID_REQUEST, message)))
