"""Whether a TIFF file is as long as its own structure says, without decoding a pixel.

Readers of TIFF drop a tag whose value lies beyond the end of the file with a warning that nobody sees: a file that lost
its last bytes may open without its nodata value. Layout: TIFF 6.0, section 2; BigTIFF differs in the width of counts
and offsets.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_UNSIGNED = {3: "u2", 4: "u4", 16: "u8"}
_EXTENTS = ((273, 279), (324, 325))
"""Tags with offsets and byte counts of strips and of tiles."""
_MAX_DIRECTORIES = 65_536
_MAX_VALUE_BYTES = 256 * 1024**2


def is_tiff(head: bytes) -> bool:
    """Whether a file starts as a TIFF or BigTIFF does."""
    return head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}


def tiff_is_whole(stream: Any, size: int) -> bool:
    """Whether all directories, values, strips and tiles of a TIFF lie within the file.

    Args:
        stream: Seekable binary stream.
        size: Length of the file in bytes.
    """
    stream.seek(0)
    head = stream.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in {b"+\0", b"\0+"}
    try:
        (at,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
        if at == 0:
            return False  # a file that was begun and never closed has no directory yet
        seen: set[int] = set()
        while at and at not in seen and len(seen) < _MAX_DIRECTORIES:
            seen.add(at)
            at = _next_directory(stream, size, at, order, big)
    except (struct.error, EOFError):
        return False
    return True


def _next_directory(stream: Any, size: int, at: int, order: str, big: bool) -> int:
    """Check one directory; returns where the next one is.

    Raises:
        EOFError: Something of it lies beyond the end of the file.
    """
    count_form, entry_form, inline = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    (count,) = struct.unpack(order + count_form, _bytes(stream, size, at, struct.calcsize(order + count_form)))
    entry_bytes = struct.calcsize(order + entry_form) + inline
    start = at + struct.calcsize(order + count_form)
    block = _bytes(stream, size, start, count * entry_bytes + inline)
    arrays: dict[int, np.ndarray] = {}
    for index in range(count):
        tag, kind, number = struct.unpack_from(order + entry_form, block, index * entry_bytes)
        length = _SIZES.get(kind, 0) * number
        where = index * entry_bytes + entry_bytes - inline
        inside = block[where : where + inline]
        if length > inline:
            (offset,) = struct.unpack(order + ("Q" if big else "I"), inside)
            if offset + length > size:
                raise EOFError
        if kind in _UNSIGNED and any(tag in pair for pair in _EXTENTS):
            raw = inside[:length] if length <= inline else _bytes(stream, size, offset, length)
            arrays[tag] = np.frombuffer(raw, order + _UNSIGNED[kind]).astype(np.uint64)
    for offsets, lengths in _EXTENTS:
        if offsets in arrays and lengths in arrays and len(arrays[offsets]) == len(arrays[lengths]):
            ends = arrays[offsets] + arrays[lengths]
            if len(ends) and int(ends.max()) > size:
                raise EOFError
    (after,) = struct.unpack(order + ("Q" if big else "I"), block[-inline:])
    return int(after)


def _bytes(stream: Any, size: int, at: int, length: int) -> bytes:
    if at + length > size or length > _MAX_VALUE_BYTES:
        raise EOFError
    stream.seek(at)
    return bytes(stream.read(length))
