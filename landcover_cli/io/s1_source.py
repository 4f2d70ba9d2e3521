"""Calibrated Sentinel-1 images by line: what geocoding reads from, whatever product it is.

A source gives linear power by window. `LineFeed` reads it once, from top to bottom, and hands out filtered strips: each
line is decoded once, although a speckle filter looks beyond its strip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from landcover_cli.errors import InputError
from landcover_cli.io.safe_s1 import open_measurement
from landcover_cli.sar.border import (
    SIDES,
    BorderMask,
    Side,
    edge_windows,
    has_border_noise,
    join_strips,
    mask_strip,
    noise_scale,
)
from landcover_cli.sar.calibration import Radiometry, calibrate, prepare_radiometry
from landcover_cli.sar.noise import Denoise, noise_model, noise_power
from landcover_cli.sar.speckle import SceneReducer, SceneStatistics, SpeckleFilter, haloed
from landcover_cli.sar.types import Backscatter, S1Channel

Float32Array = NDArray[np.float32]

STRIP_LINES = 512


class IntensitySource(Protocol):
    """An image of linear power, read by window."""

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Lines and pixels."""
        ...

    def read(self, first_line: int, first_pixel: int, lines: int, pixels: int) -> Float32Array:
        """[lines, pixels] linear power of a window inside the image; NaN is nodata, noise may leave negatives."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class GrdSource:
    """One polarisation of a GRD: digital numbers, noise removed, calibrated, border masked.

    Attributes:
        channel: The channel.
        radiometry: Its tables.
        border: Border noise, None where the processor left none.
    """

    channel: S1Channel
    radiometry: Radiometry
    border: BorderMask | None

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Lines and pixels."""
        return self.channel.annotation.image.shape_yx

    def read(self, first_line: int, first_pixel: int, lines: int, pixels: int) -> Float32Array:
        """See `IntensitySource.read`.

        Raises:
            InputError: The measurement is missing or damaged.
        """
        with open_measurement(self.channel) as measurement:
            dn = measurement.read(first_line, first_pixel, lines, pixels)
        power = calibrate(dn, self.radiometry, first_line=first_line, first_pixel=first_pixel)
        if self.border is not None:
            power[self.border.window(first_line, first_pixel, (lines, pixels))] = np.nan
        return power


@dataclass(frozen=True, slots=True, eq=False)
class SliceStack:
    """Consecutive slices of one pass as one image; each is calibrated and freed from noise by its own tables.

    Attributes:
        slices: Sources from first to last.
        first_lines: Line of the assembled image at which each begins; where two overlap, the later one holds, and the
            earlier one where that is nodata.
        shape_yx: Lines and pixels of the assembled image.
    """

    slices: tuple[IntensitySource, ...]
    first_lines: tuple[int, ...]
    shape_yx: tuple[int, int]

    def read(self, first_line: int, first_pixel: int, lines: int, pixels: int) -> Float32Array:
        """See `IntensitySource.read`; NaN where no slice is."""
        out = np.full((lines, pixels), np.nan, dtype=np.float32)
        for source, start in zip(self.slices, self.first_lines, strict=True):
            top, bottom = max(first_line, start), min(first_line + lines, start + source.shape_yx[0])
            right = min(first_pixel + pixels, source.shape_yx[1])
            if top < bottom and first_pixel < right:
                part = source.read(top - start, first_pixel, bottom - top, right - first_pixel)
                target = out[top - first_line : bottom - first_line, : right - first_pixel]
                np.copyto(target, part, where=~np.isnan(part))
        return out


def grd_sources(
    channels: Sequence[S1Channel],
    *,
    backscatter: Backscatter = "beta0",
    denoise: Denoise = "auto",
    border_sides: Sequence[Side] = SIDES,
) -> dict[str, GrdSource]:
    """Sources of the polarisations of a GRD.

    Args:
        channels: Channels of one product, with measurements.
        backscatter: What to calibrate to; terrain flattening starts from "beta0".
        denoise: See `landcover_cli.sar.noise.noise_state`.
        border_sides: Edges on which border noise is sought; a slice leaves out its joints.

    Returns:
        {polarisation: source}; all share the border mask of the co-polar band.

    Raises:
        InputError: A measurement is missing or damaged, or noise vectors are.
    """
    border = border_mask(channels, border_sides)
    return {
        c.annotation.polarisation: GrdSource(c, prepare_radiometry(c, backscatter=backscatter, denoise=denoise), border)
        for c in channels
    }


def border_mask(channels: Sequence[S1Channel], sides: Sequence[Side] = SIDES) -> BorderMask | None:
    """Border noise of a product, from its co-polar band; None where the processor left none.

    Args:
        channels: Channels of one product.
        sides: Edges on which it is sought.

    Raises:
        InputError: No channel, or the co-polar measurement is damaged.
    """
    if not channels:
        raise InputError("no polarisation was asked for", remedy="choose at least one that the product holds")
    co_polar = min(channels, key=lambda c: c.annotation.polarisation[0] != c.annotation.polarisation[1])
    meta = co_polar.annotation.meta
    if not has_border_noise(meta):
        return None
    vectors = co_polar.noise.range_vectors
    model = noise_model(co_polar.annotation, co_polar.noise) if any(v.lut.any() for v in vectors) else None
    scale = noise_scale(meta, float(co_polar.calibration.vectors[0].dn[0]))
    masks: dict[Side, NDArray[np.bool_]] = {}
    with open_measurement(co_polar) as measurement:
        for side, (line, pixel, shape) in edge_windows(co_polar.annotation.image.shape_yx).items():
            if side not in sides:
                continue
            dn = measurement.read(line, pixel, *shape)
            noise = None if model is None else noise_power(model, line, pixel, shape)
            masks[side] = mask_strip(dn, noise, side, scale=scale)
    return join_strips(co_polar.annotation.image.shape_yx, masks)


def scene_statistics(source: IntensitySource, every: int = 4) -> SceneStatistics:
    """Looks and 98th percentile of a whole image, from every `every`-th strip, a rule of the image alone.

    Args:
        source: The image.
        every: One strip of `STRIP_LINES` in so many is read; the first always is.

    Returns:
        What some speckle filters need before they begin.
    """
    lines, pixels = source.shape_yx
    reducer = SceneReducer.empty()
    for first in range(0, lines, STRIP_LINES * every):
        count = min(STRIP_LINES, lines - first)
        strip = source.read(first, 0, count, pixels)
        reducer = reducer.feed(haloed(strip, slice(0, count), slice(0, pixels), reducer.halo_px))
    return reducer.result()


class LineFeed:
    """Filtered strips of one source, from top to bottom; a strip is `STRIP_LINES` lines, counted from line 0.

    Attributes:
        window: (first pixel, end) of the pixels that are handed out.
    """

    def __init__(self, source: IntensitySource, window: tuple[int, int], speckle: SpeckleFilter | None) -> None:
        self.window = window
        self._source = source
        self._speckle = speckle
        self._halo = speckle.halo_px if speckle is not None else 0
        # Pixels beyond the window that the filter looks at; the image's own edge is NaN to it.
        self._left = max(0, window[0] - self._halo)
        self._right = min(source.shape_yx[1], window[1] + self._halo)
        self._raw: dict[int, Float32Array] = {}

    def strip(self, index: int) -> Float32Array:
        """[lines, window] filtered power of a strip. Ask in increasing order: earlier strips are forgotten."""
        lines = self._source.shape_yx[0]
        first = index * STRIP_LINES
        end = min(first + STRIP_LINES, lines)
        if self._speckle is None:
            return self._read(index)
        top, bottom = max(0, first - self._halo), min(lines, end + self._halo)
        for k in range(top // STRIP_LINES, (bottom - 1) // STRIP_LINES + 1):
            if k not in self._raw:
                self._raw[k] = self._read(k)
        for k in [k for k in self._raw if k < index - 1]:
            del self._raw[k]
        parts = [
            self._raw[k][max(top - k * STRIP_LINES, 0) : bottom - k * STRIP_LINES]
            for k in range(top // STRIP_LINES, (bottom - 1) // STRIP_LINES + 1)
        ]
        rows = slice(first - top, end - top)
        columns = slice(self.window[0] - self._left, self.window[1] - self._left)
        return self._speckle.apply(haloed(np.concatenate(parts), rows, columns, self._halo))

    def _read(self, index: int) -> Float32Array:
        first = index * STRIP_LINES
        lines = min(STRIP_LINES, self._source.shape_yx[0] - first)
        return self._source.read(first, self._left, lines, self._right - self._left)


def prepared(speckle: SpeckleFilter | None, sources: Mapping[str, IntensitySource]) -> dict[str, SpeckleFilter | None]:
    """The filter of each polarisation, with the values of its scene bound where it needs them.

    Args:
        speckle: A filter, or None.
        sources: {polarisation: source}.
    """
    if speckle is None or not (speckle.needs_scene or speckle.looks is None):
        return dict.fromkeys(sources, speckle)
    return {name: speckle.prepare(scene_statistics(source)) for name, source in sources.items()}
