"""Step: the delivered map of one region, cut to its AOI: COGs, styles, legend, STAC item."""

from __future__ import annotations

from pathlib import Path

from landcover_cli.core.plan import PlanContext, Region, Step
from landcover_cli.core.unit import Inputs, RunContext, Unit, UnitRef


def plan(ctx: PlanContext) -> list[Unit]:
    """One unit per region that is mapped."""
    return [unit for region in ctx.regions if (unit := _region_unit(ctx, region))]


def _region_unit(ctx: PlanContext, region: Region) -> Unit | None:
    prefix = f"{region.name}/"
    tiles = [unit for unit in ctx.units.get("predict", ()) if unit.id.startswith(prefix)]
    if not tiles:
        return None
    sources = sorted({name.split("/")[1] for unit in tiles for name in unit.needs if name.startswith("cube/")})
    params = {
        "predict": ctx.config.predict.model_dump(mode="json"),
        "grid": ctx.grid.to_dict(),
        "name": region.name,
        "periods": [[period.start.isoformat(), period.end.isoformat()] for period in region.periods],
        "inputs": sources,
    }
    needs = {f"tile/{unit.id.removeprefix(prefix)}": unit.ref for unit in tiles}
    needs["model"] = UnitRef("train", ctx.units["train"][0].id)
    return Unit("map", region.name, params, {"aoi": region.aoi_file}, needs)


def run(unit: Unit, inputs: Inputs, out: Path, ctx: RunContext) -> None:
    """Put the region's tiles together, cut to the AOI (pixel centres inside)."""
    from datetime import date

    from landcover_cli.config.learning import PredictConfig
    from landcover_cli.core.types import Period
    from landcover_cli.io.mapfiles import write_map
    from landcover_cli.io.maplayers import map_layers
    from landcover_cli.io.vector import aoi_on_grid, read_aoi
    from landcover_cli.learn.modelfolder import model_digest, read_spec
    from landcover_cli.learn.predict_files import map_facts

    model, crs = inputs.unit("model"), unit.params["grid"]["crs"]
    facts = map_facts(
        unit.params["name"],
        read_spec(model),
        model_digest(model),
        crs,
        tuple(Period(date.fromisoformat(a), date.fromisoformat(b)) for a, b in unit.params["periods"]),
        PredictConfig.model_validate(unit.params["predict"]),
        unit.params["inputs"],
    )
    tiles = inputs.group("tile").values()
    layers = map_layers(facts.legend, facts.validity, facts.probabilities)
    aoi = read_aoi(inputs.file("aoi"))
    write_map(
        out,
        facts,
        {name: [folder / f"{name}.tif" for folder in tiles] for name in layers},
        aoi_on_grid(aoi, crs),
        aoi.geometry_4326,
        ctx.threads,
    )


STEP = Step(name="map", title="Map", version=1, plan=plan, run=run, publish=lambda unit: f"map/{unit.id}")
