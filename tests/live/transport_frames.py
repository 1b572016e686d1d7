"""WebSocket frames by hand."""

import struct


def frame(opcode, payload=b"", *, fin=True, mask=None, rsv=0):
    """One frame; `mask` only says that there is one."""
    head = (0x80 if fin else 0) | rsv | opcode
    bit = 0x80 if mask else 0
    size = len(payload)
    if size < 126:
        header = struct.pack("!BB", head, bit | size)
    elif size < 65536:
        header = struct.pack("!BBH", head, bit | 126, size)
    else:
        header = struct.pack("!BBQ", head, bit | 127, size)
    return header + (mask or b"") + payload
