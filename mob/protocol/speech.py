"""Speech as it leaves on the live socket: a binary frame with a small header, or JSON that is written by hand. Pure.

The header is little-endian, as the samples are:

    offset  size
    0       1     version, 1
    1       1     length of the item id in bytes, i
    2       1     length of the response id in bytes, r
    3       1     0
    4       4     number of the event, unsigned
    8       4     epoch, unsigned
    12      4     where this piece starts in its item, ms, unsigned
    16      8     seconds on the server's clock, a double
    24      i     item id, UTF-8
    24+i    r     response id, UTF-8
    24+i+r  0/1   a zero byte when i+r is odd, so that samples begin at an even offset
            …     PCM16 mono at the channel's output rate

Nothing of the samples is looked at. A piece whose ids or numbers do not fit into the header goes as JSON.
"""

from __future__ import annotations

import functools
import json
import math
import struct

from mob.errors import WireError
from mob.live.events import AudioDelta
from mob.providers.openai_realtime.base64audio import encode_base64

VERSION = 1
_HEADER = struct.Struct("<BBBBIIId")
_MOST = 2**32


def pack_audio(event: AudioDelta, seq: int) -> bytes | None:
    """The piece as a binary frame; None when it does not fit into one."""
    names, lengths = _ids(event.item_id, event.response_id)
    if names is None or seq >= _MOST or event.start_ms >= _MOST:
        return None
    return b"".join((_HEADER.pack(VERSION, *lengths, 0, seq, event.epoch, event.start_ms, event.t), names, event.pcm))


def unpack_audio(frame: bytes, channel_id: str) -> tuple[int, AudioDelta]:
    """The number and the piece. WireError with the offset of what is wrong."""
    if len(frame) < _HEADER.size:
        raise WireError(f"a binary frame of {len(frame)} bytes has no whole header", offset=len(frame))
    version, item_length, response_length, reserved, seq, epoch, start_ms, t = _HEADER.unpack_from(frame)
    if version != VERSION or reserved:
        raise WireError(f"a binary frame of version {version}.{reserved}; {VERSION}.0 is known here", offset=0)
    middle, end = _HEADER.size + item_length, _HEADER.size + item_length + response_length
    begin = end + end % 2
    if len(frame) < begin:
        raise WireError("a binary frame ends in the middle of its header", offset=len(frame))
    if (len(frame) - begin) % 2:
        raise WireError("a binary frame ends in the middle of a sample", offset=len(frame))
    if not math.isfinite(t):
        raise WireError("the time in a binary frame has no end", offset=16)
    try:
        item_id, response_id = frame[_HEADER.size : middle].decode(), frame[middle:end].decode()
    except UnicodeDecodeError:
        raise WireError("an id in a binary frame is not UTF-8", offset=_HEADER.size) from None
    pcm = frame[begin:]
    return seq, AudioDelta(
        channel_id=channel_id,
        epoch=epoch,
        t=t,
        item_id=item_id,
        response_id=response_id,
        pcm=pcm,
        start_ms=start_ms,
    )


def write_audio(event: AudioDelta, rate: int, seq: int | None) -> str:
    """The piece as `assistant_audio_chunk`; with its number, time and place when `seq` is given."""
    chunk = (
        f'{{"observation":"assistant_audio_chunk","data":"{encode_base64(event.pcm)}","sample_rate_hz":{rate},'
        f'"channels":1,"item_id":{_quoted(event.item_id)},"response_id":{_quoted(event.response_id)},"content_index":0'
    )
    if seq is None:
        return chunk + "}"
    return f'{chunk},"start_ms":{event.start_ms},"seq":{seq},"t":{event.t!r},"epoch":{event.epoch}}}'


@functools.lru_cache(256)
def _ids(item_id: str, response_id: str) -> tuple[bytes | None, tuple[int, int]]:
    item, response = (name.encode("utf-8", "surrogatepass") for name in (item_id, response_id))
    if max(len(item), len(response)) > 255:
        return None, (0, 0)
    return item + response + b"\0" * ((len(item) + len(response)) % 2), (len(item), len(response))


@functools.lru_cache(256)
def _quoted(name: str) -> str:
    return json.dumps(name)
