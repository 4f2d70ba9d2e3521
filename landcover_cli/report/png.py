"""Pictures as PNG (ISO/IEC 15948): nothing in the file but pixels, so that the same pixels have the same bytes."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np

# Anchors of two ramps, dark to light, readable with any colour vision.
RAMPS = {
    "confidence": ("#2b1a4a", "#35558a", "#2f8f8a", "#7cc46b", "#f6e75a"),
    "validity": ("#7a1f2b", "#c9623c", "#efc66b", "#8fb9a8", "#2f5f8a"),
}


def class_png(index_yx: np.ndarray, rgb: Sequence[tuple[int, int, int]]) -> bytes:
    """A picture of class indices in the legend's colours; what is no class is transparent."""
    table = np.zeros((len(rgb) + 1, 4), np.uint8)
    table[:-1, :3] = np.array(rgb, np.uint8).reshape(-1, 3)
    table[:-1, 3] = 255
    return rgba_png(table[np.minimum(index_yx.astype(np.int64), len(rgb))])


def ramp_png(values_yx: np.ndarray, valid_yx: np.ndarray, low: float, high: float, ramp: str) -> bytes:
    """A picture of values between `low` and `high` on a ramp; what is not valid is transparent."""
    span = high - low if high > low else 1.0
    share = np.clip((values_yx.astype(np.float64) - low) / span, 0, 1)
    anchors = np.array([_rgb(color) for color in RAMPS[ramp]], np.float64)
    at = np.linspace(0, 1, len(anchors))
    out = np.zeros((*values_yx.shape, 4), np.uint8)
    for channel in range(3):
        out[..., channel] = np.rint(np.interp(share, at, anchors[:, channel]))
    out[..., 3] = np.where(valid_yx, 255, 0)
    out[~valid_yx] = 0
    return rgba_png(out)


def rgba_png(rgba_yxc: np.ndarray) -> bytes:
    """Encode ``[y, x, 4]`` uint8."""
    height, width = rgba_yxc.shape[:2]
    rows = np.zeros((height, 1 + width * 4), np.uint8)  # filter type 0 before each row
    rows[:, 1:] = rgba_yxc.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def data_uri(png: bytes) -> str:
    """The picture as an address that needs no file and no network."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
