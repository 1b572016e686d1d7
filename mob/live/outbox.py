"""What the socket has not taken yet: audio drops oldest first and is counted, control never drops.

Messages leave in the order in which they came, whatever was dropped between them. The bounds are those of the
channel's limits, and four of its largest frames for the bytes of control.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from attrs import frozen

from mob.live.ports import ChannelLimits


@frozen(slots=True)
class Message:
    """A whole message that waits: UTF-8 bytes when it is `text`."""

    payload: bytes
    text: bool
    audio: bool


class Outbox:
    """A bounded queue of messages."""

    def __init__(self, limits: ChannelLimits) -> None:
        self._max_audio_bytes = limits.max_audio_buffer_bytes
        self._max_control_frames = limits.max_control_frames
        self._max_control_bytes = 4 * limits.max_frame_bytes
        self._messages: OrderedDict[int, Message] = OrderedDict()
        self._audio: deque[int] = deque()
        self._number = 0
        self._control_bytes = 0
        self.audio_bytes = 0
        self.dropped = 0
        self.dropped_bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def control_frames(self) -> int:
        """How many messages wait that may not be dropped."""
        return len(self._messages) - len(self._audio)

    @property
    def overflow(self) -> str | None:
        """What there is too much of, in words; None while the bounds hold."""
        if self.control_frames > self._max_control_frames:
            return f"more than {self._max_control_frames} control messages wait for a slow peer"
        if self._control_bytes > self._max_control_bytes:
            return f"more than {self._max_control_bytes} bytes of control messages wait for a slow peer"
        return None

    def put(self, message: Message) -> None:
        """Let a message wait; older audio makes room for audio. Look at `overflow` afterwards."""
        self._number += 1
        self._messages[self._number] = message
        if not message.audio:
            self._control_bytes += len(message.payload)
            return
        self._audio.append(self._number)
        self.audio_bytes += len(message.payload)
        while self.audio_bytes > self._max_audio_bytes:
            self._drop_oldest_audio()

    def take(self, max_bytes: int) -> list[Message]:
        """The oldest messages, until they come to this many bytes; all later ones can still be dropped."""
        taken: list[Message] = []
        size = 0
        while self._messages and size < max_bytes:
            _, message = self._messages.popitem(last=False)
            taken.append(message)
            size += len(message.payload)
            if message.audio:
                self._audio.popleft()
                self.audio_bytes -= len(message.payload)
            else:
                self._control_bytes -= len(message.payload)
        return taken

    def drop_audio(self) -> None:
        """Drop all the audio that waits."""
        while self._audio:
            self._drop_oldest_audio()

    def clear(self) -> None:
        """Forget everything: there is nobody to send it to."""
        self._messages.clear()
        self._audio.clear()
        self.audio_bytes = self._control_bytes = 0

    def _drop_oldest_audio(self) -> None:
        message = self._messages.pop(self._audio.popleft())
        self.audio_bytes -= len(message.payload)
        self.dropped += 1
        self.dropped_bytes += len(message.payload)
