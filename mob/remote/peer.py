"""A JSON-RPC connection as its client sees it: calls and their answers, notifications, and one end for everything.

    reader      gives each answer to whoever waits for it, and each notification to `heard`, in the order in which the
                server sent them: what an answer refers to was heard before the answer is given
    writer      the only one who writes

When the connection is lost, every call that waits, and every later one, ends with the same ServerGone. A caller that is
cancelled leaves nothing behind: its call is given up at the server, too, when it has a name (`call`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import trio
from attrs import define, field, frozen

from mob.carriers.links import Link, TooLong
from mob.errors import CapabilityUnavailable, DoorError, LimitReached, MobError, RequestInvalid, ServerGone, WireError
from mob.protocol.jsonrpc import (
    METHOD_NOT_FOUND,
    Malformed,
    Message,
    Notification,
    Request,
    Response,
    RpcError,
    read_message,
    write_message,
)
from mob.protocol.shapes import error_of

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Of one message, either way: more than a server answers at once."""

_log = logging.getLogger("mob.remote")

JSON = dict[str, Any]
Heard = Callable[[str, Mapping[str, Any]], None]

_MAX_WAITING = 48
"""Calls at once: fewer than a server takes of one client, so that giving one up is never stuck behind them."""
_MAX_TOLD = 256
_FLUSH_S = 2.0


@define(eq=False, slots=True)
class _Call:
    """A call on its way. `told`: nobody waits for its answer, and a refusal goes to this function."""

    method: str
    answered: trio.Event = field(factory=trio.Event)
    applied: Callable[[Any], None] | None = None
    told: Callable[[MobError], None] | None = None
    result: Any = None
    error: MobError | None = None


@frozen(slots=True)
class PeerStatistics:
    """Calls made, answered and waiting for their answer, refusals of what was only told, notifications heard."""

    calls: int
    answered: int
    waiting: int
    refused: int
    heard: int


class Peer:
    """Made and run by `mob.connect`. `where` names the server in errors."""

    def __init__(self, link: Link, where: str, heard: Heard, asked: Callable[[Request], bool]) -> None:
        """`asked` takes what the server asks of us, and says whether it will be answered."""
        self.where = where
        self.gone: ServerGone | None = None
        """Why there is no connection any more."""
        self._link = link
        self._heard = heard
        self._asked = asked
        self._calls: dict[int, _Call] = {}
        self._outbox: deque[bytes] = deque()
        self._wake = trio.Event()
        self._written = trio.Event()
        self._room = trio.Semaphore(_MAX_WAITING)
        self._told = 0
        self._made = self._answered = self._refused = self._notified = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the connection until it ends. Returns; whoever waits is told."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                task_status.started()
                await self._read()
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.end(ServerGone(f"the connection to {self.where} was lost; connect again when the server is there"))

    def end(self, why: ServerGone) -> None:
        """There is no connection any more: everything that waits ends with this, and so does every later call."""
        if self.gone is None:
            self.gone = why
        for call in self._calls.values():
            call.error = self.gone
            call.answered.set()
        self._calls.clear()
        self._written.set()

    # -- asking ----------------------------------------------------------------------------------------------------

    async def call(
        self,
        method: str,
        params: JSON,
        *,
        named: bool = False,
        applied: Callable[[Any], None] | None = None,
        undo: Callable[[Any], None] | None = None,
    ) -> Any:
        """The answer's result. Raises what the server raised, or ServerGone.

        `applied` is called with the result before anything that the server sent later is heard. When the caller is
        cancelled, `named`: the call is given up at the server; `undo`: is called with the result when it comes.
        """
        async with self._room:
            self._check()
            self._made += 1
            ident = self._made
            if named:
                params = {**params, "call": f"c{ident}"}
            self._put(write_message(Request(ident, method, params)))
            call = self._calls[ident] = _Call(method, applied=applied)
            try:
                await call.answered.wait()
            except trio.Cancelled:
                if named and self.gone is None:
                    self.tell("team/cancel", {"call": f"c{ident}"}, _forget)
                call.applied = undo
                raise
            finally:
                if call.applied is None or call.answered.is_set():
                    self._calls.pop(ident, None)
        if call.error is not None:
            raise call.error
        return call.result

    def tell(self, method: str, params: JSON, refused: Callable[[MobError], None]) -> None:
        """Say something and go on; `refused` is called when the server refuses it. ServerGone, LimitReached."""
        self._check()
        if self._told >= _MAX_TOLD:
            raise LimitReached(f"{_MAX_TOLD} messages are on their way to {self.where}; wait until it has taken some")
        self._made += 1
        self._told += 1
        self._put(write_message(Request(self._made, method, params)))
        self._calls[self._made] = _Call(method, told=refused)

    def answer(self, response: Response) -> None:
        """Answer what the server asked; nothing when it has gone."""
        if self.gone is None:
            self._put(write_message(response))

    async def settle(self) -> None:
        """Wait until what was told is written and answered; bounded. Before the connection is closed."""
        with trio.move_on_after(_FLUSH_S):
            while self.gone is None and (self._outbox or self._told):
                self._written = trio.Event()
                await self._written.wait()

    def statistics(self) -> PeerStatistics:
        """Counts, as of now."""
        return PeerStatistics(self._made, self._answered, len(self._calls), self._refused, self._notified)

    def _check(self) -> None:
        if self.gone is not None:
            raise self.gone

    def _put(self, message: bytes) -> None:
        if len(message) > MAX_MESSAGE_BYTES:
            raise RequestInvalid(f"this is {len(message)} bytes long; the most that a server takes is 64 MiB")
        self._outbox.append(message)
        self._wake.set()

    async def _write(self) -> None:
        while True:
            while self._outbox:
                await self._link.send(self._outbox.popleft())
            self._written.set()
            self._wake = trio.Event()
            if not self._outbox:
                await self._wake.wait()

    # -- hearing ---------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while (data := await self._next()) is not None:
            try:
                self._hear(read_message(data))
            except WireError as error:
                self.end(ServerGone(f"{self.where} said what cannot be read: {error.message}; is it a mob server?"))
                return

    async def _next(self) -> bytes | None:
        try:
            return await self._link.receive()
        except trio.BrokenResourceError:
            return None
        except TooLong as error:
            self.end(ServerGone(f"{self.where} said more than {error.limit} bytes at once; is it a mob server?"))
            return None

    def _hear(self, message: Message | Malformed) -> None:
        match message:
            case Response() as response:
                self._take(response)
            case Notification(method=method, params=params):
                self._notified += 1
                self._heard(method, params)
            case Request(id=ident, method=method) as request:
                if not self._asked(request):
                    what = RpcError(METHOD_NOT_FOUND, f"a client of mob.connect does not serve {method[:200]!r}")
                    self.answer(Response(ident, error=what))
            case Malformed(error=error):
                raise WireError(error.message, field="message")

    def _take(self, response: Response) -> None:
        call = self._calls.pop(response.id, None) if isinstance(response.id, int) else None
        if call is None:
            if response.error is not None and response.id is None:
                _log.warning("%s refused a message: %s", self.where, response.error.message)
            return
        self._answered += 1
        if response.error is not None:
            call.error = _raised(response.error, call.method, self.where)
        else:
            call.result = response.result
            if call.applied is not None:
                call.applied(response.result)
        if call.told is not None:
            self._told -= 1
            self._written.set()
            if call.error is not None:
                self._refused += 1
                call.told(call.error)
        call.answered.set()


def _raised(error: RpcError, method: str, where: str) -> MobError:
    """What the server raised, as the same class."""
    own = error.data.get("error") if isinstance(error.data, dict) else None
    if isinstance(own, dict):
        try:
            return error_of(own)
        except MobError as unreadable:
            return unreadable
    if error.code == METHOD_NOT_FOUND:
        return CapabilityUnavailable(f"{where} does not offer {method}", field=method)
    return DoorError(error.message or f"{where} refused {method}")


def _forget(_: MobError) -> None:
    """A call that was given up had ended already."""
