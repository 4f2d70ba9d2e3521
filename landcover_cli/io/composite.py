"""Composites: one task is one block of one period, with all its looks and all bands, up to its final chunks.

A task reads the masks of its looks, skips the bands of a look that has nothing clear, feeds what is left to the method
and writes chunks that no other task touches. What is held grows with the block, not with the area and, where the method
allows, not with the number of looks. The same bytes come out of every block size and every executor.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landcover_cli.composites import Composite, Frame, Look, Reduction
from landcover_cli.compute import Executor, SerialExecutor
from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.io.cubestore import CHUNK_PX, CubeSpec, CubeWriter
from landcover_cli.io.looks import Handles, LookReader, LookSource, observation_sources
from landcover_cli.io.ongrid import Lattice
from landcover_cli.io.raster import gdal_env
from landcover_cli.optical.indices import Index, resolve_indices
from landcover_cli.registry import load, names

if TYPE_CHECKING:
    from landcover_cli.io.stack import Stack
    from landcover_cli.io.static import StaticSettings

BLOCK_PX = 512
_LARGEST_PX = 1024
_MOST_CACHE = 256 * 1024**2


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs to make any block of a cube.

    Attributes:
        path: The cube, created already.
        spec: What it holds.
        method: Composite plug-in.
        looks: Per period, the looks in the order in which they are fed; those of one group follow each other.
        block_px: Edge of a block, a multiple of `CHUNK_PX`.
        cache_bytes: For decoded tiles that blocks share.
        coverage: Per period, share of clear pixels of each group over the cube; empty where the method does not ask.
        read: What the looks hold, where that is not what is written.
        indices: Spectral indices of the composite, written as further bands.
    """

    path: Path
    spec: CubeSpec
    method: str
    looks: tuple[tuple[LookSource, ...], ...]
    block_px: int = BLOCK_PX
    cache_bytes: int = 128 * 1024**2
    coverage: tuple[tuple[float, ...], ...] = ()
    read: CubeSpec | None = None
    indices: tuple[Index, ...] = ()

    def tasks(self) -> list[tuple[int, int, int]]:
        """(period, first row, first column) of every block of every period that has a look."""
        height, width = self.spec.lattice.shape_yx
        size = self.block_px
        return [
            (t, y0, x0)
            for t, looks in enumerate(self.looks)
            if looks  # chunks that are not there read as invalid
            for y0, x0 in _near_each_other(-(-height // size), -(-width // size), size)
        ]

    @property
    def frame(self) -> Frame:
        """What a block is, but for its shape and period."""
        spec = self.read or self.spec
        return Frame(spec.bands, (0, 0), spec.dtype, spec.scale, spec.offset, band_roles(spec))


def _near_each_other(rows: int, cols: int, size: int) -> list[tuple[int, int]]:
    """First pixels of blocks in Morton's order: blocks that share tiles of the scenes follow each other closely."""

    def morton(row: int, col: int) -> int:
        return sum(((row >> bit & 1) << (2 * bit + 1)) | ((col >> bit & 1) << (2 * bit)) for bit in range(20))

    order = sorted((morton(row, col), row, col) for row in range(rows) for col in range(cols))
    return [(row * size, col * size) for _, row, col in order]


class _Opened:
    """What the blocks of one job share within a process."""

    def __init__(self, job: Job, writer: CubeWriter) -> None:
        self.job = job
        self.frame = job.frame
        self.reduction: type[Reduction] = load("composite", job.method)
        self.writer = writer
        self.handles = Handles([source for looks in job.looks for source in looks], job.cache_bytes)
        self._groups: list[list[tuple[str, list[tuple[int, LookSource]]]]] = []
        first = 0
        for looks in job.looks:
            numbered = enumerate(looks, start=first)
            self._groups.append([(g, list(of)) for g, of in groupby(numbered, key=lambda item: item[1].group)])
            first += len(looks)

    def groups(self, t: int) -> list[tuple[dt.date, list[int]]]:
        """Looks of a period that count once, by their positions among all looks."""
        return [(of[0][1].when.date(), [index for index, _ in of]) for _, of in self._groups[t]]


def band_roles(spec: CubeSpec) -> dict[str, int]:
    """Common names (``red``, ``nir``, …) of the bands of a cube, by the sensor's own list of aliases.

    A sensor that a file describes is no plug-in; its bands may be called by their common names.
    """
    if not spec.sensor:
        return {}
    bands = load("sensor", spec.sensor).bands if spec.sensor in names("sensor") else ()
    roles: dict[str, int] = {} if bands else {name.lower(): k for k, name in enumerate(spec.bands)}
    for band in bands:
        if band.name in spec.bands:
            for alias in band.aliases:
                roles.setdefault(alias, spec.bands.index(band.name))
    if "nir" not in roles and "nir08" in roles:
        roles["nir"] = roles["nir08"]
    return roles


def cube_layers(method: str) -> tuple[str, ...]:
    """Further variables that a composite method writes."""
    return ("doy",) if load("composite", method).CHOOSES else ()


def with_indices(job: Job, names: Sequence[str]) -> Job:
    """The job that also writes spectral indices: a cube of physical values in float32.

    Raises:
        ConfigError: No such index, or the source lacks a band for it.
    """
    if not names:
        return job
    spec = job.spec
    indices = resolve_indices(names, spec.bands, band_roles(spec))
    facts = {index.name: {"formula": index.formula, "reference": index.reference} for index in indices}
    written = replace(
        spec,
        bands=(*spec.bands, *names),
        dtype="float32",
        units=spec.units.removesuffix("_dn"),
        scale=1.0,
        offset=0.0,
        attrs={**spec.attrs, "indices": facts},
    )
    return replace(job, spec=written, read=spec, indices=indices)


def fit_memory(job: Job, memory_bytes: int, workers: int) -> tuple[Job, int]:
    """Block size, tile cache and number of workers for a working memory; none changes a byte.

    Args:
        job: What to write.
        memory_bytes: Of all workers together.
        workers: Wanted.

    Returns:
        The job with its block size and cache, and how many workers fit. Where not even the smallest block fits, that
        block and one worker.
    """
    spec, reduction = job.read or job.spec, load("composite", job.method)
    looks = max((len(of) for of in job.looks), default=0)
    per_pixel = reduction.bytes_per_pixel(len(spec.bands), np.dtype(spec.dtype).itemsize, looks)
    if job.indices:
        per_pixel += 16 * len(job.spec.bands)
    cache = min(memory_bytes // 4, _MOST_CACHE)
    room = memory_bytes - cache
    while True:
        edge = _LARGEST_PX
        while edge > CHUNK_PX and workers * per_pixel * edge**2 > room:
            edge //= 2
        if workers == 1 or workers * per_pixel * edge**2 <= room:
            return replace(job, block_px=edge, cache_bytes=cache), workers
        workers -= 1


def write_composite(job: Job, executor: Executor | None = None, check: Callable[[], None] = lambda: None) -> None:
    """Write the composites of all periods of a cube.

    Args:
        job: What to write; ``job.path`` is created.
        executor: Runs the blocks; default: here, one after the other.
        check: Called between blocks; raises to stop.
    """
    writer = CubeWriter(job.path, job.spec)
    load("composite", job.method).require(job.frame.roles)
    how = executor or SerialExecutor()
    opened = _Opened(job, writer)
    try:
        if opened.reduction.COVERAGE:
            opened.job = job = replace(job, coverage=_coverage(opened, check))
        work = partial(_write_block, opened) if how.in_process else partial(_write_block_elsewhere, job)
        for outcome in how.run(work, job.tasks()):
            check()
            if outcome.error is not None:
                raise outcome.error
    finally:
        opened.handles.close()
    writer.close()


def _write_block(opened: _Opened, task: tuple[int, int, int]) -> None:
    t, y0, x0 = task
    with gdal_env():
        result = reduce_block(opened, t, _block(opened.job, y0, x0))
    layers = {} if result.doy_yx is None else {"doy": result.doy_yx}
    opened.writer.write(t, y0, x0, result.data_byx, result.valid_yx, result.n_clear_yx, result.n_obs_yx, **layers)


_elsewhere: dict[tuple[str, int], _Opened] = {}
_lock = threading.Lock()


def _write_block_elsewhere(job: Job, task: tuple[int, int, int]) -> None:
    """In another process: files stay open from one block to the next of the same job."""
    key = (str(job.path), (job.path / "zarr.json").stat().st_mtime_ns)
    with _lock:
        if key not in _elsewhere:
            for old in _elsewhere.values():
                old.handles.close()
            _elsewhere.clear()
            _elsewhere[key] = _Opened(job, CubeWriter.attach(job.path, job.spec))
        opened = _elsewhere[key]
    _write_block(opened, task)


def _block(job: Job, y0: int, x0: int) -> Lattice:
    spec = job.spec
    height, width = spec.lattice.shape_yx
    left, _, _, top = spec.bounds_m
    y1, x1 = min(y0 + job.block_px, height), min(x0 + job.block_px, width)
    gsd_m = spec.gsd_m
    return Lattice(spec.crs, gsd_m, (left + x0 * gsd_m, top - y1 * gsd_m, left + x1 * gsd_m, top - y0 * gsd_m))


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


def reduce_block(opened: _Opened, t: int, block: Lattice) -> Composite:
    """The composite of one block of period `t`."""
    job, reduction = opened.job, opened.reduction
    state = reduction(replace(opened.frame, shape_yx=block.shape_yx, period=job.spec.periods[t]))
    reach = math.ceil(reduction.REACH_M / block.gsd_m)
    core = slice(reach, -reach) if reach else slice(None)
    for n, (day, indices) in enumerate(opened.groups(t)):
        readers = [opened.handles.reader(index) for index in indices]
        wide, masks = _join_masks(readers, block.grown(reach) if reach else block)
        mask = np.ascontiguousarray(wide[core, core])
        if not (mask != MASK_NODATA).any():
            for reader in readers:
                reader.done()
            continue
        look = Look(
            day,
            _distance_m(wide, block.gsd_m, reduction.REACH_M)[core, core] if reach else None,
            job.coverage[t][n] if job.coverage else 1.0,
        )
        data = _join_data(readers, [np.ascontiguousarray(one[core, core]) for one in masks], block)
        if data is None:  # seen, but nothing is clear: no band needs to be decoded
            data = np.zeros((len(opened.frame.bands), 1, 1), opened.frame.dtype)
        for reader in readers:
            reader.done()
        state.feed(data, mask, look)
    result: Composite = state.result()
    return _with_indices(result, job) if job.indices else result


def _with_indices(block: Composite, job: Job) -> Composite:
    """Physical values as float32, and the indices behind them; a pixel without an index is invalid."""
    read = job.read or job.spec
    values = block.data_byx.astype(np.float64) * read.scale + read.offset
    data = np.concatenate([values.astype(np.float32), *(index.of(values)[None] for index in job.indices)])
    valid = block.valid_yx & np.isfinite(data).all(axis=0)
    data[:, ~valid] = np.nan
    doy = None if block.doy_yx is None else np.where(valid, block.doy_yx, 0).astype(np.uint16)
    return replace(block, data_byx=data, valid_yx=valid, doy_yx=doy)


def _join_masks(readers: Sequence[LookReader], lattice: Lattice) -> tuple[np.ndarray, list[np.ndarray]]:
    """Overlapping tiles of one datatake as one look: the first clear code wins, then the first at all.

    Returns:
        The joined mask, and per reader the mask of what is taken from it: clear or nothing.
    """
    joined = readers[0].mask(lattice)
    if len(readers) == 1:
        return joined, [joined]
    parts = [np.where(joined == MASK_CLEAR, MASK_CLEAR, MASK_NODATA)]
    for reader in readers[1:]:
        codes = reader.mask(lattice)
        take = (joined != MASK_CLEAR) & (codes == MASK_CLEAR)
        parts.append(np.where(take, MASK_CLEAR, MASK_NODATA))
        joined = np.where(take | (joined == MASK_NODATA), codes, joined)
    return joined, parts


def _join_data(readers: Sequence[LookReader], masks: Sequence[np.ndarray], block: Lattice) -> np.ndarray | None:
    """Values where they are clear; None where nothing is."""
    data = None
    for reader, mask in zip(readers, masks, strict=True):
        clear = mask == MASK_CLEAR
        if clear.any():
            more = reader.data(block)
            data = more if data is None else np.where(clear, more, data)
    return data


def _distance_m(mask_yx: np.ndarray, gsd_m: float, most_m: float) -> np.ndarray:
    """Distance to the nearest bad pixel, centre to centre, at most `most_m`."""
    bad = mask_yx == MASK_BAD
    if not bad.any():
        return np.full(mask_yx.shape, most_m)
    from scipy import ndimage

    distance: np.ndarray = ndimage.distance_transform_edt(~bad, sampling=gsd_m)
    return np.minimum(distance, most_m)


def _coverage(opened: _Opened, check: Callable[[], None]) -> tuple[tuple[float, ...], ...]:
    """Share of clear pixels of every group over the whole cube."""
    job = opened.job
    pixels = math.prod(job.spec.lattice.shape_yx)
    clear = [[0] * len(opened.groups(t)) for t in range(len(job.looks))]
    with gdal_env():
        for t, y0, x0 in job.tasks():
            check()
            for n, (_, indices) in enumerate(opened.groups(t)):
                readers = [opened.handles.reader(i) for i in indices]
                mask, _ = _join_masks(readers, _block(job, y0, x0))
                clear[t][n] += int((mask == MASK_CLEAR).sum())
                for reader in readers:
                    reader.done()
    return tuple(tuple(count / pixels for count in of) for of in clear)


def composite_observations(
    folders: Sequence[Path],
    path: Path,
    spec: CubeSpec,
    method: str,
    check: Callable[[], None] = lambda: None,
    memory_bytes: int = 0,
    indices: Sequence[str] = (),
) -> None:
    """Composite observation folders into a cube, each into the period that its date falls in; one block at a time."""
    job = with_indices(observation_job(folders, path, spec, method), indices)
    if memory_bytes:
        job, _ = fit_memory(job, memory_bytes, 1)
    write_composite(job, None, check)


def observation_job(folders: Sequence[Path], path: Path, spec: CubeSpec, method: str) -> Job:
    """The job of compositing observation folders.

    Raises:
        InputError: A folder is no observation.
    """
    sources = observation_sources(folders)
    looks = tuple(tuple(s for s in sources if period.contains(s.when)) for period in spec.periods)
    return Job(path, spec, method, looks)


def composite_stack(
    stack: Stack,
    path: Path,
    spec: CubeSpec,
    method: str,
    check: Callable[[], None] = lambda: None,
    indices: Sequence[str] = (),
) -> None:
    """Composite a ready-made series into a cube."""
    from landcover_cli.io.stack import StackReader
    from landcover_cli.io.stacklook import StackLook

    with gdal_env(), StackReader(stack) as reader:
        looks = tuple(
            tuple(StackLook(reader, date) for date in stack.within(period, spec.bounds_m, spec.crs))
            for period in spec.periods
        )
        write_composite(with_indices(Job(path, spec, method, looks), indices), None, check)


def composite_static(
    files: Sequence[Path], path: Path, spec: CubeSpec, settings: StaticSettings, check: Callable[[], None]
) -> None:
    """Write static layers as a cube of one time without a period."""
    from landcover_cli.io.static import read_static

    writer = CubeWriter(path, spec)
    for y0, x0, block in blocks(spec.lattice):
        check()
        data = read_static(files, block, settings)
        valid = np.isfinite(data).all(axis=0)
        count = valid.astype(np.uint16)
        writer.write(0, y0, x0, np.where(valid, data, np.float32(np.nan)), valid, count, count)
    writer.close()


__all__ = [
    "Job",
    "band_roles",
    "blocks",
    "composite_observations",
    "composite_stack",
    "composite_static",
    "cube_layers",
    "fit_memory",
    "observation_job",
    "with_indices",
    "write_composite",
]
