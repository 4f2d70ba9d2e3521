"""Plan of a composite straight from scenes: which are used, what is added to their numbers, and how they are read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from landcover_cli.compute import Executor
from landcover_cli.core.types import Period, Scene
from landcover_cli.errors import InputError
from landcover_cli.io.composite import Job
from landcover_cli.io.cubestore import CubeSpec
from landcover_cli.io.looks import LookSource, feeding_order, observation_sources
from landcover_cli.io.preprocess_s2 import S2Settings, preprocess_s2
from landcover_cli.io.raster import gdal_env, open_raster
from landcover_cli.io.safe_s2 import require_bands
from landcover_cli.io.scenelook import SceneSource
from landcover_cli.optical.offset import judge_offset, resolve_offset
from landcover_cli.sensors.sentinel2 import SENSOR

_log = logging.getLogger("lc")
_SAMPLE_PX = 1024


def by_window(scene: Scene, settings: S2Settings) -> bool:
    """Whether a scene can be read block by block: not JPEG 2000, which is decoded once and whole, and not with a mask
    that looks at the whole scene or at a pixel size of its own."""
    names = (scene.assets[band].href.lower() for band in settings.bands if band in scene.assets)
    plain = not any(name.split("?", 1)[0].endswith((".jp2", ".j2k")) for name in names)
    return plain and settings.mask.gsd_m is None and not settings.mask.whole


def scene_spec(settings: S2Settings, periods: tuple[Period, ...], source: str, layers: tuple[str, ...]) -> CubeSpec:
    """The cube of a composite from scenes, but for its attributes."""
    return CubeSpec(
        source=source or SENSOR.name,
        sensor=SENSOR.name,
        kind="series",
        bands=settings.bands,
        units=SENSOR.units,
        scale=SENSOR.scale,
        offset=SENSOR.offset,
        gsd_m=float(settings.gsd_m),
        crs=settings.crs,
        bounds_m=settings.area_m,
        periods=periods,
        dtype=SENSOR.dtype,
        layers=layers,
    )


def scene_job(
    scenes: Sequence[Scene],
    settings: S2Settings,
    path: Path,
    spec: CubeSpec,
    method: str,
    cache: Path,
    executor: Executor,
    check: Callable[[], None] = lambda: None,
) -> Job:
    """The job of compositing scenes.

    Scenes that cannot be read by window are brought to the grid first, into `cache`; a block of JPEG 2000 would decode
    four tiles where it needs one.

    Args:
        scenes: Candidates; those outside all periods are left out.
        settings: Grid, bands, mask, offset.
        path: The new cube.
        spec: What it holds.
        method: Composite plug-in.
        cache: Existing, empty folder; needed until the cube is written.
        executor: Brings scenes to the grid.
        check: Called now and then; raises to stop.

    Raises:
        InputError: A band or the mask's layer is missing, or pixels disprove the offset.
    """
    used = [scene for scene in scenes if any(period.contains(scene.datetime) for period in spec.periods)]
    cut: list[tuple[Scene, S2Settings, Path]] = []
    sources: list[LookSource] = []
    for scene in used:
        check()
        layers = settings.mask.layer_names(settings.bands, settings.mask_options)
        require_bands(scene, (*settings.bands, *layers), scene.id)
        if not by_window(scene, settings):
            folder = cache / scene.id
            folder.mkdir()
            cut.append((scene, settings, folder))
        else:
            sources.append(_source(scene, settings))
    for outcome in executor.run(_cut, cut):
        check()
        if outcome.error is not None:
            raise outcome.error
    moments = {scene.id: scene.datetime for scene in used}
    ordered = feeding_order([*sources, *observation_sources([folder for _, _, folder in cut])])
    looks = tuple(tuple(s for s in ordered if period.contains(s.when)) for period in spec.periods)
    ids = {p.label: sorted(i for i, when in moments.items() if p.contains(when)) for p in spec.periods}
    attrs = {"method": method, "items": sorted(moments), **({"items_of_period": ids} if len(ids) > 1 else {})}
    return Job(path, replace(spec, attrs=attrs), method, looks)


def _cut(task: tuple[Scene, S2Settings, Path]) -> None:
    preprocess_s2(*task)


def _source(scene: Scene, settings: S2Settings) -> SceneSource:
    decision = resolve_offset(scene.id, scene.metadata, settings.offset)
    judged = judge_offset(scene.id, decision, _dark(scene, settings))
    if judged.warning:
        _log.warning("%s", judged.warning)
    return SceneSource(
        scene, settings.bands, settings.mask.name, settings.mask_options, settings.resampling, decision.add_dn
    )


def _dark(scene: Scene, settings: S2Settings) -> dict[str, np.ndarray]:
    """Histograms of B02 and B12 over vegetation and water, from overviews of the whole scene or from its middle.

    An overview is a mean, which cannot be darker than the darkest of its pixels, so that what is proven with it holds.
    """
    bands = [band for band in ("B02", "B12") if band in settings.bands]
    if not bands or "SCL" not in settings.mask.layer_names(settings.bands, settings.mask_options):
        return {}
    counts: dict[str, np.ndarray] = {}
    with gdal_env(), ExitStack() as stack:
        files = {name: stack.enter_context(open_raster(scene.assets[name].href)) for name in (*bands, "SCL")}
        scl = files["SCL"]
        # The same ground in every file, whatever its pixel size.
        part, shape = (0.0, 1.0), (min(scl.height, _SAMPLE_PX), min(scl.width, _SAMPLE_PX))
        if any(max(f.height, f.width) > 2 * _SAMPLE_PX and not f.overviews(1) for f in files.values()):
            part = (0.4, 0.6)
        planes = {}
        for name, file in files.items():
            window = Window(
                round(part[0] * file.width),
                round(part[0] * file.height),
                max(round((part[1] - part[0]) * file.width), 1),
                max(round((part[1] - part[0]) * file.height), 1),
            )
            try:
                planes[name] = file.read(
                    scene.assets[name].band, window=window, out_shape=shape, resampling=Resampling.nearest
                )
            except RasterioError as error:
                said = str(error.__cause__ or error).splitlines()[0]
                raise InputError(
                    f"raster {file.name} cannot be decoded ({said})", remedy="download the file again"
                ) from None
        ground = np.isin(planes["SCL"], (4, 6))
        for name in bands:
            counts[name] = np.bincount(planes[name][ground], minlength=65536)
    return counts
