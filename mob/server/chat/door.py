"""`POST /v1/chat/completions`: a member of the team as the model of any OpenAI client.

The member has one canonical history, and answers as itself: its own instructions, tools and colleagues stay its own and
are not seen. See `chat_request` for what of a request reaches it, and `chat_turns` for turns that span requests.

`max_tokens` is honoured in characters, four for a token: text beyond it is not sent, the finish reason is "length", and
a member that is still writing is interrupted. `usage` counts the member's own requests of the whole turn, and comes
with the answer that ends it.
"""

from __future__ import annotations

import functools

from attrs import evolve

from mob.errors import MobError
from mob.ids import Ids
from mob.providers.openai_chat.server import ChatRefused, ChatReply, FinishReason
from mob.server.chat.request import ChatAsked, read_chat
from mob.server.chat.turns import Called, ChatTurn, ChatTurns, Said
from mob.server.front.routes import Call
from mob.server.realm.models import resolve_model
from mob.server.realm.realm import Realm
from mob.sessions.mailbox import Answer
from mob.values import NO_USAGE, Usage
from mob.web.http import HttpReply

_CHARACTERS_PER_TOKEN = 4
_NO_RETRY = ("x-should-retry", "false")
"""OpenAI's clients repeat what failed; a member that heard it would hear it again."""


class ChatDoor:
    """Answers chat completion requests for every member of a realm."""

    def __init__(self, realm: Realm, turns: ChatTurns) -> None:
        self._realm = realm
        self._turns = turns
        self._ids = Ids()

    async def complete(self, call: Call) -> None:
        """Answer one request. A client that hangs up meanwhile interrupts the turn."""
        headers = [("x-request-id", self._ids.new("req"))]
        call.reply.always = [*call.reply.always, *headers]
        try:
            asked = read_chat(call.request.body, self._realm.limits)
        except ChatRefused as refusal:
            await call.reply.send_bytes(refusal.status, refusal.body, "application/json")
            return
        await call.reply.while_there(functools.partial(self._serve, asked, call.reply))

    async def _serve(self, asked: ChatAsked, reply: HttpReply) -> None:
        ref = resolve_model(self._realm, asked.request.model)
        if asked.said is None:
            turn = self._turns.resume(ref, asked.results)
        else:
            tools = asked.request.tools if asked.request.tool_choice != "none" else ()
            turn = self._turns.begin(ref, asked.said, tools)
        writer = ChatReply(asked.request, reply_id=self._ids.new("chatcmpl"), created=int(self._realm.wall()))
        answer = _ChatAnswer(reply, writer, asked)
        try:
            await self._carry(turn, answer, asked)
        except MobError as error:
            if turn.taken:
                reply.always = [*reply.always, _NO_RETRY]
            if not reply.started:
                raise
            await answer.fail(error)

    async def _carry(self, turn: ChatTurn, answer: _ChatAnswer, asked: ChatAsked) -> None:
        """Pieces of the turn to the client, until the answer ends or the client is to call its tools."""
        waits = False
        try:
            while True:
                match await turn.next(one_call=asked.one_call_at_a_time):
                    case Said(text=text):
                        if not await answer.text(text):
                            return
                    case Called() as called:
                        waits = True
                        turn.leave(self._realm.limits.client_tool_s)
                        await answer.calls(called)
                        return
                    case Answer(turn=committed):
                        await answer.finish(committed.usage)
                        return
        finally:
            if not waits:
                turn.cancel()


class _ChatAnswer:
    """One answer on its way, whole or in parts."""

    def __init__(self, reply: HttpReply, writer: ChatReply, asked: ChatAsked) -> None:
        self._reply = reply
        self._writer = writer
        self._stream = asked.request.stream
        most = asked.request.max_tokens
        self._room = None if most is None else most * _CHARACTERS_PER_TOKEN

    async def text(self, text: str) -> bool:
        """More text. False: it was cut, and the answer is finished."""
        cut = self._room is not None and len(text) > self._room
        if self._room is not None:
            text = text[: self._room]
            self._room -= len(text)
        if text:
            await self._write(self._writer.text(text))
        if cut:
            await self.finish(evolve(NO_USAGE, reported=False), reason="length")
        return not cut

    async def calls(self, called: Called) -> None:
        """The answer ends with these calls."""
        await self._write(b"".join([self._writer.tool_call(call) for call in called.calls]))
        await self.finish(evolve(NO_USAGE, reported=False))

    async def finish(self, usage: Usage, *, reason: FinishReason | None = None) -> None:
        """The answer is whole."""
        data = self._writer.finish(usage, reason=reason)
        if not self._stream:
            await self._reply.send_bytes(200, data, self._writer.content_type)
            return
        await self._write(data)
        await self._reply.end()

    async def fail(self, error: MobError) -> None:
        """The stream has begun: its end says what went wrong."""
        await self._write(self._writer.fail(error.message, code=error.code))
        await self._reply.end()

    async def _write(self, data: bytes) -> None:
        if not self._stream:
            return
        if not self._reply.started:
            await self._reply.start(200, self._writer.content_type, [("cache-control", "no-cache")])
            data = self._writer.start() + data
        await self._reply.write(data)
