"""`lc preprocess rtc`: terrain-corrected Sentinel-1 products of others as observations on a grid."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landcover_cli.cli import options
from landcover_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from landcover_cli.io.preprocess_rtc import RtcSettings
    from landcover_cli.io.rtc_items import RtcItem

log = logging.getLogger("lc")
_ALLOWED = {
    "--orbit": ("ascending", "descending", "both"),
    "--units": ("linear", "db", "amplitude"),
    "--resampling": ("bilinear", "nearest"),
}


def rtc(
    items: Annotated[
        str, typer.Argument(help="STAC item, item collection, catalogue or folder of items.", metavar="ITEMS")
    ],
    out: options.Out,
    aoi: Annotated[Path | None, typer.Option(help="Polygon file; only its bounds are read.")] = None,
    crs: Annotated[
        str | None, typer.Option(help="CRS of the grid; default: the UTM zone of --aoi, else the first raster's.")
    ] = None,
    res: Annotated[float, typer.Option(min=0.1, help="Pixel edge in metres.")] = 10.0,
    polarisation: Annotated[str, typer.Option(help="Bands in order, separated by commas.")] = "VV,VH",
    orbit: Annotated[str, typer.Option(help="Passes of this direction: ascending, descending or both.")] = "both",
    units: Annotated[str, typer.Option(help="Of the files' values: linear, db or amplitude.")] = "linear",
    speckle: Annotated[str, typer.Option(help="Speckle filter (see `lc plugins`), or none.")] = "none",
    speckle_option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Parameter of the filter, e.g. looks=4.4.")
    ] = None,
    product_mask: Annotated[
        bool, typer.Option("--product-mask/--no-product-mask", help="Leave out what the items' own mask marks.")
    ] = True,
    resampling: Annotated[str, typer.Option(help="How values come to --res: bilinear or nearest.")] = "bilinear",
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Terrain-corrected Sentinel-1 of others as observations, one per pass: DIR/<pass>/data.tif and its fellows."""
    from landcover_cli.io.atomic import atomic_folder
    from landcover_cli.io.preprocess_rtc import preprocess_rtc, rtc_filter
    from landcover_cli.io.rtc_items import pass_facts, passes

    for option, value in (("--orbit", orbit), ("--units", units), ("--resampling", resampling)):
        if value not in _ALLOWED[option]:
            raise UsageError(f"{option} {value!r} is unknown", remedy=f"use {', '.join(_ALLOWED[option])}")
    bands = _bands(polarisation)
    choices = {
        "units": units,
        "speckle": speckle,
        "speckle_options": _numbers(speckle_option),
        "resampling": resampling,
    }
    rtc_filter(speckle, choices["speckle_options"])  # type: ignore[arg-type]
    used = _used(items, aoi, orbit, bands)
    settings = _settings(used, aoi, crs, res, bands, choices)
    records = []
    for group in passes(used):
        about = pass_facts(group)
        target = out / about["id"]
        records.append({"pass": about["id"], "observation": str(target), **about["facts"]})
        if not dry_run:
            log.info("%s: %d items", about["id"], len(group))
            with atomic_folder(target) as scratch:
                preprocess_rtc(about, [_part(item, product_mask) for item in group], settings, scratch)
    if as_json:
        typer.echo(json.dumps(records, ensure_ascii=False))
        return
    for record in records:
        typer.echo(f"{'would write' if dry_run else 'wrote'} {record['observation']}")


def _bands(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().upper() for name in text.split(",") if name.strip())
    if not names or len(set(names)) < len(names) or not set(names) <= {"VV", "VH", "HH", "HV"}:
        raise UsageError(f"--polarisation {text!r} is no list of VV, VH, HH, HV", remedy="write for example VV,VH")
    return names


def _numbers(pairs: list[str] | None) -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    for pair in pairs or ():
        name, _, text = pair.partition("=")
        try:
            found[name] = int(text) if text.lstrip("-").isdecimal() else float(text)
        except ValueError:
            raise UsageError(f"--speckle-option {pair!r} is not NAME=VALUE", remedy="write e.g. looks=4.4") from None
    return found


def _used(href: str, aoi: Path | None, orbit: str, bands: Sequence[str]) -> list[RtcItem]:
    """Items over the area, of the direction asked for, all with the bands."""
    import shapely.geometry

    from landcover_cli.io.rtc_items import read_rtc
    from landcover_cli.io.vector import read_aoi
    from landcover_cli.sensors.sentinel1 import SENSOR
    from landcover_cli.steps.preprocess_rtc import with_stated_direction

    area = read_aoi(aoi).geometry_4326 if aoi else None
    known = read_rtc(href, SENSOR)
    found = []
    for item in known:
        if area is not None and not shapely.geometry.shape(item.footprint).intersects(area):
            continue
        missing = [band for band in bands if band not in item.assets]
        if missing:
            raise InputError(
                f"item {item.id} has no asset of {missing[0]} (its assets: {', '.join(item.keys) or 'none'})",
                remedy="leave the item out, or change --polarisation",
            )
        stated = item if item.direction else with_stated_direction(item)
        if not stated.direction and orbit != "both":
            raise InputError(
                f"neither item {item.id} nor its rasters say the orbit direction",
                remedy="write sat:orbit_state into the item, or use --orbit both",
            )
        if orbit in ("both", stated.direction):
            found.append(stated)
    if not found:
        what = "" if orbit == "both" else f"{orbit} and "
        raise InputError(
            f"none of {len(known)} items in {href} is {what}over {aoi or 'anything'}",
            remedy="check --aoi and --orbit",
        )
    return found


def _settings(
    used: Sequence[RtcItem],
    aoi: Path | None,
    crs: str | None,
    res: float,
    bands: tuple[str, ...],
    choices: dict[str, Any],
) -> RtcSettings:
    from landcover_cli.core.grid import metric_crs, utm_epsg
    from landcover_cli.core.lattice import snap_out
    from landcover_cli.io.preprocess_rtc import RtcSettings
    from landcover_cli.io.vector import aoi_on_grid, read_aoi

    if aoi is not None:
        area = read_aoi(aoi)
        centre = area.geometry_4326.centroid
        target = metric_crs(crs, "--crs") if crs else f"EPSG:{utm_epsg(centre.x, centre.y)}"
        bounds = aoi_on_grid(area, target).bounds
    else:
        target, bounds = _ground(used, bands[0], metric_crs(crs, "--crs") if crs else None, res)
    return RtcSettings(target, res, snap_out(bounds, res), bands, **choices)


def _ground(
    used: Sequence[RtcItem], band: str, crs: str | None, res: float
) -> tuple[str, tuple[float, float, float, float]]:
    """CRS and bounds of all rasters together."""
    from landcover_cli.io.ongrid import covered
    from landcover_cli.io.raster import gdal_env, open_raster, raster_info

    edges = []
    for item in used:
        with gdal_env(), open_raster(item.assets[band]) as dataset:
            info = raster_info(dataset)
        crs = crs or info.crs
        edges.append(covered(info, crs, res))
    assert crs is not None
    lefts, bottoms, rights, tops = zip(*edges, strict=True)
    return crs, (min(lefts), min(bottoms), max(rights), max(tops))


def _part(item: RtcItem, product_mask: bool) -> Any:
    from landcover_cli.io.preprocess_rtc import RtcPart

    return RtcPart(item.id, item.assets, item.mask if product_mask else "", item.nodata)
