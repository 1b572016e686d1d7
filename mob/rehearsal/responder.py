"""How a reply of the brain becomes a response on the realtime wire: thinking, words, sound, calls, and its end."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

import trio
from attrs import evolve

from mob.ids import Ids
from mob.providers.openai_realtime.names import AUDIO_RATE
from mob.providers.openai_realtime.response_writer import ResponseWriter
from mob.rehearsal.brain import PlannedCall, Reply
from mob.rehearsal.delivery import Sound, Words, spoken_steps, words_of
from mob.rehearsal.faults import FaultPlan, odd_calls
from mob.rehearsal.manner import CHARACTERS_PER_TOKEN, Manner
from mob.rehearsal.slots import fill_arguments
from mob.rehearsal.voice import Voice
from mob.rehearsal.words import sentences
from mob.values import ToolSchema, Usage

_WORD_S = 0.015
_MS_PER_AUDIO_TOKEN = 50


class Responder:
    """Writes responses for one connection. `flush` sends what was written and waits while too much is on its way."""

    def __init__(
        self,
        *,
        manner: Manner,
        voice: Voice,
        faults: FaultPlan,
        member: str | None,
        ids: Ids,
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        self._manner = manner
        self._voice = voice
        self._faults = faults
        self._member = member
        self._ids = ids
        self._flush = flush

    async def respond(self, writer: ResponseWriter, reply: Reply, *, think_ms: float) -> None:
        """Write the whole response and end it. Cancelled when the response is cut off; the writer has ended then."""
        await self._flush()
        await trio.sleep(think_ms / 1000)
        if self._due("response-failed"):
            writer.fail("rate_limit_exceeded", "Rate limit reached. Try again in 1s.", kind="rate_limit_exceeded")
            return await self._flush()
        reply, is_whole = _within(reply, writer.params.max_output_tokens)
        filtered = self._due("response-filtered")
        if filtered or self._due("response-incomplete"):
            reply, is_whole = Reply(reply.say[: len(reply.say) // 2]), False
        if self._due("message-and-two-calls"):
            reply = _with_two_calls(reply, writer.params.tools)
        for part in _in_two(reply.say) if self._due("two-audio-items") else [reply.say]:
            await self._say(writer, part)
        for call in reply.calls:
            self._call(writer, call)
        if is_whole:
            writer.finish()
        else:
            writer.incomplete("content_filter" if filtered else "max_output_tokens")
        return await self._flush()

    async def trail(self, writer: ResponseWriter) -> None:
        """The sound that was on its way when the response was cut off."""
        if writer.params.output == "audio":
            for _ in range(3):
                writer.audio(bytes(2 * AUDIO_RATE * self._manner.chunk_ms // 1000))
            await self._flush()

    def _due(self, kind: str) -> bool:
        return self._faults.due(kind, self._member)

    async def _say(self, writer: ResponseWriter, text: str) -> None:
        if not text:
            return
        writer.message()
        if writer.params.output == "text":
            for word in words_of(text):
                writer.text(word)
                self._count(writer, tokens=len(word) / CHARACTERS_PER_TOKEN)
                await self._flush()
                await trio.sleep(_WORD_S)
            return
        pcm = await self._voice.say(text, AUDIO_RATE)
        manner = self._manner
        for step in spoken_steps(text, pcm, rate=AUDIO_RATE, chunk_ms=manner.chunk_ms, lead_ms=manner.lead_ms):
            match step:
                case Words(delta):
                    writer.transcript(delta)
                case Sound(sound, ms):
                    writer.audio(sound)
                    self._count(writer, audio_ms=ms)
                    await self._flush()
                    await trio.sleep(ms / 1000 / manner.pace)

    def _call(self, writer: ResponseWriter, call: PlannedCall) -> None:
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        for call_id, name, text in odd_calls(self._faults, self._member, call.name, arguments, self._ids):
            writer.tool_call(name, text, call_id)
            self._count(writer, tokens=len(text) / CHARACTERS_PER_TOKEN)

    def _count(self, writer: ResponseWriter, *, tokens: float = 0, audio_ms: float = 0) -> None:
        """Keep the usage up to date, so that a response that is cut off reports what it had made."""
        spoken = max(1, round(audio_ms / _MS_PER_AUDIO_TOKEN)) if audio_ms else 0
        usage = writer.usage or Usage()
        writer.usage = evolve(
            usage,
            output_tokens=usage.output_tokens + spoken + max(1, round(tokens)) * bool(tokens),
            output_audio_tokens=usage.output_audio_tokens + spoken,
        )


def _within(reply: Reply, limit: object) -> tuple[Reply, bool]:
    """The reply cut to `max_output_tokens`, and whether that is all of it."""
    if not isinstance(limit, int) or len(reply.say) <= limit * CHARACTERS_PER_TOKEN:
        return reply, True
    return Reply(reply.say[: limit * CHARACTERS_PER_TOKEN]), False


def _in_two(text: str) -> list[str]:
    """A text as two: at a sentence where there is one, else at a word."""
    parts = [sentence.text for sentence in sentences(text)]
    if len(parts) < 2:
        parts = [word.strip() for word in words_of(text)]
    return [" ".join(parts[: len(parts) // 2]), " ".join(parts[len(parts) // 2 :])]


def _with_two_calls(reply: Reply, tools: Sequence[ToolSchema]) -> Reply:
    """A message and two calls, the planned one first; without tools the reply stays as it is."""
    planned = {call.name for call in reply.calls}
    said = [value for call in reply.calls for value in call.arguments.values() if isinstance(value, str)]
    words = said[0] if said else reply.say
    others = [tool for tool in tools if tool.name not in planned] or list(tools)
    calls = [*reply.calls, *(PlannedCall(tool.name, fill_arguments(tool, words)[0]) for tool in (*others, *others))][:2]
    return Reply(reply.say or "One moment.", tuple(calls)) if tools else reply
