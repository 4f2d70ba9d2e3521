"""Step: what the map of a region is worth, against reference ground that the model has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from landcover_cli.core.plan import PlanContext, Region, Step
from landcover_cli.core.unit import Inputs, RunContext, Unit, UnitRef
from landcover_cli.errors import InputError
from landcover_cli.steps.labels import label_files

if TYPE_CHECKING:
    from landcover_cli.io.assessment import ReadReference
    from landcover_cli.labels.legend import Legend


def plan(ctx: PlanContext) -> list[Unit]:
    """One unit per mapped region that has a reference: a source of its own, else the run's labels."""
    maps = {unit.id for unit in ctx.units.get("map", ())}
    return [unit for region in ctx.regions if region.name in maps and (unit := _region_unit(ctx, region))]


def _region_unit(ctx: PlanContext, region: Region) -> Unit | None:
    section = ctx.config.assess
    needs = {"map": UnitRef("map", region.name)}
    files: dict[str, str] = {}
    if section.source is not None:
        files |= label_files("reference", ctx.path(section.source, region))
        if section.crosswalk is not None:
            files["crosswalk"] = str(ctx.path(section.crosswalk, region))
    else:
        prefix = f"{region.name}/"
        labels = [unit for unit in ctx.units.get("labels", ()) if unit.id.startswith(prefix)]
        if not labels:
            return None
        needs |= {f"labels/{unit.id.removeprefix(prefix)}": unit.ref for unit in labels}
    if section.exclude_training and ctx.units.get("patches"):
        needs["patches"] = ctx.units["patches"][0].ref
    params = {"assess": section.model_dump(mode="json", exclude={"source", "crosswalk"})}
    return Unit("assess", region.name, params, files, needs)


def run(unit: Unit, inputs: Inputs, out: Path, ctx: RunContext) -> None:
    """Write ``assessment.json`` and ``error_matrix.csv``."""
    from landcover_cli.io.assessment import legend_of_map, measure, trained_ground, write_assessment
    from landcover_cli.io.rastergrid import grid_like

    folder = inputs.unit("map")
    class_map = folder / f"{unit.id}_class.tif"
    legend = legend_of_map(class_map)
    reference, points = _reference(unit, inputs, legend)
    excluded = []
    if "patches" in inputs.units:
        excluded = trained_ground(inputs.unit("patches") / "index.parquet", str(grid_like(class_map).crs))
    measured = measure(
        class_map,
        legend,
        reference,
        kind="points" if points else "pixels",
        excluded=excluded,
        progress=ctx.progress,
    )
    write_assessment(out, measured, legend, unit.params["assess"]["design"])


def _reference(unit: Unit, inputs: Inputs, legend: Legend) -> tuple[ReadReference, bool]:
    """(the reference, whether its units are points)."""
    from landcover_cli.io.assessment import read_label_tiles, read_source
    from landcover_cli.io.labelsource import LabelSource
    from landcover_cli.io.legendfile import read_crosswalk

    if "reference" not in inputs.files:
        tiles = [folder for _, folder in sorted(inputs.group("labels").items())]
        if not tiles:
            raise InputError(f"region {unit.id!r} has neither reference nor labels", remedy="give assess.source")
        return read_label_tiles(tiles, legend), False
    section = unit.params["assess"]
    source = LabelSource(
        path=inputs.file("reference"),
        legend=legend,
        crosswalk=read_crosswalk(inputs.file("crosswalk"), legend) if "crosswalk" in inputs.files else None,
        attribute=section["attribute"],
        layer=section["layer"],
        ignore=tuple(section["ignore"]),
        rule=section["rule"],
        what="reference",
    )
    return read_source(source), source.is_points()


STEP = Step(name="assess", title="Accuracy", version=1, plan=plan, run=run, publish=lambda unit: f"assess/{unit.id}")
