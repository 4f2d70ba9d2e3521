from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import shapely

from landcover_cli.config.learning import TrainConfig
from landcover_cli.config.pipeline import PipelineConfig
from landcover_cli.core.grid import ProductGrid, Tile
from landcover_cli.core.plan import PlanContext, Region
from landcover_cli.core.types import split_periods
from landcover_cli.core.unit import Unit, UnitRef
from landcover_cli.core.windows import PixelBox
from landcover_cli.steps import map as map_step
from landcover_cli.steps import predict as predict_step

GRID = ProductGrid("EPSG:32633", 10.0, 100)
PERIODS = split_periods(date(2021, 1, 1), date(2021, 3, 1), "month")
AREA = shapely.box(1205.0, 40.0, 1990.0, 1805.0)
"""Within tiles (1, 0) and (1, 1); its left edge 20 px within the tile, the lower and upper ones near the rims."""


def context(**region) -> PlanContext:
    config = PipelineConfig.model_validate(
        {
            "aoi": "area.geojson",
            "period": {"start": "2021-01", "end": "2021-02"},
            "tile": {"patch_px": 16},
            "sources": {
                "s2": {"type": "sentinel2_l2a", "scenes": ["*.SAFE"]},
                "s1": {"type": "stack", "sensor": "sentinel1", "files": ["*.tif"], "optional": True},
            },
        }
    )
    tiles = GRID.tiles_over(AREA)
    around = tuple(Tile(x, y) for x in range(0, 4) for y in range(-1, 4))
    facts = {"name": "main", "role": "both", "aoi_file": "area.geojson", **region}
    found = Region(**facts, geometry=AREA, periods=PERIODS, tiles=tiles, context_tiles=around)
    ctx = PlanContext(config, Path(), GRID, (found,))
    months = [f"main/s2/{tile.id}/{period.label}" for tile in around for period in PERIODS]
    # Sentinel-1 saw one far corner only.
    months += [f"main/s1/x3_y3/{period.label}" for period in PERIODS] + ["other/s2/x1_y1/2021-01"]
    ctx.units["composite"] = tuple(Unit("composite", name) for name in months)
    ctx.units["train"] = (Unit("train", "model"),)
    return ctx


def test_a_tile_needs_the_model_and_the_cubes_that_its_windows_reach():
    units = {unit.id: unit for unit in predict_step.plan(context())}
    assert list(units) == ["main/x1_y0", "main/x1_y1"]
    unit = units["main/x1_y0"]
    # 1205 m lies within pixel 120; 40 m above the lower edge of the tile leaves rows -100 to -4.
    assert PixelBox(*unit.params["box_px"]) == PixelBox(-100, 120, -4, 199)
    assert unit.needs["model"] == UnitRef("train", "model")
    tiles = {name.split("/")[2] for name in unit.needs if name.startswith("cube/s2/")}
    # 16 px to the right reach tile 2, to the left they stay within tile 1; below, they reach row tile -1.
    assert tiles == {"x1_y-1", "x1_y0", "x1_y1", "x2_y-1", "x2_y0", "x2_y1"}
    assert sum(name.startswith("cube/s2/x1_y0/") for name in unit.needs) == 2


def test_a_source_that_saw_nothing_near_a_tile_still_says_its_dates():
    for unit in predict_step.plan(context()):
        assert [name for name in unit.needs if "/s1/" in name] == ["cube/s1/x3_y3/2021-01", "cube/s1/x3_y3/2021-02"]


def test_sources_that_the_model_was_not_trained_on_are_left_out():
    ctx = context()
    ctx.config = ctx.config.model_copy(update={"train": TrainConfig(inputs=("s2",))})
    ctx.units["predict"] = tuple(predict_step.plan(ctx))
    assert not [name for unit in ctx.units["predict"] for name in unit.needs if "/s1/" in name]
    assert map_step.plan(ctx)[0].params["inputs"] == ["s2"]


@pytest.mark.parametrize("step", [predict_step, map_step])
def test_nothing_is_planned_without_a_model_or_for_a_region_that_is_only_trained_on(step):
    without = context()
    without.units["train"] = ()
    assert step.plan(without) == []
    assert step.plan(context(role="train")) == []


def test_the_map_needs_every_tile_and_names_its_inputs():
    ctx = context()
    ctx.units["predict"] = tuple(predict_step.plan(ctx))
    (unit,) = map_step.plan(ctx)
    assert unit.id == "main"
    assert set(unit.needs) == {"tile/x1_y0", "tile/x1_y1", "model"}
    assert unit.params["inputs"] == ["s1", "s2"]
    assert unit.files == {"aoi": "area.geojson"}
    assert map_step.STEP.publish(unit) == "map/main"
