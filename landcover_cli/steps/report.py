"""Step: one HTML page about the maps of a run."""

from __future__ import annotations

from pathlib import Path, PurePath

from landcover_cli.core.plan import PlanContext, Step
from landcover_cli.core.unit import Inputs, RunContext, Unit


def plan(ctx: PlanContext) -> list[Unit]:
    """One unit, once there is a map."""
    maps = ctx.units.get("map", ())
    if not maps:
        return []
    needs = {f"map/{unit.id}": unit.ref for unit in maps}
    needs |= {f"assess/{unit.id}": unit.ref for unit in ctx.units.get("assess", ())}
    if ctx.units.get("train"):
        needs["model"] = ctx.units["train"][0].ref
    mapped = {(region.name, tile.id) for region in ctx.regions if region.mapped for tile in region.tiles}
    inputs: dict[str, set[str]] = {}
    for unit in ctx.units.get("composite", ()):
        region, source, tile, _ = unit.id.split("/")
        if (region, tile) in mapped:
            needs[f"cube/{unit.id}"] = unit.ref
        found = inputs.setdefault(source, set())
        found |= {name.removeprefix("scene/") for name in unit.needs if name.startswith("scene/")}
        found |= {PurePath(href).name for href in unit.files.values()}
    params = {
        "report": ctx.config.report.model_dump(mode="json"),
        "inputs": {source: sorted(names) for source, names in sorted(inputs.items())},
    }
    return [Unit("report", "report", params, {}, needs)]


def run(unit: Unit, inputs: Inputs, out: Path, ctx: RunContext) -> None:
    """Write ``report.html``."""
    from landcover_cli.report.build import Results, build_page
    from landcover_cli.report.page import render

    results = Results(
        title=unit.params["report"]["title"],
        maps=inputs.group("map"),
        assessments=inputs.group("assess"),
        model=inputs.units.get("model"),
        cubes=[folder / "cube.zarr" for _, folder in sorted(inputs.group("cube").items())],
        inputs=unit.params["inputs"],
    )
    (out / "report.html").write_text(render(build_page(results)), encoding="utf-8")


STEP = Step(name="report", title="Report", version=1, plan=plan, run=run, publish=lambda unit: "report")
