"""The rehearsed end of OpenAI Chat Completions: requests in, the brain's answer out, whole or word by word."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing

import trio

from mob.definition.model import MobDefinition
from mob.ids import Ids
from mob.providers.openai_chat.server import (
    ChatRefused,
    ChatReply,
    ChatServerRequest,
    ChatToolCall,
    FinishReason,
    error_body,
    parse_request,
)
from mob.providers.openai_chat.sse import encode_comment
from mob.rehearsal.brain import Brain, PlannedCall, Reply
from mob.rehearsal.delivery import words_of
from mob.rehearsal.faults import FaultPlan, odd_calls
from mob.rehearsal.manner import CHARACTERS_PER_TOKEN, Manner
from mob.rehearsal.retelling import scene_of_request
from mob.values import Usage
from mob.web.http import HttpReply, HttpRequest

_WORD_S = 0.01
_PING_S = 1.0
_PINGS = 5


class ChatService:
    """Answers chat completion requests for every member."""

    def __init__(self, *, manner: Manner, faults: FaultPlan, ids: Ids, wall: Callable[[], float]) -> None:
        self._manner = manner
        self._faults = faults
        self._ids = ids
        self._wall = wall
        self.responses = 0

    async def complete(self, request: HttpRequest, reply: HttpReply, *, member: str | None, brain: Brain) -> None:
        """Answer one `POST …/chat/completions`."""
        headers = [("x-request-id", self._ids.new("req"))]
        if refused := self._refusal(member):
            status, message, more = refused
            return await reply.send_bytes(status, error_body(status, message), "application/json", [*headers, *more])
        try:
            asked = parse_request(request.body)
        except ChatRefused as refusal:
            return await reply.send_bytes(refusal.status, refusal.body, "application/json", headers)
        self.responses += 1
        answer = brain.reply(scene_of_request(asked))
        await trio.sleep((self._manner.think_ms + answer.after_ms) / 1000)
        writer = ChatReply(asked, reply_id=self._ids.new("chatcmpl"), created=int(self._wall()))
        if not asked.stream:
            body = b"".join(self._chunks(writer, asked, answer, member))
            return await reply.send_bytes(200, body, writer.content_type, headers)
        await reply.start(200, writer.content_type, headers)
        async with aclosing(self._paced(writer, asked, answer, member)) as paced:
            async for data in paced:
                await reply.write(data)
        await reply.end()
        return None

    def _refusal(self, member: str | None) -> tuple[int, str, list[tuple[str, str]]] | None:
        if self._faults.due("http-529", member):
            return 529, "The service is overloaded. Try again later.", []
        if self._faults.due("http-429", member):
            return 429, "Rate limit reached for requests. Please try again in 1s.", [("retry-after", "1")]
        return None

    async def _paced(
        self, writer: ChatReply, asked: ChatServerRequest, answer: Reply, member: str | None
    ) -> AsyncGenerator[bytes, None]:
        """The stream's bytes as they are to be sent, with the faults of streams."""
        due = {kind: self._faults.due(kind, member) for kind in _STREAM_FAULTS}
        if due["sse-pings"]:
            for _ in range(_PINGS):
                yield encode_comment("keep-alive")
                await trio.sleep(_PING_S)
        chunks = list(self._chunks(writer, asked, answer, member))
        if due["sse-error"]:
            chunks[len(chunks) // 2 :] = [writer.fail("The server had an error while answering.")]
        if due["sse-no-done"]:
            chunks[-1] = chunks[-1].replace(b"data: [DONE]\n\n", b"")
        for chunk in chunks:
            data = encode_comment("a comment") + chunk + b": another\n" if due["sse-comments"] else chunk
            data = data.replace(b"\n", b"\r\n") if due["sse-crlf"] else data
            for piece in _single_bytes(data) if due["sse-split"] else [data]:
                yield piece
            await trio.sleep(_WORD_S)

    def _chunks(
        self, writer: ChatReply, asked: ChatServerRequest, answer: Reply, member: str | None
    ) -> Iterator[bytes]:
        """What the writer makes of the answer, one chunk per word or call."""
        limit = asked.max_tokens * CHARACTERS_PER_TOKEN if asked.max_tokens else None
        said = answer.say if limit is None else answer.say[:limit]
        yield writer.start()
        for word in words_of(said):
            yield writer.text(word)
        for call in self._calls(answer.calls, member):
            yield writer.tool_call(call, pieces=3)
        reason: FinishReason | None = "length" if len(said) < len(answer.say) else None
        given = sum(len(message.text) for message in asked.messages)
        made = len(said) + sum(len(json.dumps(call.arguments)) for call in answer.calls)
        usage = Usage(given // CHARACTERS_PER_TOKEN + 1, made // CHARACTERS_PER_TOKEN + 1, requests=1)
        yield writer.finish(usage, reason=reason)

    def _calls(self, planned: tuple[PlannedCall, ...], member: str | None) -> Iterator[ChatToolCall]:
        for call in planned:
            arguments = json.dumps(call.arguments, ensure_ascii=False)
            yield from (
                ChatToolCall(call_id, name, text)
                for call_id, name, text in odd_calls(self._faults, member, call.name, arguments, self._ids)
            )


def models_of(definition: MobDefinition | None) -> dict[str, object]:
    """The list of models: the team's, or one that stands for any."""
    members = definition.members if definition else ()
    names = [definition.profile_of(identity).model for identity in members] if definition else ["rehearsed"]
    entry = {"object": "model", "created": 0, "owned_by": "rehearsal"}
    return {"object": "list", "data": [{"id": name, **entry} for name in dict.fromkeys(names)]}


_STREAM_FAULTS = ("sse-comments", "sse-crlf", "sse-split", "sse-no-done", "sse-error", "sse-pings")


def _single_bytes(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 1] for at in range(len(data)))
