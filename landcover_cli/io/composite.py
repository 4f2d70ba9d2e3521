"""Composites of one tile and period, block by block: all looks and all bands of a block, then its final chunk.

What is held grows with the block, not with the number of looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from landcover_cli.composites import Composite
from landcover_cli.core.types import MASK_CLEAR, MASK_NODATA
from landcover_cli.io.cubestore import CubeSpec, CubeWriter
from landcover_cli.io.observation import ObservationReader, open_observation
from landcover_cli.io.ongrid import Bounds, Lattice, intersect
from landcover_cli.io.raster import gdal_env
from landcover_cli.io.stack import Stack, StackDate, StackReader
from landcover_cli.io.static import StaticSettings, read_static

BLOCK_PX = 512


class Look(Protocol):
    """One look at the ground, readable by window. Looks of one group count once."""

    group: str

    def mask(self, lattice: Lattice) -> np.ndarray:
        """Mask codes (y, x)."""

    def data(self, lattice: Lattice) -> np.ndarray:
        """Stored values (band, y, x)."""


class ObservationLook:
    """A look from an observation folder."""

    def __init__(self, reader: ObservationReader) -> None:
        self._reader = reader
        self.group = reader.about.group

    def mask(self, lattice: Lattice) -> np.ndarray:
        """Mask codes (y, x)."""
        if intersect(self._reader.about.bounds_m, lattice.bounds_m) is None:
            return np.zeros(lattice.shape_yx, np.uint8)
        return self._reader.mask(lattice)

    def data(self, lattice: Lattice) -> np.ndarray:
        """Stored values (band, y, x)."""
        return self._reader.data(lattice)


class StackLook:
    """A look from a ready-made series."""

    def __init__(self, reader: StackReader, date: StackDate) -> None:
        self._reader, self._date = reader, date
        self._last: tuple[Lattice, np.ndarray] | None = None
        # Adjoining slices of one pass have times seconds apart and share no ground: each is a group of its own.
        self.group = f"{date.when.isoformat()} {date.parts}"

    def mask(self, lattice: Lattice) -> np.ndarray:
        """Mask codes (y, x)."""
        # Validity comes from the values, so both are read; `data` follows on the same lattice.
        values, codes = self._reader.read(self._date, lattice)
        self._last = (lattice, values)
        return codes

    def data(self, lattice: Lattice) -> np.ndarray:
        """Stored values (band, y, x)."""
        if self._last is None or self._last[0] != lattice:
            return self._reader.read(self._date, lattice)[0]
        return self._last[1]


def write_composite(
    path: Path,
    spec: CubeSpec,
    reducer: Callable[[int, tuple[int, int], str], Any],
    looks: Sequence[Sequence[Look]],
    check: Callable[[], None] = lambda: None,
) -> None:
    """Write the composites of all periods of a cube.

    Args:
        path: New ``cube.zarr``.
        spec: What is written.
        reducer: Composite plug-in: ``reducer(bands, shape_yx, dtype)``.
        looks: Per period, the looks in the order in which they are fed.
        check: Called per block; raises to stop.
    """
    writer = CubeWriter(path, spec)
    for t, of_period in enumerate(looks):
        if not of_period:
            continue  # chunks that are not there read as invalid
        for y0, x0, block in blocks(spec.lattice):
            check()
            result = reduce_block(block, len(spec.bands), spec.dtype, reducer, of_period)
            writer.write(t, y0, x0, result.data_byx, result.valid_yx, result.n_clear_yx, result.n_obs_yx)
    writer.close()


def blocks(lattice: Lattice) -> Iterator[tuple[int, int, Lattice]]:
    """Blocks of a lattice: (first row, first column, block)."""
    height, width = lattice.shape_yx
    left, _, _, top = lattice.bounds_m
    gsd_m = lattice.gsd_m
    for y0 in range(0, height, BLOCK_PX):
        for x0 in range(0, width, BLOCK_PX):
            y1, x1 = min(y0 + BLOCK_PX, height), min(x0 + BLOCK_PX, width)
            bounds = (left + x0 * gsd_m, top - y1 * gsd_m, left + x1 * gsd_m, top - y0 * gsd_m)
            yield y0, x0, Lattice(lattice.crs, gsd_m, bounds)


def reduce_block(
    block: Lattice,
    bands: int,
    dtype: str,
    reducer: Callable[[int, tuple[int, int], str], Any],
    looks: Iterable[Look],
) -> Composite:
    """The composite of one block. Looks of one group must follow each other."""
    state = reducer(bands, block.shape_yx, dtype)
    pending: tuple[str, np.ndarray, np.ndarray] | None = None
    for look in looks:
        mask = look.mask(block)
        if not (mask != MASK_NODATA).any():
            continue
        # A look without a clear pixel still counts as seen, but its bands need not be decoded.
        clear = (mask == MASK_CLEAR).any()
        data = look.data(block) if clear else np.zeros((bands, *block.shape_yx), dtype)
        if pending and pending[0] == look.group:
            pending = (look.group, *_join(pending[1], pending[2], data, mask))
            continue
        if pending:
            state.feed(pending[1], pending[2])
        pending = (look.group, data, mask)
    if pending:
        state.feed(pending[1], pending[2])
    result: Composite = state.result()
    return result


def _join(data: np.ndarray, mask: np.ndarray, more: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two overlapping tiles of one datatake as one look: the first clear value wins, then the first code."""
    take = (mask != MASK_CLEAR) & (codes == MASK_CLEAR)
    joined = np.where(take, more, data)
    return joined, np.where(take | (mask == MASK_NODATA), codes, mask)


def composite_observations(
    folders: Sequence[Path], path: Path, spec: CubeSpec, reducer: Any, check: Callable[[], None] = lambda: None
) -> None:
    """Composite observation folders into a cube, each into the period that its date falls in."""
    with gdal_env(), ExitStack() as stack:
        readers = [stack.enter_context(open_observation(folder)) for folder in folders]
        # Group first among what one day saw, so that looks of one group follow each other.
        readers.sort(key=lambda r: (r.about.when.date(), r.about.group, r.about.when, r.about.id))
        per_period = [[ObservationLook(r) for r in readers if period.contains(r.about.when)] for period in spec.periods]
        write_composite(path, spec, reducer, per_period, check)


def composite_stack(
    stack: Stack, path: Path, spec: CubeSpec, reducer: Any, check: Callable[[], None] = lambda: None
) -> None:
    """Composite a ready-made series into a cube."""
    with gdal_env(), StackReader(stack) as reader:
        per_period = [
            [StackLook(reader, date) for date in stack.within(period, spec.bounds_m, spec.crs)]
            for period in spec.periods
        ]
        write_composite(path, spec, reducer, per_period, check)


def composite_static(
    files: Sequence[Path], path: Path, spec: CubeSpec, settings: StaticSettings, check: Callable[[], None]
) -> None:
    """Write static layers as a cube of one time without a period."""
    writer = CubeWriter(path, spec)
    for y0, x0, block in blocks(spec.lattice):
        check()
        data = read_static(files, block, settings)
        valid = np.isfinite(data).all(axis=0)
        count = valid.astype(np.uint16)
        writer.write(0, y0, x0, np.where(valid, data, np.float32(np.nan)), valid, count, count)
    writer.close()


__all__ = ["Bounds", "composite_observations", "composite_stack", "composite_static", "write_composite"]
