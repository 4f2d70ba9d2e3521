"""The catalogue example against a computation of its own in plain numpy, from the same files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from landcover_cli.compute import open_executor  # noqa: F401  the pipeline's rooms import cleanly together
from landcover_cli.config.pipeline import load_pipeline
from landcover_cli.config.runtime import RuntimeConfig
from landcover_cli.io.cubestore import CubeSeries

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "mapchete_catalogue.yaml"
BANDS = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}


class Silent:
    def step(self, title, total, done):
        pass

    def unit(self, unit, seconds, error):
        if error:
            raise error

    def within(self, done, total, text):
        pass


@pytest.fixture(scope="module")
def cube(shared_data, tmp_path_factory) -> CubeSeries:
    from landcover_cli.pipeline import run
    from landcover_cli.plan import make_plan

    root = shared_data("optical/mapchete-eo").parents[1]
    config = load_pipeline(EXAMPLE)
    config = config.model_copy(update={"vars": {"data": str(root)}})
    workspace = tmp_path_factory.mktemp("catalogue")
    plan = make_plan(config, EXAMPLE.parent, workspace)
    assert {planned.unit.step for planned in plan.units.values()} <= {"preprocess_s2", "composite", "report"}
    run(plan, RuntimeConfig(executor="serial", workers=1), Silent())
    return CubeSeries.open((workspace / "products" / "cubes").rglob("cube.zarr"))


def clear(scl: np.ndarray) -> np.ndarray:
    """Usable pixels at 120 m: clouds grow by one pixel (160 m), nothing else reaches a neighbour's centre."""
    cloud = np.isin(scl, (8, 9))
    grown = ndimage.binary_dilation(cloud, np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]))
    return ~grown & ~np.isin(scl, (0, 1, 3, 10, 11))


def test_five_cloudy_dates_make_one_august(cube, shared_data):
    products = shared_data("optical/mapchete-eo") / "full_products" / "sentinel-2-l2a"
    # A window over both tiles at 60 m; the 120 m pixels of one tile lie half a pixel off those of the other.
    left, top, edge = 559980, 5097000, 200
    x, y = left + 60 * (np.arange(edge) + 0.5), top - 60 * (np.arange(edge) + 0.5)
    looks: dict[str, list] = {}
    for item in sorted(products.glob("*/*_L2A.json")):
        document = json.loads(item.read_text())
        values = []
        for key in (*BANDS.values(), "scl"):
            with rasterio.open(item.parent / document["assets"][key]["href"]) as dataset:
                values.append(dataset.read(1))
                transform = dataset.transform
        assert transform.a == 120
        data, scl = np.stack(values[:-1]), values[-1]
        usable = clear(scl) & (data > 0).all(axis=0)
        rows = np.floor((y - transform.f) / transform.e).astype(int)[:, None]
        cols = np.floor((x - transform.c) / transform.a).astype(int)[None, :]
        inside = (rows >= 0) & (rows < 915) & (cols >= 0) & (cols < 915)
        r, c = np.clip(rows, 0, 914), np.clip(cols, 0, 914)
        facts = document["properties"]
        look = (facts["datetime"], data[:, r, c].astype(int) + 1000, inside & usable[r, c])
        looks.setdefault(facts["s2:datatake_id"], []).append(look)
    total = np.zeros((len(BANDS), edge, edge), int)
    count = np.zeros((edge, edge), int)
    for tiles in looks.values():
        seen = np.zeros((edge, edge), bool)
        # Tiles of one datatake are one look: the earlier one first.
        for _, window, good in sorted(tiles, key=lambda tile: tile[0]):
            new = good & ~seen
            total += np.where(new, window, 0)
            seen |= new
        count += seen
    expected = np.where(count > 0, (2 * total + count) // np.maximum(2 * count, 1), 0)
    found = cube.read((float(left), float(top - 60 * edge), float(left + 60 * edge), float(top)))
    assert [period.label for period in found.periods] == ["2023-08"]
    np.testing.assert_array_equal(found.n_clear_tyx[0], count)
    np.testing.assert_array_equal(found.data_tbyx[0], expected)
    assert len(looks) == 5
    assert count.max() == 5


def test_the_cube_says_what_it_is(cube):
    assert cube.bands == tuple(BANDS)
    assert (cube.units, cube.scale, cube.offset) == ("reflectance_dn", 1e-4, -0.1)
    assert cube.gsd_m == 60
    assert cube.crs == "EPSG:32633"
