"""Audio events, told apart by their literal head so that their payload can be sliced instead of parsed.

Nine frames of ten are audio, and parsing one as JSON costs several times more than decoding its sound. The rule that
keeps this honest: the quick way recognises exactly one spelling (this key order, no blanks, no escapes, ids of plain
characters, padded standard base64, nothing after the payload) and says None to everything else, which then goes the
full, validating way. Both ways give the same event; a property test holds them to it.
"""

from __future__ import annotations

import re

from mob.providers.events import AgentAudio
from mob.providers.frames import MAX_FRAME_BYTES
from mob.providers.openai_realtime.base64audio import decode_standard
from mob.providers.openai_realtime.names import MAX_APPEND_BYTES

_DELTA_HEAD = (
    r'\{"type":"response\.(?:output_)?audio\.delta","event_id":"[A-Za-z0-9_-]{0,128}"'
    r',"response_id":"([A-Za-z0-9_-]{1,128})","item_id":"([A-Za-z0-9_-]{1,128})"'
    r',"output_index":(?:0|[1-9][0-9]{0,5}),"content_index":(0|[1-9][0-9]{0,5}),"delta":"'
)
_DELTA_TEXT = re.compile(_DELTA_HEAD)
_DELTA_BYTES = re.compile(_DELTA_HEAD.encode())

_APPEND_TEXT = '{"type":"input_audio_buffer.append","audio":"'
_APPEND_BYTES = _APPEND_TEXT.encode()


def quick_audio_delta(frame: str | bytes) -> AgentAudio | None:
    """The audio of a `response.output_audio.delta` in its usual spelling, else None."""
    if len(frame) > MAX_FRAME_BYTES:
        return None
    if isinstance(frame, bytes):
        head = _DELTA_BYTES.match(frame)
        if head is None or frame[-2:] != b'"}' or head.end() > len(frame) - 2:
            return None
        response_id, item_id, index = head.groups()
        pcm = decode_standard(frame[head.end() : -2])
        if pcm is None or len(pcm) % 2:
            return None
        return AgentAudio(response_id.decode(), item_id.decode(), pcm, int(index))
    found = _DELTA_TEXT.match(frame)
    if found is None or frame[-2:] != '"}' or found.end() > len(frame) - 2:
        return None
    pcm = decode_standard(frame[found.end() : -2])
    if pcm is None or len(pcm) % 2:
        return None
    return AgentAudio(found[1], found[2], pcm, int(found[3]))


def quick_append(frame: str | bytes) -> bytes | None:
    """The bytes of an `input_audio_buffer.append` in its usual spelling and without event_id, else None."""
    if not len(_APPEND_TEXT) + 2 <= len(frame) <= MAX_APPEND_BYTES:
        return None
    if isinstance(frame, bytes):
        usual = frame.startswith(_APPEND_BYTES) and frame[-2:] == b'"}'
    else:
        usual = frame.startswith(_APPEND_TEXT) and frame[-2:] == '"}'
    return decode_standard(frame[len(_APPEND_TEXT) : -2]) if usual else None
