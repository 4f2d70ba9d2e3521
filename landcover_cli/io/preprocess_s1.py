"""One Sentinel-1 product onto a grid: noise, calibration, speckle, terrain flattening, terrain correction.

`prepare_s1` reads metadata and terrain, and refuses whatever cannot work before a pixel is touched; `preprocess_s1`
writes the observation. Finished blocks come in the order of the radar's lines; they wait in an uncompressed scratch
raster, so that the files that remain have the same bytes whatever the blocks and workers were.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.io.observation import Observation, create_observation
from landcover_cli.io.raster import gdal_env
from landcover_cli.io.rasterwrite import create_geotiff
from landcover_cli.io.s1_plan import BLOCK_PX
from landcover_cli.io.s1_polarimetry import block_layers, covariance_filter, layer_tags
from landcover_cli.io.s1_prepare import LAYER_FILES, PreparedS1, create_scratch
from landcover_cli.io.s1_scene import LAYERS, SceneBlock, geocode_scene
from landcover_cli.io.s1_slc import COVARIANCE_PARTS, open_slc
from landcover_cli.io.s1_slices import assemble_slices
from landcover_cli.io.s1_source import STRIP_LINES, IntensitySource, grd_sources
from landcover_cli.io.s1_source import prepared as bound_filters
from landcover_cli.io.s1_stac import TITLES, parameters
from landcover_cli.sar.pollayers import LAYER_INFO
from landcover_cli.sar.speckle import SpeckleFilter
from landcover_cli.sar.types import Backscatter
from landcover_cli.sar.visibility import search_area_px

_log = logging.getLogger("lc")

_UNITS = {"incidence": "degrees", "layover_shadow": "code"}


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
            speckle=_filters(prepared, sources),
            layers=[name for name in settings.layers if name in LAYERS],
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
            prepared.products[0], prepared.polarisations, looks=looks, backscatter=backscatter, denoise=denoise
        )
        return {**slc.sources, **slc.covariance()} if prepared.needs_covariance else slc.sources
    if len(prepared.products) == 1:
        return grd_sources(prepared.channels[0], backscatter=backscatter, denoise=denoise)
    bands = prepared.polarisations
    return assemble_slices(prepared.products, bands, backscatter=backscatter, denoise=denoise).sources


def _filters(
    prepared: PreparedS1, sources: Mapping[str, IntensitySource]
) -> SpeckleFilter | Mapping[str, SpeckleFilter | None] | None:
    """Powers get the filter that was asked for; the parts of C2 are averaged, all by the same weights."""
    if not prepared.needs_covariance:
        return prepared.speckle
    powers = {name: source for name, source in sources.items() if name not in COVARIANCE_PARTS}
    averaged = dict.fromkeys(COVARIANCE_PARTS, covariance_filter(prepared.settings.c2_window_px))
    return bound_filters(prepared.speckle, powers) | averaged


def fitting_workers(prepared: PreparedS1, how: S1Execution) -> int:
    """Threads that fit into the memory; at least one.

    Measured on a whole dual-polarised scene: 360 MB for the process, the terrain and the writers; per band the strips
    that blocks still need, and three more in work; four of float32 for the sums of areas and what comes of them. A
    block in work holds 6 to 10 arrays of float64, and 12 of the ground in which layover and shadow are sought.
    """
    if prepared.plan is None:
        return 1
    lines = max(p.lines[1] - p.lines[0] for p in prepared.plan.blocks)
    # The parts of C2 are read as one and kept for each other.
    images = len(prepared.polarisations) + (2 * len(COVARIANCE_PARTS) if prepared.needs_covariance else 0)
    strips = images * (lines // STRIP_LINES + 2 + 3) + (4 if prepared.plan.cells else 0)
    fixed = STRIP_LINES * prepared.reads_px[1] * 4 * strips + 360 * 1024**2
    each = how.block_px**2 * 8 * 14
    if "layover_shadow" in prepared.settings.layers:
        blocks = prepared.plan.blocks[:: max(1, len(prepared.plan.blocks) // 9)]
        lattice, heights = prepared.plan.lattice, prepared.plan.height_range_m
        each += max(search_area_px(prepared.model, lattice, b.block, heights) for b in blocks) * 8 * 12
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
    made: dict[str, Any] = dict(part.bands)
    if prepared.pair is not None:
        made |= block_layers(part.bands, prepared.pair, (*prepared.settings.layers, *prepared.settings.polarimetry))
    made |= {"incidence": part.incidence_deg, "layover_shadow": part.codes}
    for band, dataset in zip(prepared.about.bands, bands, strict=True):
        dataset.write(made[band], 1, window=window)
    for name, dataset in extra.items():
        dataset.write(made[name], 1, window=window)


def _layer_tags(prepared: PreparedS1, name: str) -> dict[str, str]:
    about = prepared.about
    tags = {"ACQUISITION_DATETIME": about.datetime, "PRODUCT": about.id}
    said = json.dumps({"ipf": about.facts["ipf"], **parameters(about.facts)}, sort_keys=True)
    own = layer_tags(about.facts, name) if name in LAYER_INFO else {"LAYER": TITLES[name], "UNITS": _UNITS[name]}
    return tags | own | {"PARAMETERS": said}


def _warn_if_empty(prepared: PreparedS1, empty: set[str]) -> None:
    # Tiles of a pipeline may miss the scene.
    if empty and not prepared.settings.may_miss:
        _log.warning(
            "%s: no pixel of %s has a value: the area holds only border, no-data pixels of the product, or ground that "
            "the scene does not see (see --aoi and --layers layover_shadow)",
            prepared.about.id,
            ", ".join(band for band in prepared.about.bands if band in empty),
        )


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
            tags = _layer_tags(prepared, name)
            made = create_geotiff(out / LAYER_FILES[name], descriptions=(name,), tags=tags, **common, **profile)
            layers[name] = stack.enter_context(rasterio.open(work / LAYER_FILES[name])), stack.enter_context(made)
        data, mask = stack.enter_context(create_observation(out, about))
        empty = set(about.bands)
        for first in range(0, height, STRIP_LINES):
            how.check()
            how.progress(first, height, f"writing {about.id}")
            window = Window(0, first, width, min(STRIP_LINES, height - first))
            seen = np.ones((int(window.height), width), dtype=bool)
            for index, (band, dataset) in enumerate(zip(about.bands, bands, strict=True), start=1):
                values = dataset.read(1, window=window)
                valid = np.isfinite(values)
                seen &= valid
                if valid.any():
                    empty.discard(band)
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
    _warn_if_empty(prepared, empty)
    return about
