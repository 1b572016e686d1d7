"""The way out of the server role: every event is written here, gets its id here, and waits here to be sent.

This is also the one seam for a peer that misbehaves on purpose. `rewrite` sees each event as a dict before it is
written and gives the events to write instead: none (drop it), the same twice, one with fields changed, others around
it. `EmissionOptions` picks among the orders that the reference calls legal. Neither is known to the rest of the role.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import frozen

from mob.providers.frames import JsonObject, dump_frame
from mob.providers.openai_realtime.base64audio import encode_base64
from mob.providers.openai_realtime.names import AUDIO_DELTA

Rewrite = Callable[[JsonObject], Iterable[JsonObject]]


@frozen(slots=True)
class EmissionOptions:
    """Orders that occur among real servers, and the one habit of real servers that is in no order at all.

    `transcript_done_first`: `output_audio_transcript.done` before `output_audio.done`.
    `output_item_done_first`: `response.output_item.done` before `conversation.item.done`.
    `deltas_after_end`: a writer goes on writing deltas after its response has ended, as when sound was on its way
    while the response was cancelled.
    """

    transcript_done_first: bool = False
    output_item_done_first: bool = False
    deltas_after_end: bool = False


class Outbox:
    """Events on their way out, as text frames in order."""

    def __init__(self, *, event_prefix: str, rewrite: Rewrite | None = None) -> None:
        self._prefix = event_prefix
        self._rewrite = rewrite
        self._sequence = 0
        self._frames: list[str] = []
        self.frames_out = 0
        self.audio_bytes = 0

    def emit(self, kind: str, **fields: object) -> None:
        """Write one event."""
        event: JsonObject = {"type": kind, "event_id": self._next_id(), **fields}
        written = (event,) if self._rewrite is None else self._rewrite(event)
        self._frames.extend(dump_frame(each) for each in written)

    def error(
        self,
        code: str,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        ref: str | None = None,
    ) -> None:
        """Write an `error` event. `ref` is the `event_id` of the client event that is to blame."""
        self.emit("error", error={"type": kind, "code": code, "message": message, "param": param, "event_id": ref})

    def audio(self, head: AudioHead, pcm: bytes) -> None:
        """Write one audio delta: by template, since this is most of what a server says."""
        self.audio_bytes += len(pcm)
        payload = encode_base64(pcm)
        if self._rewrite is None:
            self._frames.append(f'{AUDIO_OPENING}{self._next_id()}{head.text}{payload}"}}')
        else:
            self.emit(AUDIO_DELTA, **head.fields, delta=payload)

    def drain(self) -> list[str]:
        """Take everything that waits."""
        frames, self._frames = self._frames, []
        self.frames_out += len(frames)
        return frames

    def _next_id(self) -> str:
        self._sequence += 1
        return f"{self._prefix}{self._sequence}"


AUDIO_OPENING = f'{{"type":"{AUDIO_DELTA}","event_id":"'


class AudioHead:
    """What is the same in every audio delta of one content part, put together once.

    The ids are ours (plain characters), so that nothing in the template needs escaping.
    """

    __slots__ = ("fields", "text")

    def __init__(self, response_id: str, item_id: str, output_index: int, content_index: int) -> None:
        self.fields: dict[str, object] = {
            "response_id": response_id,
            "item_id": item_id,
            "output_index": output_index,
            "content_index": content_index,
        }
        self.text = (
            f'","response_id":"{response_id}","item_id":"{item_id}"'
            f',"output_index":{output_index},"content_index":{content_index},"delta":"'
        )
