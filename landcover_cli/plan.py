"""Resolve a pipeline file into a plan: regions on the grid, units with keys. Metadata only, no pixel is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landcover_cli import registry
from landcover_cli.config.pipeline import PipelineConfig
from landcover_cli.core.grid import ProductGrid, metric_crs, utm_epsg
from landcover_cli.core.plan import PlanContext, Region, Step
from landcover_cli.core.types import Period, split_periods
from landcover_cli.core.unit import PlannedUnit, UnitRef, plan_unit
from landcover_cli.errors import ConfigError
from landcover_cli.io.digests import FileDigests
from landcover_cli.io.resultstore import ResultStore, differences

if TYPE_CHECKING:
    from landcover_cli.config.sources import Sentinel1RtcSource, Sentinel1Source
    from landcover_cli.io.vector import Aoi

log = logging.getLogger("lc")

ORDER = (
    "preprocess_s1",
    "preprocess_rtc",
    "preprocess_s2",
    "composite",
    "labels",
    "patches",
    "train",
    "predict",
    "map",
    "assess",
    "report",
)
"""The order of the steps; steps of other distributions are no part of the chain."""


@dataclass(frozen=True)
class Plan:
    """Every unit of a run, in an order in which they can be carried out.

    Attributes:
        config: The pipeline file.
        workspace: Folder of all results.
        grid: The product grid.
        regions: Regions on it.
        units: All units with their keys.
        files: Unit → its external inputs (name → path or URL).
    """

    config: PipelineConfig
    workspace: Path
    grid: ProductGrid
    regions: tuple[Region, ...]
    units: dict[UnitRef, PlannedUnit]

    @property
    def store(self) -> ResultStore:
        """The result store of the workspace."""
        return ResultStore(self.workspace)

    def of_step(self, step: str) -> list[PlannedUnit]:
        """Units of one step, in plan order."""
        return [planned for ref, planned in self.units.items() if ref.step == step]

    def steps(self) -> Iterator[tuple[Step, list[PlannedUnit]]]:
        """Steps that have units, in order."""
        for name in ORDER:
            units = self.of_step(name)
            if units:
                yield load_step(name), units


def load_step(name: str) -> Step:
    """A step plug-in by name."""
    step: Step = registry.load("step", name)
    return step


def make_plan(config: PipelineConfig, base: Path, workspace: Path | None = None, until: str | None = None) -> Plan:
    """Lay out all units and give each its key.

    Args:
        config: The pipeline file.
        base: Its folder.
        workspace: Overrides the file's workspace.
        until: Last step to plan; None for all.

    Raises:
        ConfigError: The pipeline file contradicts itself.
        InputError: An input is missing or invalid.
    """
    _check_names(config)
    root = (workspace or base / config.workspace).resolve()
    grid, regions = _resolve_place(config, base)
    context = PlanContext(config, base, grid, regions)
    digests = FileDigests(root / "cache" / "digests.json")
    planned: dict[UnitRef, PlannedUnit] = {}
    for name in ORDER:
        step = load_step(name)
        units = sorted(step.plan(context), key=lambda unit: unit.id)
        context.units[name] = tuple(units)
        for unit in units:
            files = {key: digests.digest(href) for key, href in unit.files.items()}
            keys = {key: planned[ref].key for key, ref in unit.needs.items()}
            planned[unit.ref] = plan_unit(unit, step.version, files, keys)
        if name == until:
            break
    if root.exists():
        digests.save()
    return Plan(config, root, grid, regions, planned)


def _check_names(config: PipelineConfig) -> None:
    """Refuse what no plug-in answers to now: the steps would say it only when it is their turn, hours later."""
    for name, source in config.sources.items():
        if source.type == "static":
            continue
        # One by one, because mypy narrows that.
        if source.type == "sentinel1_grd" or source.type == "sentinel1_slc" or source.type == "sentinel1_rtc":  # noqa: PLR1714
            registry.require("composite", source.composite)
            _check_speckle(name, source)
            continue
        for kind in ("mask", "composite"):
            registry.require(kind, getattr(source, kind))
        if source.mask_options:
            registry.load("mask", source.mask).options(source.mask_options)
        sensor = registry.load("sensor", source.sensor)
        unknown = [band for band in source.bands if band not in sensor.band_names()]
        if unknown:
            raise ConfigError(
                f"sources.{name}.bands: sensor {sensor.name!r} has no band {unknown[0]!r}",
                remedy=f"its bands: {', '.join(sensor.band_names())}",
            )
    registry.require("model", config.train.model)
    registry.require("objective", config.train.objective)
    strange = sorted(set(config.train.inputs) - set(config.sources))
    if strange:
        raise ConfigError(
            f"train.inputs: there is no source {strange[0]!r}", remedy=f"choose from {', '.join(config.sources)}"
        )


def _check_speckle(name: str, source: Sentinel1Source | Sentinel1RtcSource) -> None:
    if source.speckle == "none":
        return
    if source.type == "sentinel1_rtc":
        from landcover_cli.io.preprocess_rtc import rtc_filter

        rtc_filter(source.speckle, source.speckle_options)
        return
    from landcover_cli.sar.speckle import create

    if create(source.speckle, **source.speckle_options).axes != "yx":
        raise ConfigError(
            f"sources.{name}.speckle: {source.speckle!r} needs a stack of dates, a product is one",
            remedy="choose a filter of one image, such as refined_lee",
        )


def _resolve_place(config: PipelineConfig, base: Path) -> tuple[ProductGrid, tuple[Region, ...]]:
    from landcover_cli.io.vector import read_aoi

    context = PlanContext(config, base, ProductGrid("", 1.0, 1), ())
    found: dict[str, tuple[Aoi, dict[str, str], str]] = {}
    for name, section in config.all_regions().items():
        values = {"region": name, **config.vars, **section.vars}
        stub = Region(name, section.role, "", None, (), (), (), values)
        path = context.path(section.aoi, stub)
        found[name] = (read_aoi(path), values, str(path))
    crs = config.grid.crs
    if crs == "auto":
        centre = next(iter(found.values()))[0].geometry_4326.centroid
        crs = f"EPSG:{utm_epsg(centre.x, centre.y)}"
        log.info("grid: %s, the UTM zone of the first AOI's centre", crs)
    grid = ProductGrid(metric_crs(crs, "grid.crs"), config.grid.resolution_m, config.grid.tile_px)
    regions = tuple(_region(name, *facts, config, grid) for name, facts in found.items())
    return grid, regions


def _region(
    name: str, aoi: Aoi, values: dict[str, str], path: str, config: PipelineConfig, grid: ProductGrid
) -> Region:
    from landcover_cli.io.vector import aoi_on_grid

    section = config.all_regions()[name]
    geometry = aoi_on_grid(aoi, grid.crs)
    # A window that starts within the AOI's tiles reaches at most one patch beyond them.
    reach_m = config.tile.in_pixels(grid.resolution_m).patch_px * grid.resolution_m if section.role != "train" else 0.0
    tiles = grid.tiles_over(geometry)
    context: set[Any] = set(tiles)
    if reach_m and tiles:
        import shapely

        squares = shapely.union_all([shapely.box(*grid.tile_bounds_m(tile)) for tile in tiles])
        context.update(grid.tiles_over(squares.buffer(reach_m, join_style="mitre")))
    return Region(
        name=name,
        role=section.role,
        aoi_file=path,
        geometry=geometry,
        periods=_periods(config, name),
        tiles=tiles,
        context_tiles=tuple(sorted(context)),
        vars=values,
    )


def _periods(config: PipelineConfig, region: str) -> tuple[Period, ...]:
    period = config.all_regions()[region].period or config.period
    if period is None:
        return ()
    start, end = period.span()
    return split_periods(start, end, period.step)


@dataclass(frozen=True)
class UnitStatus:
    """Whether a unit's result exists, and if not, why it would run.

    Attributes:
        planned: The unit.
        done: Its result exists.
        why: One line per reason; empty when done.
        cause: ``done``, ``new`` (never ran), ``changed`` (something of its own differs) or ``upstream`` (only
            something it needs differs).
    """

    planned: PlannedUnit
    done: bool
    why: tuple[str, ...]
    cause: str


def status(plan: Plan) -> list[UnitStatus]:
    """State of every unit of a plan, in plan order."""
    return [_unit_status(plan, planned) for planned in plan.units.values()]


def _unit_status(plan: Plan, planned: PlannedUnit) -> UnitStatus:
    store = plan.store
    if store.is_done(planned):
        return UnitStatus(planned, True, (), "done")
    candidates = [manifest["inputs"] for manifest in store.other_manifests(planned.unit)]
    if not candidates:
        return UnitStatus(planned, False, ("no result yet",), "new")
    changes = min((differences(old, planned.description) for old in candidates), key=_nearness)
    own, upstream = [], set()
    for name, old, new in changes:
        head, _, rest = name.partition(".")
        if head == "params":
            own.append(f"{rest}: {_shown(old)} → {_shown(new)}")
        elif head == "step_version":
            own.append(f"lc's step {planned.unit.step} changed: version {old} → {new}")
        elif head == "files":
            verb = "new input" if old is None else "input gone" if new is None else "content changed"
            own.append(f"{rest}: {verb}")
        elif head == "needs":
            upstream.add(f"needs {_need(planned, name)}")
    why = tuple(own) or tuple(sorted(upstream))
    return UnitStatus(planned, False, why, "changed" if own else "upstream")


def _nearness(changes: list[tuple[str, Any, Any]]) -> tuple[int, int]:
    return sum(not name.startswith("needs") for name, _, _ in changes), len(changes)


def _need(planned: PlannedUnit, name: str) -> str:
    for key, ref in planned.unit.needs.items():
        if name.startswith(f"needs.{key}"):
            return f"{ref.step} {ref.id}, which runs again"
    return f"{name.split('.')[1]}, which is gone"


def _shown(value: Any) -> str:
    text = "(absent)" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "…"
