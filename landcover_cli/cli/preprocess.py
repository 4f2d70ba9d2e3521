"""`lc preprocess`: scenes as observations on a grid."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landcover_cli.cli import options
from landcover_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from landcover_cli.core.types import Scene
    from landcover_cli.io.preprocess_s2 import S2Settings

log = logging.getLogger("lc")


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    group = typer.Typer(no_args_is_help=True, help="Bring scenes to a grid: radiometry, mask, geometry.")
    group.command("s2")(s2)
    app.add_typer(group, name="preprocess")


def s2(
    products: Annotated[
        list[str], typer.Argument(help="SAFE folders or zips (Level-2A), or STAC files or URLs.", metavar="PRODUCT...")
    ],
    out: options.Out,
    aoi: Annotated[Path | None, typer.Option(help="Polygon file; only its bounds are read.")] = None,
    crs: Annotated[
        str | None, typer.Option(help="CRS of the grid, e.g. EPSG:32631; default: the first scene's.")
    ] = None,
    res: Annotated[float, typer.Option(min=0.1, help="Pixel edge in metres.")] = 10.0,
    bands: Annotated[str, typer.Option(help="Bands in order, separated by commas.")] = "",
    mask: Annotated[str, typer.Option(help="Mask plug-in (see `lc plugins`).")] = "scl",
    offset: Annotated[
        str, typer.Option(help="Radiometric offset: auto, applied (taken out already) or in_pixels.")
    ] = "auto",
    resampling: Annotated[str, typer.Option(help="How coarser bands come to --res: bilinear or nearest.")] = "bilinear",
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Sentinel-2 scenes as observations: DIR/<scene>/data.tif, mask.tif and observation.json."""
    from landcover_cli.io.atomic import atomic_folder
    from landcover_cli.io.preprocess_s2 import preprocess_s2

    _check("--offset", offset, ("auto", "applied", "in_pixels"))
    _check("--resampling", resampling, ("bilinear", "nearest"))
    scenes = _scenes(products)
    settings = _settings(scenes[0], aoi, crs, res, bands, mask, offset, resampling)
    records = []
    for scene in scenes:
        target = out / scene.id
        record: dict[str, Any] = {"scene": scene.id, "observation": str(target), "bands": list(settings.bands)}
        if not dry_run:
            log.info("%s", scene.id)
            with atomic_folder(target) as scratch:
                about = preprocess_s2(scene, settings, scratch)
            record |= {"bounds_m": list(about.bounds_m), "offset": dict(about.facts)["offset"]}
        records.append(record)
    if as_json:
        typer.echo(json.dumps(records, ensure_ascii=False))
        return
    for record in records:
        typer.echo(f"{'would write' if dry_run else 'wrote'} {record['observation']}")


def _check(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{option} {value!r} is unknown", remedy=f"use {', '.join(allowed)}")


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


def _settings(
    first: Scene, aoi: Path | None, crs: str | None, res: float, bands: str, mask: str, offset: str, resampling: str
) -> S2Settings:
    from landcover_cli.config.sources import S2_LAND_BANDS
    from landcover_cli.core.lattice import snap_out
    from landcover_cli.io.preprocess_s2 import S2Settings
    from landcover_cli.io.safe_s2 import require_bands
    from landcover_cli.io.vector import aoi_on_grid, read_aoi
    from landcover_cli.registry import load

    names = tuple(bands.split(",")) if bands else S2_LAND_BANDS
    require_bands(first, names, first.id)
    own_crs, whole = _ground(first, names[0])
    target = crs or own_crs
    if aoi is not None:
        area = aoi_on_grid(read_aoi(aoi), target).bounds
    elif target == own_crs:
        area = whole
    else:
        raise UsageError("--crs without --aoi", remedy="give the area with --aoi")
    return S2Settings(
        crs=target,
        gsd_m=res,
        area_m=snap_out(area, res),
        bands=names,
        mask=load("mask", mask),
        resampling=resampling,  # type: ignore[arg-type]
        offset=offset,  # type: ignore[arg-type]
    )


def _ground(scene: Scene, band: str) -> tuple[str, tuple[float, float, float, float]]:
    from landcover_cli.io.raster import gdal_env, open_raster, raster_info

    with gdal_env(), open_raster(scene.assets[band].href) as dataset:
        info = raster_info(dataset)
    return info.crs, info.bounds_m
