"""Step: training patches of all labelled regions together, with splits and statistics."""

from __future__ import annotations

from pathlib import Path

from landcover_cli.core.plan import PlanContext, Step
from landcover_cli.core.unit import Inputs, RunContext, Unit, UnitRef
from landcover_cli.steps.labels import label_files


def plan(ctx: PlanContext) -> list[Unit]:
    """One unit; it needs the labels and the cubes of every labelled region."""
    labels = ctx.units.get("labels", ())
    if not labels:
        return []
    labelled = {region.name for region in ctx.regions if region.labelled}
    needs = {f"labels/{unit.id}": UnitRef("labels", unit.id) for unit in labels}
    needs |= {
        f"cube/{unit.id}": UnitRef("composite", unit.id)
        for unit in ctx.units.get("composite", ())
        if unit.id.split("/")[0] in labelled
    }
    zones = ctx.config.tile.split.zones
    files = label_files("zones", ctx.path(zones)) if zones else {}
    params = {
        "tile": ctx.config.tile.model_dump(mode="json", exclude={"split": {"zones"}}),
        "grid": ctx.grid.to_dict(),
        "sources": {name: {"optional": source.optional} for name, source in ctx.config.sources.items()},
    }
    return [Unit("patches", "all", params, files, needs)]


def run(unit: Unit, inputs: Inputs, out: Path, ctx: RunContext) -> None:
    """Write the patch store, its index, statistics, splits and classes."""
    from landcover_cli.config.labels import TileConfig
    from landcover_cli.io.legendfile import read_legend
    from landcover_cli.learn.patching import LabelledRegion, make_patches

    labels: dict[str, list[Path]] = {}
    for name, folder in inputs.group("labels").items():
        labels.setdefault(name.split("/")[0], []).append(folder)
    cubes: dict[str, dict[str, list[Path]]] = {}
    for name, folder in inputs.group("cube").items():
        region, source = name.split("/")[:2]
        cubes.setdefault(region, {}).setdefault(source, []).append(folder / "cube.zarr")
    regions = [
        LabelledRegion(
            name,
            tuple(folder / "labels.tif" for folder in folders),
            {source: tuple(pieces) for source, pieces in cubes.get(name, {}).items()},
        )
        for name, folders in sorted(labels.items())
    ]
    legend = read_legend(next(iter(labels.values()))[0] / "legend.json")
    optional = [name for name, source in unit.params["sources"].items() if source["optional"]]
    make_patches(
        regions,
        legend,
        TileConfig.model_validate(unit.params["tile"]),
        out,
        ctx,
        optional=optional,
        tile_px=unit.params["grid"]["tile_px"],
        zones=inputs.file("zones") if "zones" in inputs.files else None,
    )


STEP = Step(name="patches", title="Training patches", version=1, plan=plan, run=run)
