"""One Sentinel-1 product onto a grid: noise, calibration, speckle, terrain flattening, terrain correction.

`prepare_s1` reads metadata and terrain, and refuses whatever cannot work before a pixel is touched; `preprocess_s1`
writes the observation. Finished blocks come in the order of the radar's lines; they wait in an uncompressed scratch
raster, so that the files that remain have the same bytes whatever the blocks and workers were.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.io.observation import Observation, create_observation
from landcover_cli.io.raster import gdal_env
from landcover_cli.io.rasterwrite import create_geotiff
from landcover_cli.io.s1_plan import BLOCK_PX
from landcover_cli.io.s1_prepare import LAYER_FILES, PreparedS1, create_scratch
from landcover_cli.io.s1_scene import SceneBlock, geocode_scene
from landcover_cli.io.s1_slc import open_slc
from landcover_cli.io.s1_slices import assemble_slices
from landcover_cli.io.s1_source import STRIP_LINES, IntensitySource, grd_sources
from landcover_cli.sar.terrain import search_halo_px
from landcover_cli.sar.types import Backscatter

if TYPE_CHECKING:
    pass

_log = logging.getLogger("lc")


@dataclass(frozen=True)
class S1Execution:
    """How it is done; changes no byte.

    Attributes:
        workers: Threads.
        memory_bytes: Working memory; fewer threads are used where all of them would not fit.
        block_px: Edge of a map block.
        progress: Called as ``progress(done, total, text)``.
        check: Called per block; raises to stop.
    """

    workers: int = 1
    memory_bytes: int = 2 * 1024**3
    block_px: int = BLOCK_PX
    progress: Callable[[float, float, str], None] = lambda done, total, text: None
    check: Callable[[], None] = lambda: None


def preprocess_s1(prepared: PreparedS1, out: Path, how: S1Execution | None = None) -> Observation:
    """Write one product as an observation.

    Writes ``data.tif`` (linear power), ``mask.tif``, ``observation.json`` and the layers that were asked for.

    Args:
        prepared: From `prepare_s1`.
        out: Existing, empty folder.
        how: Threads, memory, progress.

    Returns:
        The description that was written.

    Raises:
        InputError: A measurement is damaged.
        StorageError: The disk is full.
    """
    how = how or S1Execution()
    work = out / ".work"
    work.mkdir()
    try:
        with gdal_env():
            blocks = _geocode(prepared, work, how)
            return _finish(prepared, blocks, out, how)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _geocode(prepared: PreparedS1, work: Path, how: S1Execution) -> Path:
    """Compute all blocks into scratch rasters; returns their folder."""
    settings, lattice = prepared.settings, prepared.about.lattice
    with ExitStack() as stack:
        bands = [stack.enter_context(create_scratch(work / f"{b}.tif", lattice)) for b in prepared.about.bands]
        extra = {
            name: stack.enter_context(
                create_scratch(work / LAYER_FILES[name], lattice, "uint8" if name == "layover_shadow" else "float32")
            )
            for name in settings.layers
        }
        if prepared.plan is None:
            return work
        backscatter: Backscatter = "beta0" if settings.backscatter == "gamma0_rtc" else settings.backscatter
        sources = _sources(prepared, backscatter)
        parts = geocode_scene(
            prepared.model,
            sources,
            prepared.dem,
            prepared.plan,
            speckle=prepared.speckle,
            layers=settings.layers,
            workers=fitting_workers(prepared, how),
            progress=lambda done, total: how.progress(done, total, f"geocoding {prepared.about.id}"),
        )
        for part in parts:
            how.check()
            _keep(part, prepared, bands, extra)
    return work


def _sources(prepared: PreparedS1, backscatter: Backscatter) -> Mapping[str, IntensitySource]:
    denoise = prepared.settings.denoise
    if prepared.products[0].meta.product_type == "SLC":
        looks = prepared.settings.looks
        slc = open_slc(
            prepared.products[0], prepared.about.bands, looks=looks, backscatter=backscatter, denoise=denoise
        )
        return slc.sources
    if len(prepared.products) == 1:
        return grd_sources(prepared.channels[0], backscatter=backscatter, denoise=denoise)
    bands = prepared.about.bands
    return assemble_slices(prepared.products, bands, backscatter=backscatter, denoise=denoise).sources


def fitting_workers(prepared: PreparedS1, how: S1Execution) -> int:
    """Threads that fit into the memory; at least one.

    Measured: a block in work holds about 25 arrays of float64 with its halo, a strip in work three of float32 per band
    and a sum of areas; strips that blocks still need wait beside it.
    """
    if prepared.plan is None:
        return 1
    lines = max(p.lines[1] - p.lines[0] for p in prepared.plan.blocks)
    strip = STRIP_LINES * prepared.reads_px[1] * 4 * len(prepared.about.bands)
    fixed = strip * (3 + lines // STRIP_LINES + 1) + 160 * 1024**2
    edge = how.block_px
    if "layover_shadow" in prepared.settings.layers:
        low, high = prepared.plan.height_range_m
        edge += 2 * search_halo_px(high - low, prepared.about.gsd_m)
    each = edge**2 * 8 * 25
    fit = int((how.memory_bytes - fixed) // each)
    if fit < how.workers:
        _log.debug("%s: memory for %d of %d threads", prepared.about.id, max(fit, 1), how.workers)
    if fit < 1:
        _log.warning(
            "%s needs about %.1f GB of working memory, %.1f GB are allowed: one thread is used; a smaller area needs "
            "less",
            prepared.about.id,
            (fixed + each) / 1024**3,
            how.memory_bytes / 1024**3,
        )
    return max(1, min(how.workers, fit))


def _keep(
    part: SceneBlock,
    prepared: PreparedS1,
    bands: list[rasterio.io.DatasetWriter],
    extra: Mapping[str, rasterio.io.DatasetWriter],
) -> None:
    block = part.block
    window = Window(block.col0 - prepared.block.col0, block.row0 - prepared.block.row0, block.width, block.height)
    for band, dataset in zip(prepared.about.bands, bands, strict=True):
        dataset.write(part.bands[band], 1, window=window)
    for name, values in (("incidence", part.incidence_deg), ("layover_shadow", part.codes)):
        if values is not None and name in extra:
            extra[name].write(values, 1, window=window)


def _finish(prepared: PreparedS1, work: Path, out: Path, how: S1Execution) -> Observation:
    """Scratch rasters into the files that remain, row of blocks by row of blocks."""
    about = prepared.about
    height, width = about.lattice.shape_yx
    common: dict[str, Any] = {"bounds_m": about.bounds_m, "gsd_m": about.gsd_m, "crs": about.crs, "count": 1}
    with ExitStack() as stack:
        bands = [stack.enter_context(rasterio.open(work / f"{b}.tif")) for b in about.bands]
        layers: dict[str, Any] = {}
        for name in prepared.settings.layers:
            codes = name == "layover_shadow"
            profile: dict[str, Any] = (
                {"dtype": "uint8", "nodata": 255.0} if codes else {"dtype": "float32", "nodata": float("nan")}
            )
            made = create_geotiff(out / LAYER_FILES[name], descriptions=(name,), **common, **profile)
            layers[name] = stack.enter_context(rasterio.open(work / LAYER_FILES[name])), stack.enter_context(made)
        data, mask = stack.enter_context(create_observation(out, about))
        for first in range(0, height, STRIP_LINES):
            how.check()
            how.progress(first, height, f"writing {about.id}")
            window = Window(0, first, width, min(STRIP_LINES, height - first))
            seen = np.ones((int(window.height), width), dtype=bool)
            for index, dataset in enumerate(bands, start=1):
                values = dataset.read(1, window=window)
                seen &= np.isfinite(values)
                data.write(values, index, window=window)
            bad: NDArray[np.bool_] = np.zeros_like(seen)
            for name, (source, target) in layers.items():
                values = source.read(1, window=window)
                target.write(values, 1, window=window)
                if name == "layover_shadow":
                    bad = (values > 0) & (values < 255)
            mask.write(
                np.where(seen, np.where(bad, MASK_BAD, MASK_CLEAR), MASK_NODATA).astype(np.uint8), 1, window=window
            )
    return about
