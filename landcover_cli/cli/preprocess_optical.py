"""`lc preprocess s2 | landsat`: optical scenes as observations on a grid."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landcover_cli.cli import options
from landcover_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from landcover_cli.core.types import Scene
    from landcover_cli.io.observation import Observation
    from landcover_cli.io.preprocess_s2 import S2Settings

    Write = Callable[[Scene, S2Settings, Path], Observation]

log = logging.getLogger("lc")

Aoi = Annotated[Path | None, typer.Option(help="Polygon file; only its bounds are read.")]
Crs = Annotated[str | None, typer.Option(help="CRS of the grid, e.g. EPSG:32631; default: the first scene's.")]
Res = Annotated[float, typer.Option(min=0.1, help="Pixel edge in metres.")]
Bands = Annotated[str, typer.Option(help="Bands in order, separated by commas.")]
MaskOption = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option of the mask, e.g. keep_snow=true.")
]
Resampling = Annotated[str, typer.Option(help="How coarser bands come to --res: bilinear or nearest.")]


@dataclass(frozen=True)
class _Asked:
    """What was asked of the scenes, as given."""

    aoi: Path | None
    crs: str | None
    res: float
    bands: tuple[str, ...]
    mask: str
    mask_options: dict[str, float | bool | str]
    resampling: str
    offset: str = "auto"
    nbar: bool = False


def s2(
    products: Annotated[
        list[str],
        typer.Argument(help="SAFE folders or zips of one level, or STAC files or URLs.", metavar="PRODUCT..."),
    ],
    out: options.Out,
    aoi: Aoi = None,
    crs: Crs = None,
    res: Res = 10.0,
    bands: Bands = "",
    mask: Annotated[str, typer.Option(help="Mask plug-in (see `lc plugins`); default: scl, for Level-1C fmask.")] = "",
    mask_option: MaskOption = None,
    offset: Annotated[
        str, typer.Option(help="Radiometric offset: auto, applied (taken out already) or in_pixels.")
    ] = "auto",
    nbar: Annotated[bool, typer.Option("--nbar", help="Normalise reflectance to a sensor at nadir.")] = False,
    resampling: Resampling = "bilinear",
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Sentinel-2 scenes as observations: DIR/<scene>/data.tif, mask.tif and observation.json."""
    from landcover_cli.config.sources import S2_LAND_BANDS
    from landcover_cli.io.preprocess_s2 import preprocess_s2
    from landcover_cli.io.safe_s2 import read_safe_s2
    from landcover_cli.sensors.sentinel2 import SENSOR

    _check("--offset", offset, ("auto", "applied", "in_pixels"))
    scenes = _scenes(products, "sentinel2", lambda path: read_safe_s2(path, None))
    levels = {scene.sensor: scene.id for scene in scenes}
    if len(levels) > 1:
        raise InputError(
            f"Level-1C and Level-2A are mixed: {' and '.join(levels.values())}", remedy="give products of one level"
        )
    asked = _Asked(
        aoi,
        crs,
        res,
        tuple(bands.split(",")) if bands else S2_LAND_BANDS,
        mask or ("scl" if scenes[0].sensor == SENSOR.name else "fmask"),
        mask_values(mask_option or []),
        resampling,
        offset,
        nbar,
    )
    _run(scenes, asked, preprocess_s2, out, dry_run, as_json)


def landsat(
    products: Annotated[
        list[str],
        typer.Argument(
            help="Folders or tars of Collection 2 Level 2 (Landsat 8, 9), or STAC files or URLs.", metavar="PRODUCT..."
        ),
    ],
    out: options.Out,
    aoi: Aoi = None,
    crs: Crs = None,
    res: Res = 30.0,
    bands: Bands = "",
    mask: Annotated[str, typer.Option(help="Mask plug-in (see `lc plugins`).")] = "qa_pixel",
    mask_option: MaskOption = None,
    resampling: Resampling = "bilinear",
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Landsat scenes as observations: DIR/<scene>/data.tif, mask.tif and observation.json."""
    from landcover_cli.io.landsat import read_landsat
    from landcover_cli.io.preprocess_landsat import preprocess_landsat
    from landcover_cli.sensors.landsat8 import SENSOR

    scenes = _scenes(products, SENSOR.name, read_landsat)
    names = tuple(bands.split(",")) if bands else SENSOR.band_names()
    asked = _Asked(aoi, crs, res, names, mask, mask_values(mask_option or []), resampling)
    _run(scenes, asked, preprocess_landsat, out, dry_run, as_json)


def _run(scenes: list[Scene], asked: _Asked, write: Write, out: Path, dry_run: bool, as_json: bool) -> None:
    from landcover_cli.io.atomic import atomic_folder

    _check("--resampling", asked.resampling, ("bilinear", "nearest"))
    settings = _settings(scenes[0], asked)
    if asked.aoi is not None:
        _refuse_elsewhere(scenes, settings, asked.aoi)
    records = []
    for scene in scenes:
        target = out / scene.id
        record: dict[str, Any] = {"scene": scene.id, "observation": str(target), "bands": list(settings.bands)}
        if not dry_run:
            log.info("%s", scene.id)
            with atomic_folder(target) as scratch:
                about = write(scene, settings, scratch)
            record |= {"bounds_m": list(about.bounds_m)}
            if "offset" in about.facts:
                record["offset"] = about.facts["offset"]
        records.append(record)
    if as_json:
        typer.echo(json.dumps(records, ensure_ascii=False))
        return
    for record in records:
        typer.echo(f"{'would write' if dry_run else 'wrote'} {record['observation']}")


def _check(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{option} {value!r} is unknown", remedy=f"use {', '.join(allowed)}")


def _scenes(products: Iterable[str], sensor: str, read: Callable[[Path], Scene]) -> list[Scene]:
    from landcover_cli.io.stac_in import read_stac
    from landcover_cli.registry import load

    scenes: list[Scene] = []
    for product in products:
        if "://" in product or (product.endswith((".json", ".geojson")) and not product.endswith("_MTL.json")):
            scenes += read_stac(product, load("sensor", sensor))
        else:
            scenes.append(read(Path(product)))
    seen: set[str] = set()
    for scene in scenes:
        if scene.id in seen:
            raise InputError(f"scene {scene.id} is given twice", remedy="give each product once")
        seen.add(scene.id)
    return scenes


def _settings(first: Scene, asked: _Asked) -> S2Settings:
    from landcover_cli.core.grid import metric_crs
    from landcover_cli.core.lattice import snap_out
    from landcover_cli.io.preprocess_s2 import S2Settings
    from landcover_cli.io.safe_s2 import require_bands
    from landcover_cli.io.vector import aoi_on_grid, read_aoi
    from landcover_cli.registry import load

    sensor = load("sensor", first.sensor)
    unknown = [name for name in asked.bands if name not in sensor.band_names()]
    if unknown:
        raise UsageError(
            f"--bands: {sensor.name} has no band {unknown[0]!r}", remedy=f"its bands: {', '.join(sensor.band_names())}"
        )
    require_bands(first, asked.bands, first.id)
    plugin = load("mask", asked.mask)
    require_bands(first, plugin.layer_names(asked.bands, asked.mask_options), first.id)
    own_crs, whole = _ground(first, asked.bands[0])
    target = metric_crs(asked.crs, "--crs") if asked.crs else own_crs
    if asked.aoi is not None:
        area = aoi_on_grid(read_aoi(asked.aoi), target).bounds
    elif target == own_crs:
        area = whole
    else:
        raise UsageError("--crs without --aoi", remedy="give the area with --aoi")
    return S2Settings(
        crs=target,
        gsd_m=asked.res,
        area_m=snap_out(area, asked.res),
        bands=asked.bands,
        mask=plugin,
        mask_options=asked.mask_options,
        resampling=asked.resampling,  # type: ignore[arg-type]
        offset=asked.offset,  # type: ignore[arg-type]
        nbar=asked.nbar,
    )


def mask_values(values: list[str]) -> dict[str, float | bool | str]:
    """``NAME=VALUE`` … of a mask: true, false, a number, else text.

    Raises:
        UsageError: Not of that form.
    """
    found: dict[str, float | bool | str] = {}
    for text in values:
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"--mask-option {text!r} is not NAME=VALUE", remedy="write e.g. keep_snow=true")
        try:
            found[name] = value == "true" if value in {"true", "false"} else float(value)
        except ValueError:
            found[name] = value
    return found


def _refuse_elsewhere(scenes: list[Scene], settings: S2Settings, aoi: Path) -> None:
    """Refuse scenes that do not touch the area: their observations would hold nothing."""
    import shapely

    from landcover_cli.steps.preprocess_s2 import footprint_on

    area = shapely.box(*settings.area_m)
    for scene in scenes:
        ground = footprint_on(scene, settings.crs)
        if not ground.intersects(area):
            there, here = (", ".join(f"{edge:.0f}" for edge in shape.bounds) for shape in (area, ground))
            raise InputError(
                f"AOI {aoi} ({there} in {settings.crs[:40]}) lies outside scene {scene.id} ({here})",
                remedy="leave the scene out, or check the AOI",
            )


def _ground(scene: Scene, band: str) -> tuple[str, tuple[float, float, float, float]]:
    from landcover_cli.io.raster import gdal_env, open_raster, raster_info

    with gdal_env(), open_raster(scene.assets[band].href) as dataset:
        info = raster_info(dataset)
    return info.crs, info.bounds_m
