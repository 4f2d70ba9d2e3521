"""Step: classes, confidence and validity of one tile, from the model and the cubes around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from landcover_cli.core.grid import ProductGrid, Tile
from landcover_cli.core.plan import PlanContext, Region, Step
from landcover_cli.core.unit import Inputs, RunContext, Unit, UnitRef
from landcover_cli.core.windows import PixelBox

if TYPE_CHECKING:
    from landcover_cli.io.cubestore import CubeSeries


def plan(ctx: PlanContext) -> list[Unit]:
    """One unit per tile of every region that is mapped, once there is a model."""
    if not ctx.units.get("train"):
        return []
    return [unit for region in ctx.regions if region.mapped for unit in _region_units(ctx, region)]


def _region_units(ctx: PlanContext, region: Region) -> Iterator[Unit]:
    cubes = _cubes(ctx, region)
    params = {"predict": ctx.config.predict.model_dump(mode="json"), "grid": ctx.grid.to_dict()}
    for tile in region.tiles:
        box = tile_box(ctx.grid, region, tile)
        # No window reaches further than its own patch beyond the pixels that it maps.
        reach = ctx.config.tile.in_pixels(ctx.grid.resolution_m).patch_px
        around = PixelBox(box.row0 - reach, box.col0 - reach, box.row1 + reach, box.col1 + reach)
        needs = {"model": UnitRef("train", ctx.units["train"][0].id)}
        for pieces in cubes.values():
            # A source that nobody saw around here still says its dates, so that every tile is mapped alike.
            near = [refs for other, refs in pieces.items() if not around.intersect(_box(ctx.grid, other)).empty]
            for refs in near or [pieces[min(pieces)]]:
                needs |= refs
        extent = [box.row0, box.col0, box.row1, box.col1]
        yield Unit("predict", f"{region.name}/{tile.id}", {**params, "box_px": extent}, needs=needs)


def _cubes(ctx: PlanContext, region: Region) -> dict[str, dict[Tile, dict[str, UnitRef]]]:
    """Source → tile → name of the input → unit of a cube piece (``<region>/<source>/<tile>/<period>``)."""
    wanted = ctx.config.train.inputs or tuple(ctx.config.sources)
    found: dict[str, dict[Tile, dict[str, UnitRef]]] = {}
    for unit in ctx.units.get("composite", ()):
        name, source, tile, period = unit.id.split("/")
        if name == region.name and source in wanted:
            pieces = found.setdefault(source, {}).setdefault(Tile.parse(tile), {})
            pieces[f"cube/{source}/{tile}/{period}"] = unit.ref
    return found


def tile_box(grid: ProductGrid, region: Region, tile: Tile) -> PixelBox:
    """Pixels of a tile that the region's area may touch: what has to be mapped of it."""
    import shapely

    part = shapely.intersection(region.geometry, shapely.box(*grid.tile_bounds_m(tile)))
    return PixelBox.from_bounds(part.bounds, grid.resolution_m).intersect(_box(grid, tile))


def _box(grid: ProductGrid, tile: Tile) -> PixelBox:
    return PixelBox.from_bounds(grid.tile_bounds_m(tile), grid.resolution_m)


def open_cubes(inputs: Inputs) -> dict[str, CubeSeries]:
    """Cubes of a unit by source, from the pieces it needs."""
    from landcover_cli.io.cubestore import CubeSeries

    pieces: dict[str, list[Path]] = {}
    for name, folder in inputs.group("cube").items():
        pieces.setdefault(name.split("/")[0], []).append(folder / "cube.zarr")
    return {source: CubeSeries.open(paths) for source, paths in sorted(pieces.items())}


def run(unit: Unit, inputs: Inputs, out: Path, ctx: RunContext) -> None:
    """Write ``class.tif``, ``confidence.tif``, ``validity.tif`` (and ``probabilities.tif``) of one tile."""
    from landcover_cli.config.learning import PredictConfig
    from landcover_cli.learn.predict_files import predict_to_files
    from landcover_cli.learn.predictor import open_predictor

    config = PredictConfig.model_validate(unit.params["predict"])
    predictor = open_predictor(inputs.unit("model"), open_cubes(inputs), config, ctx.device)
    predict_to_files(predictor, PixelBox(*unit.params["box_px"]), out, ctx)


STEP = Step(name="predict", title="Prediction", version=1, plan=plan, run=run)
