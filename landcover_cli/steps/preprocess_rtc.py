"""Step: terrain-corrected Sentinel-1 products of others as observations on the product grid, one per pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landcover_cli.core.plan import PlanContext, Region, Step
from landcover_cli.core.types import Scene
from landcover_cli.core.unit import Inputs, RunContext, Unit, UnitRef
from landcover_cli.errors import InputError
from landcover_cli.steps.preprocess_s2 import PlannedScene, absent, area_of, footprint_on

if TYPE_CHECKING:
    from landcover_cli.config.sources import Sentinel1RtcSource
    from landcover_cli.io.rtc_items import RtcItem

NAME = "preprocess_rtc"


@dataclass(frozen=True)
class PlannedPass:
    """One observation to make.

    Attributes:
        items: What one satellite saw in one pass of the area, in the order of time.
        planned: What composites need to know.
    """

    items: tuple[RtcItem, ...]
    planned: PlannedScene


def plan(ctx: PlanContext) -> list[Unit]:
    """One unit per region, source and pass that touches the region's tiles within its periods."""
    units = []
    for region in ctx.regions:
        for name, source in ctx.config.sources.items():
            if source.type == "sentinel1_rtc":
                units += [_unit(ctx, region, name, source, one) for one in _passes(ctx, region, name, source)]
    return units


def scenes_of(ctx: PlanContext, region: Region, name: str, source: Sentinel1RtcSource) -> tuple[PlannedScene, ...]:
    """Passes of a source that a region uses, sorted by time and id; found once per plan.

    Raises:
        InputError: An item lacks a polarisation or does not say its orbit direction, directions are mixed unasked, or
            the source has nothing at all for the region.
    """
    return tuple(one.planned for one in _passes(ctx, region, name, source))


def _passes(ctx: PlanContext, region: Region, name: str, source: Sentinel1RtcSource) -> tuple[PlannedPass, ...]:
    key = ("rtc passes", region.name, name)
    if key not in ctx.cache:
        ctx.cache[key] = _find(ctx, region, name, source)
    found: tuple[PlannedPass, ...] = ctx.cache[key]
    return found


def _find(ctx: PlanContext, region: Region, name: str, source: Sentinel1RtcSource) -> tuple[PlannedPass, ...]:
    from landcover_cli.io.rtc_items import passes

    known = _items(ctx, region, source)
    used = _within(ctx, region, source, known)
    for item, _ in used:
        _check_polarisations(name, item, source)
    if not used:
        absent(region, name, source.optional, f"{len(known)} items known")
    _check_directions(name, [item for item, _ in used], source)
    grounds = {item.id: ground for item, ground in used}
    groups = passes([item for item, _ in used])
    return tuple(_planned(region, name, group, [grounds[item.id] for item in group]) for group in groups)


def _items(ctx: PlanContext, region: Region, source: Sentinel1RtcSource) -> tuple[RtcItem, ...]:
    from landcover_cli.io.rtc_items import read_rtc
    from landcover_cli.sensors.sentinel1 import SENSOR

    href = source.stac if "://" in source.stac else str(ctx.path(source.stac, region))
    if ("rtc", href) not in ctx.cache:
        ctx.cache["rtc", href] = read_rtc(href, SENSOR)
    found: tuple[RtcItem, ...] = ctx.cache["rtc", href]
    return found


def _within(
    ctx: PlanContext, region: Region, source: Sentinel1RtcSource, items: Sequence[RtcItem]
) -> list[tuple[RtcItem, Any]]:
    """Items over the area, within the periods and of the direction asked for, with their ground."""
    import shapely

    area = shapely.box(*area_of(ctx, region))
    found = []
    for item in items:
        if not any(period.contains(item.when) for period in region.periods):
            continue
        ground = footprint_on(_scene(item.id, [item]), ctx.grid.crs)
        if not ground.intersects(area):
            continue
        stated = with_stated_direction(item) if source.orbit != "both" and not item.direction else item
        if source.orbit in (None, "both", stated.direction) or not stated.direction:
            found.append((stated, ground))
    return found


def with_stated_direction(item: RtcItem) -> RtcItem:
    """The item with its orbit direction from the tags of a raster, as OPERA writes them."""
    from landcover_cli.io.raster import gdal_env, open_raster
    from landcover_cli.io.rtc_items import with_direction

    for href in list(item.assets.values())[:1]:
        with gdal_env(), open_raster(href) as dataset:
            return with_direction(item, dataset.tags())
    return item


def _check_polarisations(name: str, item: RtcItem, source: Sentinel1RtcSource) -> None:
    missing = [band for band in source.polarisations if band not in item.assets]
    if missing:
        raise InputError(
            f"source {name!r}: item {item.id} has no asset of {missing[0]} "
            f"(its assets: {', '.join(item.keys) or 'none'})",
            remedy=f"leave the item out of sources.{name}.stac, or change sources.{name}.polarisations",
        )


def _check_directions(name: str, items: Sequence[RtcItem], source: Sentinel1RtcSource) -> None:
    if source.orbit == "both":
        return
    directions = {item.direction: item.id for item in items}
    if "" in directions:
        raise InputError(
            f"source {name!r}: neither item {directions['']} nor its rasters say the orbit direction",
            remedy=f"write sat:orbit_state into the item, or set sources.{name}.orbit: both",
        )
    if len(directions) > 1:
        said = " and ".join(f"{direction} ({example})" for direction, example in sorted(directions.items()))
        raise InputError(
            f"source {name!r} holds passes of both directions: {said}; hills look different from either side",
            remedy=f"make two sources, one with orbit: ascending and one with orbit: descending, or set "
            f"sources.{name}.orbit: both to composite them together",
        )


def _scene(own: str, items: Sequence[RtcItem]) -> Scene:
    first = items[0]
    return Scene(own, "sentinel1", first.when, first.footprint, {}, {"orbit_direction": first.direction})


def _planned(region: Region, name: str, group: tuple[RtcItem, ...], grounds: Sequence[Any]) -> PlannedPass:
    import shapely

    from landcover_cli.io.rtc_items import pass_name

    own = pass_name(group)
    ref = UnitRef(NAME, f"{region.name}/{name}/{own}")
    return PlannedPass(group, PlannedScene(_scene(own, group), None, shapely.union_all(grounds), ref))


def _unit(ctx: PlanContext, region: Region, name: str, source: Sentinel1RtcSource, one: PlannedPass) -> Unit:
    from landcover_cli.io.rtc_items import pass_facts

    files: dict[str, str] = {}
    for n, item in enumerate(one.items):
        for band in source.polarisations:
            files |= _with_sidecar(f"item/{n:03d}/{band}", item.assets[band])
        if source.product_mask and item.mask:
            files |= _with_sidecar(f"item/{n:03d}/mask", item.mask)
    params = {
        # Which passes are looked for, and what becomes of them, changes no observation.
        "sources": {name: source.model_dump(mode="json", exclude={"stac", "orbit", "composite", "optional"})},
        "grid": ctx.grid.to_dict(),
        "area_m": list(area_of(ctx, region)),
        "pass": pass_facts(one.items),
        "nodata": [_finite(item.nodata) for item in one.items],
    }
    return Unit(NAME, one.planned.ref.id, params, files)


def _finite(nodata: Any) -> dict[str, float]:
    """Without NaN, which is no JSON and means nothing anyway."""
    return {band: value for band, value in sorted(nodata.items()) if value == value}  # noqa: PLR0124


def _with_sidecar(key: str, href: str) -> dict[str, str]:
    """A raster, and the file beside it that may hold its georeference."""
    sidecar = f"{href}.aux.xml"
    return {key: href, **({f"{key}.aux": sidecar} if "://" not in href and Path(sidecar).is_file() else {})}


def run(unit: Unit, inputs: Inputs, out: Path, ctx: RunContext) -> None:
    """Write ``data.tif``, ``mask.tif`` and ``observation.json`` of one pass."""
    from landcover_cli.io.preprocess_rtc import RtcPart, RtcSettings, preprocess_rtc

    ((_, section),) = unit.params["sources"].items()
    grid, about = unit.params["grid"], unit.params["pass"]
    settings = RtcSettings(
        crs=grid["crs"],
        gsd_m=section["resolution_m"] or grid["resolution_m"],
        area_m=tuple(unit.params["area_m"]),
        polarisations=tuple(section["polarisations"]),
        units=section["units"],
        speckle=section["speckle"],
        speckle_options=section["speckle_options"],
        resampling=section["resampling"],
    )
    parts = [
        RtcPart(
            id=item,
            bands={band: inputs.files[f"item/{n:03d}/{band}"] for band in settings.polarisations},
            mask=inputs.files.get(f"item/{n:03d}/mask", ""),
            nodata=unit.params["nodata"][n],
        )
        for n, item in enumerate(about["facts"]["items"])
    ]
    preprocess_rtc(about, parts, settings, out, ctx.check)


STEP = Step(name=NAME, title="Terrain-corrected Sentinel-1 products", version=1, plan=plan, run=run)
