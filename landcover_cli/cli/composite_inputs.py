"""What `lc composite` is given: observation folders, or scenes that it reads by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from landcover_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from landcover_cli.compute import Executor
    from landcover_cli.core.types import Period, Scene
    from landcover_cli.io.composite import Job
    from landcover_cli.io.cubestore import CubeSpec
    from landcover_cli.io.observation import Observation
    from landcover_cli.io.preprocess_s2 import S2Settings


@dataclass(frozen=True)
class SceneOptions:
    """Options that only scenes take; observations have them behind them.

    Attributes:
        aoi: Polygon file.
        crs: CRS of the grid.
        res: Pixel edge in metres.
        bands: Separated by commas.
        mask: Mask plug-in.
        mask_options: NAME=VALUE.
        offset: auto, applied or in_pixels.
        resampling: bilinear or nearest.
    """

    aoi: Path | None
    crs: str | None
    res: float | None
    bands: str
    mask: str | None
    mask_options: tuple[str, ...]
    offset: str
    resampling: str

    @property
    def given(self) -> list[str]:
        """Names of the options that are not at their defaults."""
        return [
            f"--{name.replace('_', '-')}"
            for name, value, default in (
                ("aoi", self.aoi, None),
                ("crs", self.crs, None),
                ("res", self.res, None),
                ("bands", self.bands, ""),
                ("mask", self.mask, None),
                ("mask_option", self.mask_options, ()),
                ("offset", self.offset, "auto"),
                ("resampling", self.resampling, "bilinear"),
            )
            if value != default
        ]


def is_scene(text: str) -> bool:
    """Whether an argument is a STAC document or a product; else it is, or should be, an observation folder."""
    path = Path(text)
    named = "://" in text or path.suffix.lower() in {".json", ".geojson", ".zip", ".safe"}
    return named or (path / "MTD_MSIL2A.xml").is_file()


def observations_job(
    folders: list[Path], periods: tuple[Period, ...], method: str, source: str, orbit: str | None
) -> Callable[[Path], Job]:
    """The job of compositing observations, but for the cube's path.

    Raises:
        InputError: They differ in grid or bands, or mix orbit directions; none lies within the periods.
    """
    from landcover_cli.io.composite import observation_job
    from landcover_cli.io.observation import read_about

    abouts = [read_about(folder) for folder in folders]
    kept = _of_orbit(dict(zip(folders, abouts, strict=True)), orbit)
    spec = _observed_spec(list(kept.values()), periods, method, source)
    return lambda path: observation_job(list(kept), path, spec, method)


def _of_orbit(abouts: dict[Path, Observation], orbit: str | None) -> dict[Path, Observation]:
    """Observations of one orbit direction: radar looks at a hill from either side, so none mixes unasked."""
    if orbit in {"ascending", "descending"}:
        kept = {folder: about for folder, about in abouts.items() if _direction(about) == orbit}
        if not kept:
            raise InputError(f"none of {len(abouts)} observations is {orbit}", remedy="check --orbit")
        return kept
    found = {_direction(about): about.id for about in abouts.values() if about.units.endswith("_linear")}
    if orbit is None and {"ascending", "descending"} <= set(found):
        raise InputError(
            f"observations mix orbit directions: {found['ascending']} is ascending, {found['descending']} descending",
            remedy="choose one with --orbit, or say --orbit both",
        )
    return abouts


def _direction(about: Observation) -> str:
    return str(about.facts.get("orbit_direction", "")).lower()


def _observed_spec(abouts: list[Observation], periods: tuple[Period, ...], method: str, source: str) -> CubeSpec:
    from landcover_cli.io.composite import cube_layers
    from landcover_cli.io.cubestore import CubeSpec

    first = abouts[0]
    for other in abouts[1:]:
        for key in ("sensor", "crs", "gsd_m", "bands", "units", "scale", "offset", "dtype"):
            if getattr(first, key) != getattr(other, key):
                raise InputError(
                    f"observations {first.id} and {other.id} differ in {key}: "
                    f"{getattr(first, key)!r} and {getattr(other, key)!r}",
                    remedy="preprocess them with the same grid and bands",
                )
    used = [about for about in abouts if any(period.contains(about.when) for period in periods)]
    if not used:
        days = sorted(about.datetime[:10] for about in abouts)
        raise _none_within(len(abouts), "observations", days, periods)
    edges = [about.bounds_m for about in used]
    return CubeSpec(
        source=source or first.sensor,
        sensor=first.sensor,
        kind="series",
        bands=first.bands,
        units=first.units,
        scale=first.scale,
        offset=first.offset,
        gsd_m=float(first.gsd_m),
        crs=first.crs,
        bounds_m=(
            min(e[0] for e in edges),
            min(e[1] for e in edges),
            max(e[2] for e in edges),
            max(e[3] for e in edges),
        ),
        periods=periods,
        dtype=first.dtype,
        attrs={"method": method, **_items(used, periods)},
        layers=cube_layers(method),
    )


def _items(used: list[Observation], periods: tuple[Period, ...]) -> dict[str, object]:
    """Ids of what went in; of several periods also period by period."""
    facts: dict[str, object] = {"items": sorted(about.id for about in used)}
    if len(periods) > 1:
        facts["items_of_period"] = {
            period.label: sorted(about.id for about in used if period.contains(about.when)) for period in periods
        }
    return facts


def _none_within(count: int, what: str, days: list[str], periods: tuple[Period, ...]) -> InputError:
    return InputError(
        f"none of {count} {what} ({days[0]} to {days[-1]}) lies within "
        f"{periods[0].start} to {periods[-1].end - timedelta(days=1)}",
        remedy="choose --start and --end around their dates",
    )


def scenes_job(
    products: list[str], options: SceneOptions, periods: tuple[Period, ...], method: str, source: str
) -> Callable[[Path, Path, Executor], Job]:
    """The job of compositing scenes, but for the cube's path, a folder for what is decoded ahead, and who runs it.

    Raises:
        InputError: A product is unreadable or lacks a band; none lies within the periods.
    """
    from landcover_cli.io.composite import cube_layers
    from landcover_cli.io.scenejob import scene_job, scene_spec

    scenes = _scenes(products)
    if not any(period.contains(scene.datetime) for scene in scenes for period in periods):
        days = sorted(scene.datetime.date().isoformat() for scene in scenes)
        raise _none_within(len(scenes), "scenes", days, periods)
    settings = _settings(scenes, options)
    spec = scene_spec(settings, periods, source, cube_layers(method))
    return lambda path, cache, executor: scene_job(scenes, settings, path, spec, method, cache, executor)


def _scenes(products: list[str]) -> list[Scene]:
    from landcover_cli.io.safe_s2 import read_safe_s2
    from landcover_cli.io.stac_in import read_stac
    from landcover_cli.sensors.sentinel2 import SENSOR

    scenes: list[Scene] = []
    for product in products:
        if "://" in product or product.endswith((".json", ".geojson")):
            scenes += read_stac(product, SENSOR)
        else:
            scenes.append(read_safe_s2(Path(product)))
    seen: set[str] = set()
    for scene in scenes:
        if scene.id in seen:
            raise InputError(f"scene {scene.id} is given twice", remedy="give each product once")
        seen.add(scene.id)
    return scenes


def _settings(scenes: list[Scene], options: SceneOptions) -> S2Settings:
    from landcover_cli.config.sources import S2_LAND_BANDS
    from landcover_cli.core.lattice import snap_out
    from landcover_cli.io.preprocess_s2 import S2Settings
    from landcover_cli.registry import load
    from landcover_cli.sensors.sentinel2 import SENSOR

    for name, value, allowed in (
        ("--offset", options.offset, ("auto", "applied", "in_pixels")),
        ("--resampling", options.resampling, ("bilinear", "nearest")),
    ):
        if value not in allowed:
            raise UsageError(f"{name} {value!r} is unknown", remedy=f"use {', '.join(allowed)}")
    names = tuple(options.bands.split(",")) if options.bands else S2_LAND_BANDS
    unknown = [name for name in names if name not in SENSOR.band_names()]
    if unknown:
        raise UsageError(
            f"--bands: {SENSOR.name} has no band {unknown[0]!r}", remedy=f"its bands: {', '.join(SENSOR.band_names())}"
        )
    mask = load("mask", options.mask or "scl")
    given = _mask_options(options.mask_options, mask.defaults)
    mask.options(given)
    own_crs, whole = _ground(scenes, names)
    target = own_crs
    if options.crs:
        from landcover_cli.core.grid import metric_crs

        target = metric_crs(options.crs, "--crs")
    if options.aoi is not None:
        from landcover_cli.io.vector import aoi_on_grid, read_aoi

        area = aoi_on_grid(read_aoi(options.aoi), target).bounds
    elif target == own_crs:
        area = whole
    else:
        raise UsageError("--crs without --aoi", remedy="give the area with --aoi")
    res = options.res or 10.0
    return S2Settings(
        crs=target,
        gsd_m=res,
        area_m=snap_out(area, res),
        bands=names,
        mask=mask,
        mask_options=given,
        resampling=options.resampling,  # type: ignore[arg-type]
        offset=options.offset,  # type: ignore[arg-type]
    )


def _mask_options(values: tuple[str, ...], defaults: object) -> dict[str, float | bool | str]:
    known = dict(defaults)  # type: ignore[call-overload]
    found: dict[str, float | bool | str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--mask-option {text!r} is not NAME=VALUE", remedy="write e.g. cloud_m=100")
        if isinstance(known.get(name), bool):
            found[name] = {"true": True, "false": False}.get(value.lower(), value)
        elif isinstance(known.get(name), str):
            found[name] = value
        else:
            try:
                found[name] = float(value)
            except ValueError:
                raise UsageError(f"--mask-option {text!r} is no number", remedy="write e.g. cloud_m=100") from None
    return found


def _ground(scenes: list[Scene], bands: tuple[str, ...]) -> tuple[str, tuple[float, float, float, float]]:
    """CRS of the first scene, and bounds of all scenes in that CRS."""
    from landcover_cli.io.ongrid import covered
    from landcover_cli.io.raster import gdal_env, open_raster, raster_info
    from landcover_cli.io.safe_s2 import require_bands

    crs, edges = "", []
    with gdal_env():
        for scene in scenes:
            require_bands(scene, bands, scene.id)
            with open_raster(scene.assets[bands[0]].href) as dataset:
                info = raster_info(dataset)
            crs = crs or info.crs
            edges.append(info.bounds_m if info.crs == crs else covered(info, crs, info.gsd_m))
    return crs, (
        min(e[0] for e in edges),
        min(e[1] for e in edges),
        max(e[2] for e in edges),
        max(e[3] for e in edges),
    )
