"""One client of the JSON-RPC door, over whatever brings its messages: standard streams, TCP, or a WebSocket.

    reader      takes messages; each request runs in a task of its own, at most so many at once, and so many bytes of
                them; more wait in a line, and when that is full reading waits. Answers to what the client was asked
                are taken all the while
    writer      the only one who writes; responses are never dropped, notifications are, when they are too large, or
                when too many wait and their sender does not: who sent them is told, and tells the client in their place
    streams     one task per subscription of the client

The client may be asked, too (`call`): that is how its own tools run. Whatever it began ends when it goes. When it is
the server that goes, its last word is `server/stopping`: so a client tells one that was stopped from one that was lost.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import trio
from attrs import frozen

from mob.carriers.links import Link, TooLong
from mob.errors import DoorFull, MemberFailed, TurnTimedOut
from mob.protocol.jsonrpc import (
    INTERNAL_ERROR,
    Id,
    Malformed,
    Notification,
    Request,
    Response,
    RpcError,
    read_message,
    too_long,
    write_message,
)
from mob.server.limits import DoorLimits
from mob.server.rooms import Rooms

_log = logging.getLogger(__name__)

STOPPING: Final = "server/stopping"

Answer = Callable[["RpcClient", Request], Awaitable[Response]]
"""Who answers a request of this client; raises nothing but cancellation."""


class ClientGone(MemberFailed):
    """The client that was to answer has gone."""

    code = "client_gone"


@frozen(slots=True)
class RpcClientStatistics:
    """Requests answered and under way, notifications sent and dropped, calls to the client that wait."""

    answered: int
    under_way: int
    notified: int
    dropped: int
    calls: int


class RpcClient:
    """Made and run by the door. `nursery` is where what the client began lives; it ends with the client."""

    def __init__(self, link: Link, answer: Answer, limits: DoorLimits) -> None:
        self.nursery: trio.Nursery
        self.limits = limits
        self.rooms = Rooms()
        """What is kept for this client."""
        self._link = link
        self._respond = answer
        self._under_way = 0
        self._line: deque[tuple[Request, int]] = deque()
        self._line_bytes = self._served_bytes = 0
        self._outbox: deque[tuple[bytes, bool]] = deque()
        self._outbox_bytes = 0
        self._notifications = self._notification_bytes = 0
        self._gone = False
        self._wake = trio.Event()
        self._taken = trio.Event()
        self._calls: dict[Id, _Waiting] = {}
        self._last_call = 0
        self._closing: list[Callable[[], Awaitable[None]]] = []
        self._answered = self._notified = self._dropped = 0

    async def run(self) -> None:
        """Serve the client until it goes. What was asked before its end is still answered, unless the link broke."""
        try:
            async with trio.open_nursery() as outer:
                outer.start_soon(self._write)
                async with trio.open_nursery() as self.nursery:
                    async with trio.open_nursery() as requests:
                        await self._read(requests)
                        self._give_up_calls()
                    self.nursery.cancel_scope.cancel()
                await self._flushed()
                outer.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._line.clear()
            self._give_up_calls()
            if trio.current_effective_deadline() == -math.inf:  # we were cancelled: nobody does that but the server
                await self._say_goodbye()
            with trio.CancelScope(shield=True):
                for close in reversed(self._closing):
                    await close()

    async def _say_goodbye(self) -> None:
        with trio.move_on_after(self.limits.close_s, shield=True), suppress(trio.BrokenResourceError):
            await self._link.send(write_message(Notification(STOPPING, {})))

    def at_end(self, close: Callable[[], Awaitable[None]]) -> None:
        """Call this when the client has gone, last added first."""
        self._closing.append(close)

    # -- out -------------------------------------------------------------------------------------------------------

    def notify(self, method: str, params: Mapping[str, Any]) -> bool:
        """Tell the client something. False when it was dropped: the client is too slow, or this is too large."""
        if not self._has_room:
            self._dropped += 1
            return False
        message = write_message(Notification(method, params))
        if len(message) > self.limits.max_notification_bytes:
            self._dropped += 1
            return False
        self._notifications += 1
        self._notification_bytes += len(message)
        self._notified += 1
        self._put(message, notification=True)
        return True

    async def notify_soon(self, method: str, params: Mapping[str, Any]) -> bool:
        """Tell the client something as soon as there is room. False when it was dropped: it is too large to be told."""
        while not self._has_room:
            await self._taken.wait()
        return self.notify(method, params)

    @property
    def _has_room(self) -> bool:
        limits = self.limits
        waiting, size = self._notifications, self._notification_bytes
        return waiting < limits.max_notifications_waiting and size < limits.max_notification_bytes

    async def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None = None) -> Any:
        """Ask the client something; its result. DoorFull, ClientGone, TurnTimedOut, MemberFailed when it says no."""
        if self._gone:
            raise ClientGone(f"the client that was to answer {method} has gone")
        if len(self._calls) >= self.limits.max_calls_to_client:
            raise DoorFull(f"{self.limits.max_calls_to_client} calls wait for this client already")
        self._last_call += 1
        ident = f"mob-{self._last_call}"
        waiting = self._calls[ident] = _Waiting()
        seconds = self.limits.client_call_s if timeout_s is None else timeout_s
        try:
            self._put(write_message(Request(ident, method, params)))
            with trio.move_on_after(seconds):
                await waiting.done.wait()
        finally:
            del self._calls[ident]
        answer = waiting.answer
        if answer is None:
            if waiting.gone:
                raise ClientGone(f"the client that was to answer {method} has gone")
            raise TurnTimedOut(f"the client did not answer {method} within {seconds:g} s")
        if answer.error is not None:
            raise MemberFailed(answer.error.message or f"the client refused {method}")
        return answer.result

    def statistics(self) -> RpcClientStatistics:
        """Counts, as of now."""
        under_way = self._under_way + len(self._line)
        return RpcClientStatistics(self._answered, under_way, self._notified, self._dropped, len(self._calls))

    def _put(self, message: bytes, *, notification: bool = False) -> None:
        self._outbox.append((message, notification))
        self._outbox_bytes += len(message)
        self._wake.set()

    async def _write(self) -> None:
        while True:
            while self._outbox:
                message, notification = self._outbox[0]
                await self._link.send(message)
                self._outbox.popleft()
                self._outbox_bytes -= len(message)
                self._notifications -= notification
                self._notification_bytes -= len(message) if notification else 0
                self._note_taken()
            self._wake = trio.Event()
            await self._wake.wait()

    async def _drained(self) -> None:
        """Wait until the client has read enough of what it was told: who asks and does not read is not served."""
        limits = self.limits
        while (
            len(self._outbox) - self._notifications > limits.max_requests_under_way
            or self._outbox_bytes - self._notification_bytes >= limits.max_answer_bytes_waiting
        ):
            await self._taken.wait()

    async def _flushed(self) -> None:
        with trio.move_on_after(self.limits.close_s):
            while self._outbox:
                await self._taken.wait()

    # -- in --------------------------------------------------------------------------------------------------------

    async def _read(self, requests: trio.Nursery) -> None:
        while True:
            try:
                data = await self._link.receive()
            except TooLong as error:
                self._put(too_long(error.limit))
                await self._drained()
                continue
            if data is None:
                return
            if not data.strip():
                continue
            match read_message(data):
                case Request() as request:
                    self._begin(requests, request, len(data))
                    await self._let_in()
                case Response() as response:
                    self._answered_call(response)
                case Malformed() as malformed:
                    self._put(write_message(malformed))
                    await self._drained()
                case Notification():
                    pass  # none is understood; by JSON-RPC a notification is never answered

    def _begin(self, requests: trio.Nursery, request: Request, size: int) -> None:
        """Serve the request, at once or in its turn. Whoever serves takes the oldest: what comes first begins first."""
        self._line.append((request, size))
        self._line_bytes += size
        self._hire(requests)

    def _hire(self, requests: trio.Nursery) -> None:
        """One more who serves, if there may be one and there is something to do."""
        if self._line and self._may_serve and self._under_way < self.limits.max_requests_under_way:
            self._under_way += 1
            requests.start_soon(self._serve, requests)

    @property
    def _may_serve(self) -> bool:
        return self._served_bytes < self.limits.max_request_bytes_under_way

    async def _let_in(self) -> None:
        """Wait until the line takes one more request of any size."""
        limits = self.limits
        while len(self._line) >= limits.max_requests_waiting or self._line_bytes >= limits.max_request_bytes:
            await self._taken.wait()

    async def _serve(self, requests: trio.Nursery) -> None:
        """Serve requests while there are any in line that may be begun.

        One large request may have kept many small ones waiting: so everyone who takes one looks whether there is work
        for another.
        """
        try:
            while self._line and self._may_serve:
                request, size = self._line.popleft()
                self._line_bytes -= size
                self._served_bytes += size
                try:
                    self._note_taken()
                    self._hire(requests)
                    response = await self._respond(self, request)
                finally:
                    del request
                    self._served_bytes -= size
                await self._drained()
                self._put(self._written(response))
                del response
                self._answered += 1
        finally:
            self._under_way -= 1

    def _note_taken(self) -> None:
        """Something that waited does not wait any more."""
        taken, self._taken = self._taken, trio.Event()
        taken.set()

    def _written(self, response: Response) -> bytes:
        try:
            message = write_message(response)
        except (ValueError, TypeError):
            _log.exception("the answer cannot be written as JSON")
            return write_message(Response(response.id, error=RpcError(INTERNAL_ERROR, "the answer is no JSON")))
        if len(message) > self.limits.max_response_bytes:
            said = (
                f"the answer has {len(message)} bytes, more than {self.limits.max_response_bytes}; ask for less of it"
            )
            return write_message(Response(response.id, error=RpcError(INTERNAL_ERROR, said)))
        return message

    def _answered_call(self, response: Response) -> None:
        waiting = self._calls.get(response.id) if response.id is not None else None
        if waiting is not None and waiting.answer is None:
            waiting.answer = response
            waiting.done.set()

    def _give_up_calls(self) -> None:
        self._gone = True
        for waiting in self._calls.values():
            waiting.gone = True
            waiting.done.set()


class _Waiting:
    """A call to the client on its way."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer: Response | None = None
        self.gone = False
