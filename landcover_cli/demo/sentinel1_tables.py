"""Calibration and noise tables of a simulated Sentinel-1 GRD, and their values at every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landcover_cli.demo.sentinel1_geometry import Geometry
from landcover_cli.demo.sentinel1_orbit import FloatArray
from landcover_cli.demo.sentinel1_ranges import LINE_INTERVAL_S

SWATHS = ("IW1", "IW2", "IW3")
# Incidence at the borders of the sub-swaths, from the geolocation grids and swath merging of real IW GRDH products.
_BORDERS_DEG = (29.0, 36.6, 41.9, 47.0)
CALIBRATION_CONSTANT = 1.393
# betaNought of real products of IPF 3.40.
_BETA_FACTOR = 473.9733
_NODE_PX = 40
_VECTOR_LINES = 167  # a quarter of a second; real products give one vector a second
_AZIMUTH_NODE_LINES = 20
_BURST_S = 2.75
_LOWEST_NESZ_DB = {"VV": -29.0, "VH": -29.6}
_EDGE_RISE_DB = 4.8


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration factors; the same in every line.

    Attributes:
        line: Lines of the vectors.
        pixel: Nodes.
        sigma0: Factors at the nodes: backscatter = DN² / factor².
        beta0: The same of beta nought.
        gamma0: The same of gamma nought.
        dn: The same of the digital number.
    """

    line: NDArray[np.int64]
    pixel: NDArray[np.int64]
    sigma0: FloatArray
    beta0: FloatArray
    gamma0: FloatArray
    dn: FloatArray


@dataclass(frozen=True, eq=False)
class AzimuthBlock:
    """Azimuth factor of the noise in one sub-swath (index into `SWATHS`), over all lines of the image."""

    swath: int
    first_pixel: int
    last_pixel: int
    line: NDArray[np.int64]
    factor: FloatArray


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise power on the scale of DN².

    Attributes:
        line: [V] lines of the range vectors.
        pixel: [N] nodes.
        power: [V, N] range vectors.
        blocks: Azimuth factors.
    """

    line: NDArray[np.int64]
    pixel: NDArray[np.int64]
    power: FloatArray
    blocks: tuple[AzimuthBlock, ...]

    def at_pixels(self, shape_yx: tuple[int, int]) -> FloatArray:
        """[lines, pixels] noise power: range vectors linear in pixel and line, times the azimuth factor."""
        lines, pixels = (np.arange(n, dtype=np.float64) for n in shape_yx)
        rows = np.stack([np.interp(pixels, self.pixel, vector) for vector in self.power])
        last = len(self.line) - 1
        low = np.clip(np.searchsorted(self.line, lines, side="right") - 1, 0, max(last - 1, 0))
        high = np.minimum(low + 1, last)
        share = (lines - self.line[low]) / np.maximum(self.line[high] - self.line[low], 1)
        out: FloatArray = rows[low] * (1.0 - share)[:, None] + rows[high] * share[:, None]
        for block in self.blocks:
            factor = np.interp(lines, block.line, block.factor)
            out[:, block.first_pixel : block.last_pixel + 1] *= factor[:, None]
        return out


def _nodes(count: int, step: int) -> NDArray[np.int64]:
    """0, step, 2·step … and the last one, as in real tables."""
    return np.unique(np.append(np.arange(0, count, step), count - 1))


def _printed(values: FloatArray) -> FloatArray:
    """What a reader gets back: seven digits."""
    return np.array([float(f"{v:.6e}") for v in values.ravel()]).reshape(values.shape)


def sub_swaths(geometry: Geometry) -> list[tuple[int, int, int]]:
    """(sub-swath, first pixel, last pixel) of every sub-swath in the image."""
    index = np.searchsorted(_BORDERS_DEG, geometry.incidence_deg, side="right") - 1
    index = np.clip(index, 0, len(SWATHS) - 1)
    return [(int(k), int(np.flatnonzero(index == k)[0]), int(np.flatnonzero(index == k)[-1])) for k in np.unique(index)]


def calibration(geometry: Geometry) -> Calibration:
    """Calibration tables for the image of a geometry."""
    pixel = _nodes(geometry.shape_yx[1], _NODE_PX)
    angle = np.radians(geometry.incidence_deg[pixel])
    beta = np.full(len(pixel), _BETA_FACTOR)
    return Calibration(
        line=_nodes(geometry.shape_yx[0], _VECTOR_LINES),
        pixel=pixel,
        sigma0=_printed(beta / np.sqrt(np.sin(angle))),
        beta0=_printed(beta),
        gamma0=_printed(beta / np.sqrt(np.tan(angle))),
        dn=_printed(beta / np.sqrt(CALIBRATION_CONSTANT)),
    )


def noise(geometry: Geometry, polarisation: str, table: Calibration) -> Noise:
    """Noise tables: noise-equivalent sigma nought of −29 dB in the middle of a sub-swath, −24 dB at its borders.

    The azimuth factor rises towards the ends of a burst, by the antenna's gain that the processor takes out; the range
    vectors drift by one per cent in a second, as in real products.
    """
    lines, pixels = geometry.shape_yx
    pixel = _nodes(pixels, _NODE_PX)
    angle = geometry.incidence_deg[pixel]
    swath = np.clip(np.searchsorted(_BORDERS_DEG, angle, side="right") - 1, 0, len(SWATHS) - 1)
    borders = np.array(_BORDERS_DEG)
    offset = (2.0 * angle - borders[swath] - borders[swath + 1]) / (borders[swath + 1] - borders[swath])
    nesz = 10.0 ** ((_LOWEST_NESZ_DB[polarisation] + _EDGE_RISE_DB * offset**2) / 10.0)
    line = _nodes(lines, _VECTOR_LINES)
    drift = 1.0 + 0.01 * line * LINE_INTERVAL_S
    blocks = []
    for k, first, last in sub_swaths(geometry):
        nodes = _nodes(lines, _AZIMUTH_NODE_LINES)
        phase = (geometry.line_s(nodes.astype(np.float64)) / _BURST_S + k / 3.0) % 1.0
        factor = 0.95 + 0.25 * (2.0 * phase - 1.0) ** 2
        blocks.append(AzimuthBlock(k, first, last, nodes, _printed(factor)))
    return Noise(line, pixel, _printed(drift[:, None] * (nesz * table.sigma0**2)), tuple(blocks))
