"""Step: composites, one cube piece per source, tile and period; static layers once per tile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landcover_cli.core.bands import POLARIMETRIC_UNITS
from landcover_cli.core.grid import ProductGrid, Tile
from landcover_cli.core.lattice import Lattice, intersect
from landcover_cli.core.plan import PlanContext, Region, Step
from landcover_cli.core.types import Period
from landcover_cli.core.unit import Inputs, RunContext, Unit
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.steps.preprocess_rtc import scenes_of as corrected_of
from landcover_cli.steps.preprocess_s1 import polarimetric_bands
from landcover_cli.steps.preprocess_s1 import scenes_of as passes_of
from landcover_cli.steps.preprocess_s2 import absent, area_of, expand, scenes_of, touches, unmatched

if TYPE_CHECKING:
    from landcover_cli.config.sources import (
        Sentinel1RtcSource,
        Sentinel1Source,
        Sentinel2Source,
        SourceConfig,
        StackSource,
        StaticSource,
    )
    from landcover_cli.io.cubestore import CubeSpec
    from landcover_cli.io.stack import Stack, StackSettings
    from landcover_cli.io.static import StaticSettings

CUBE = "cube.zarr"
_SENSORS = {
    "sentinel1_grd": "sentinel1",
    "sentinel1_slc": "sentinel1",
    "sentinel1_rtc": "sentinel1",
    "sentinel2_l1c": "sentinel2_l1c",
    "sentinel2_l2a": "sentinel2",
}
"""Sources whose scenes become observations first."""


def plan(ctx: PlanContext) -> list[Unit]:
    """One unit per region, source, tile and period.

    A tile that no look's footprint touches in any period has no unit; a period without a look over a tile that others
    touch has one, and its piece is empty: nobody saw, which is not the same as nobody asked.
    """
    units: list[Unit] = []
    for region in ctx.regions:
        for name, source in ctx.config.sources.items():
            _check_resolution(ctx, name, source)
            if source.type == "stack":
                units += _plan_stack(ctx, region, name, source)
            elif source.type == "static":
                units += _plan_static(ctx, region, name, source)
            else:
                units += _plan_scenes(ctx, region, name, source)
    return units


def _check_resolution(ctx: PlanContext, name: str, source: SourceConfig) -> None:
    gsd_m = source.resolution_m or ctx.grid.resolution_m
    pixels = ctx.grid.tile_m / gsd_m
    if abs(pixels - round(pixels)) > 1e-6:
        raise ConfigError(
            f"sources.{name}.resolution_m: {gsd_m:g} m does not divide the tile edge of {ctx.grid.tile_m:g} m",
            remedy="choose grid.tile_px or the source's resolution_m so that it does",
        )


def _unit(ctx: PlanContext, region: Region, name: str, tile: Tile, last: str, params: dict[str, Any]) -> dict[str, Any]:
    return {
        "step": "composite",
        "id": f"{region.name}/{name}/{tile.id}/{last}",
        "params": {"sources": {name: params}, "grid": ctx.grid.to_dict(), "tile_id": tile.id},
    }


def _plan_scenes(
    ctx: PlanContext, region: Region, name: str, source: Sentinel1Source | Sentinel1RtcSource | Sentinel2Source
) -> list[Unit]:
    if source.type == "sentinel1_grd" or source.type == "sentinel1_slc":  # noqa: PLR1714  mypy narrows this
        scenes, own = passes_of(ctx, region, name, source), {"polarisations", "backscatter", "orbit"}
    elif source.type == "sentinel1_rtc":
        scenes, own = corrected_of(ctx, region, name, source), {"polarisations", "orbit"}
    else:
        scenes, own = scenes_of(ctx, region, name, source), {"bands"}
    # The mask, offset, geometry and resampling act through the observations' keys.
    params = source.model_dump(mode="json", include={"type", "composite", "resolution_m", *own})
    # Only where asked for, so that the keys of other cubes do not change.
    if getattr(source, "indices", ()):
        params["indices"] = list(source.indices)  # type: ignore[union-attr]
    further = polarimetric_bands(getattr(source, "polarimetry", ()))
    if further:
        params["polarimetry"] = further
    units = []
    for tile in region.context_tiles:
        over = [planned for planned in scenes if touches(planned, ctx, tile)]
        if not over:
            continue
        for period in region.periods:
            needs = {f"scene/{p.scene.id}": p.ref for p in over if period.contains(p.scene.datetime)}
            unit = _unit(ctx, region, name, tile, period.label, params)
            unit["params"]["period"] = _days(period)
            units.append(Unit(**unit, needs=needs))
    return units


def _days(period: Period) -> list[str]:
    return [period.start.isoformat(), period.end.isoformat()]


def _plan_stack(ctx: PlanContext, region: Region, name: str, source: StackSource) -> list[Unit]:
    from landcover_cli.io.stack import touches as date_touches

    stack = _scan(ctx, region, name, source)
    if stack is None:
        return []
    area = area_of(ctx, region)
    seen = [d for p in region.periods for d in stack.within(p, area, ctx.grid.crs)]
    if not seen:
        absent(region, name, source.optional, f"{len(stack.dates)} dates known")
        return []
    params = source.model_dump(mode="json", exclude={"files", "optional", *(() if source.indices else ("indices",))})
    params["bands"] = list(stack.settings.bands)
    units = []
    for tile in region.context_tiles:
        bounds = ctx.grid.tile_bounds_m(tile)
        over = [date for date in seen if date_touches(date, bounds, ctx.grid.crs)]
        if not over:
            continue
        for period in region.periods:
            used = sorted({i for d in over if period.contains(d.when) for i, _, _ in d.parts})
            unit = _unit(ctx, region, name, tile, period.label, params)
            unit["params"]["period"] = _days(period)
            files = {f"file/{n}": str(stack.files[i].path) for n, i in enumerate(used)}
            units.append(Unit(**unit, files=files))
    return units


def _scan(ctx: PlanContext, region: Region, name: str, source: StackSource) -> Stack | None:
    from landcover_cli.io.stack import scan_stack

    paths = expand(ctx, region, name, source.files)
    if not paths:
        absent(region, name, source.optional, unmatched(source.files))
        return None
    settings = stack_settings(name, source.model_dump(mode="json"))
    key = ("stack", name, tuple(paths))
    if key not in ctx.cache:
        try:
            ctx.cache[key] = scan_stack(paths, settings)
        except InputError as error:
            if not source.optional:
                raise
            # An optional source whose band is missing here is absent here; why is said.
            absent(region, name, True, error.problem)
            return None
    found: Stack = ctx.cache[key]
    return found


def _plan_static(ctx: PlanContext, region: Region, name: str, source: StaticSource) -> list[Unit]:
    from landcover_cli.io.static import static_covers

    gsd_m = source.resolution_m or ctx.grid.resolution_m
    settings = _static_settings(name, source.model_dump(mode="json"))
    paths = expand(ctx, region, name, source.files)
    area = Lattice(ctx.grid.crs, gsd_m, area_of(ctx, region))
    grounds = static_covers(paths, area, settings)
    if not grounds:
        absent(region, name, source.optional, f"{len(paths)} files known" if paths else unmatched(source.files))
        return []
    params = source.model_dump(mode="json", exclude={"files", "optional"})
    units = []
    for tile in region.context_tiles:
        bounds = ctx.grid.tile_bounds_m(tile)
        over = [path for path, ground in grounds.items() if intersect(ground, bounds)]
        if over:
            unit = _unit(ctx, region, name, tile, "static", params)
            files = {f"file/{n}": str(path) for n, path in enumerate(over)}
            units.append(Unit(**unit, files=files))
    return units


def stack_settings(name: str, section: dict[str, Any]) -> StackSettings:
    """Settings of a stack from its section of the pipeline file.

    Raises:
        ConfigError: No such sensor or mask plug-in.
    """
    from landcover_cli.io.stack import StackSettings
    from landcover_cli.io.stackfile import Hints
    from landcover_cli.registry import load

    hints = Hints(
        variables=section["variables"],
        file_bands=tuple(section["file_bands"]),
        date_pattern=section["date_pattern"],
        crs=section["crs"],
        nodata=section["nodata"],
    )
    return StackSettings(
        name=name,
        sensor=load("sensor", section["sensor"]),
        bands=tuple(section["bands"]),
        units=section["units"],
        mask=load("mask", section["mask"]),
        dn_offset=section["dn_offset"],
        orbit=section["orbit"],
        mask_options=section["mask_options"],
        resampling=section["resampling"],
        hints=hints,
    )


def _static_settings(name: str, section: dict[str, Any]) -> StaticSettings:
    from landcover_cli.io.static import StaticSettings

    return StaticSettings(
        name=name,
        bands=tuple(section["bands"]),
        derive=tuple(section["derive"]),
        resampling=section["resampling"],
        nodata=section["nodata"],
    )


def run(unit: Unit, inputs: Inputs, out: Path, ctx: RunContext) -> None:
    """Write ``cube.zarr`` of one source, tile and period."""
    from landcover_cli.io.composite import composite_observations, composite_stack, composite_static
    from landcover_cli.io.stack import scan_stack

    ((name, section),) = unit.params["sources"].items()
    files = [Path(path) for key, path in sorted(inputs.files.items()) if key.startswith("file/")]
    if section["type"] == "static":
        settings = _static_settings(name, section)
        spec = _spec(unit, name, section, settings.all_bands, {"method": "none"})
        composite_static(files, out / CUBE, spec, settings, ctx.check)
        return
    method, indices = section["composite"], section.get("indices", ())
    scenes = inputs.group("scene")
    if section["type"] in _SENSORS:
        items: Sequence[str] = sorted(scenes)
        attrs: dict[str, Any] = {"method": method, "items": items}
        if section.get("polarimetry"):
            attrs["band_units"] = {band: POLARIMETRIC_UNITS[band] for band in section["polarimetry"]}
        spec = _spec(unit, name, section, _bands(section), attrs)
        folders = [scenes[key] for key in items]
        composite_observations(folders, out / CUBE, spec, method, ctx.check, ctx.memory_bytes, indices)
        return
    facts: dict[str, Any] = {"method": method}
    spec = _spec(unit, name, section, tuple(section["bands"]), {**facts, "items": []})
    if not files:
        composite_observations([], out / CUBE, spec, method, ctx.check, 0, indices)
        return
    stack = scan_stack(files, stack_settings(name, section))
    dates = stack.within(spec.periods[0], spec.bounds_m, spec.crs)
    facts["items"] = [date.when.isoformat().replace("+00:00", "Z") for date in dates]
    spec = _spec(unit, name, section, tuple(section["bands"]), facts)
    composite_stack(stack, out / CUBE, spec, method, ctx.check, indices)


def _bands(section: dict[str, Any]) -> tuple[str, ...]:
    """Bands of a cube, from the params of its source."""
    return (
        tuple(section["bands"]) if "bands" in section else (*section["polarisations"], *section.get("polarimetry", ()))
    )


def _spec(unit: Unit, name: str, section: dict[str, Any], bands: tuple[str, ...], attrs: dict[str, Any]) -> CubeSpec:
    from datetime import date

    from landcover_cli.io.composite import cube_layers
    from landcover_cli.io.cubestore import CubeSpec
    from landcover_cli.registry import load

    grid = ProductGrid(**unit.params["grid"])
    static = section["type"] == "static"
    sensor = None if static else load("sensor", _SENSORS.get(section["type"]) or section["sensor"])
    units = sensor.units if sensor else "native"
    if section["type"] in {"sentinel1_grd", "sentinel1_slc"}:
        from landcover_cli.io.s1_prepare import UNITS

        units = UNITS[section["backscatter"]]
    periods: tuple[Period, ...] = ()
    if not static:
        start, end = unit.params["period"]
        periods = (Period(date.fromisoformat(start), date.fromisoformat(end)),)
    return CubeSpec(
        source=name,
        sensor=sensor.name if sensor else "",
        kind="image" if static else "series",
        bands=bands,
        units=units,
        scale=sensor.scale if sensor else 1.0,
        offset=sensor.offset if sensor else 0.0,
        gsd_m=float(section["resolution_m"] or grid.resolution_m),
        crs=grid.crs,
        bounds_m=grid.tile_bounds_m(Tile.parse(unit.params["tile_id"])),
        periods=periods,
        dtype=sensor.dtype if sensor else "float32",
        attrs=attrs,
        layers=() if static else cube_layers(section["composite"]),
    )


def _publish(unit: Unit) -> str:
    return f"cubes/{unit.id}"


def _check(unit: Unit) -> None:
    """Refuse a method or an index whose bands the source does not have.

    Raises:
        ConfigError: Names the method or index and the bands.
    """
    from landcover_cli.io.composite import band_roles
    from landcover_cli.optical.indices import resolve_indices
    from landcover_cli.registry import load

    ((name, section),) = unit.params["sources"].items()
    if section["type"] == "static":
        return
    bands = _bands(section)
    roles = band_roles(_spec(unit, name, section, bands, {}))
    load("composite", section["composite"]).require(roles)
    resolve_indices(section.get("indices", ()), bands, roles)


STEP = Step(name="composite", title="Composites", version=1, plan=plan, run=run, check=_check, publish=_publish)
