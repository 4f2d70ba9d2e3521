"""Terrain-corrected products of others: found by STAC items, mosaicked per pass, composited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pyproj import Transformer
from rtcproduct import PC_NODATA, footprint, opera_item, pc_item, write_collection

from landcover_cli.config.pipeline import load_pipeline
from landcover_cli.core.unit import Inputs, RunContext
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.io.cubestore import CubeSeries

# Upper left corner of the area; a corner of tiles of 32 pixels of 10 m and of 30 m.
CORNER = (480000.0, 4992000.0)
SIZE = 32
SOURCE = {"type": "sentinel1_rtc", "stac": "items.json", "polarisations": ["VV", "VH"]}


@pytest.fixture(autouse=True)
def _two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landcover_cli.plan.ORDER", ("preprocess_rtc", "composite"))


def power(seed: int, shape: tuple[int, int] = (SIZE, SIZE)) -> dict[str, np.ndarray]:
    """VV and VH in linear power, with a corner of nothing."""
    rng = np.random.default_rng(seed)
    both = {"VV": rng.gamma(4.4, 0.1 / 4.4, shape), "VH": rng.gamma(4.4, 0.02 / 4.4, shape)}
    for values in both.values():
        values[: seed + 1, : seed + 2] = np.nan
    return {band: values.astype(np.float32) for band, values in both.items()}


def make(folder: Path, items: list[dict[str, Any]] | None = None, gsd_m: float = 10.0, **changes: Any) -> Any:
    from landcover_cli.plan import make_plan

    if items is not None:
        write_collection(folder / "items.json", items)
    aoi = footprint((CORNER[0] + 20, CORNER[1] - 20), (SIZE - 4, SIZE - 4), 10.0, 32633)
    (folder / "aoi.geojson").write_text(json.dumps(aoi))
    document = {
        "aoi": "aoi.geojson",
        "grid": {"crs": "EPSG:32633", "resolution_m": gsd_m, "tile_px": SIZE},
        "period": {"start": "2022-07", "end": "2022-08", "step": "month"},
        "sources": {"s1": {**SOURCE, **changes}},
        "tile": {"patch_px": 8},
    }
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return make_plan(load_pipeline(path), folder)


def carry_out(plan: Any, folder: Path) -> CubeSeries:
    from landcover_cli.plan import load_step

    done = {}
    for ref, planned in plan.units.items():
        out = folder / ref.step / ref.id
        out.mkdir(parents=True)
        needs = {name: done[need] for name, need in planned.unit.needs.items()}
        load_step(ref.step).run(planned.unit, Inputs(dict(planned.unit.files), needs), out, RunContext())
        done[ref] = out
    return CubeSeries.open(path / "cube.zarr" for ref, path in done.items() if ref.step == "composite")


def area(size_px: int = SIZE, gsd_m: float = 10.0) -> tuple[float, float, float, float]:
    return CORNER[0], CORNER[1] - size_px * gsd_m, CORNER[0] + size_px * gsd_m, CORNER[1]


def test_a_month_is_the_plain_mean_of_linear_power(tmp_path):
    looks = [power(seed) for seed in range(3)]
    days = ("2022-07-03T06:15:00", "2022-07-15T06:15:00", "2022-07-27T06:15:00")
    items = [
        pc_item(tmp_path, day, look, CORNER, orbit=44001 + 175 * n)
        for n, (day, look) in enumerate(zip(days, looks, strict=True))
    ]
    cube = carry_out(make(tmp_path, items), tmp_path / "out")
    assert (cube.bands, cube.units, cube.dtype) == (("VV", "VH"), "gamma0_linear", "float32")
    window = cube.read(area())
    for index, band in enumerate(("VV", "VH")):
        stack = np.stack([look[band] for look in looks]).astype(np.float64)
        seen = np.isfinite(stack).any(axis=0)
        assert np.array_equal(window.valid_tyx[0], seen)
        expected = np.nansum(stack, axis=0)[seen] / np.isfinite(stack).sum(axis=0)[seen]
        np.testing.assert_allclose(window.data_tbyx[0, index][seen], expected, rtol=2e-7)
    assert np.array_equal(window.n_clear_tyx[0], np.isfinite(stack).sum(axis=0))
    assert window.n_clear_tyx[1].max() == 0  # August: nobody looked


def test_bursts_of_one_pass_are_one_observation(tmp_path):
    whole = power(5, (24, 24))
    upper = {band: values[:14] for band, values in whole.items()}
    lower = {band: values[8:] * np.float32(1.5) for band, values in whole.items()}
    mask = np.zeros((14, 24), np.uint8)
    mask[9, 3], mask[2, 20], mask[3, 20], mask[0, 0] = 1, 2, 3, 255
    items = [
        opera_item(tmp_path, "2022-07-03T05:20:11", "T022-045678-IW1", lower, (CORNER[0], CORNER[1] - 240)),
        opera_item(tmp_path, "2022-07-03T05:20:08", "T022-045677-IW1", upper, CORNER, mask=mask),
    ]
    plan = make(tmp_path, items, gsd_m=30.0)
    (unit,) = (planned.unit for planned in plan.of_step("preprocess_rtc"))
    assert unit.id == "main/s1/S1A_20220703T052008_T022"
    cube = carry_out(plan, tmp_path / "out")
    window = cube.read(area(24, 30.0))
    about = json.loads((tmp_path / "out/preprocess_rtc" / unit.id / "observation.json").read_text())
    assert about["facts"]["orbit_direction"] == "descending"
    assert window.n_clear_tyx.max() == 1
    for index, band in enumerate(("VV", "VH")):
        # The earlier burst goes first; where it is masked or empty the later one speaks.
        first, second = np.full((2, 24, 24), np.nan)
        first[:14], second[8:] = upper[band], lower[band]
        first[9, 3] = first[2, 20] = first[3, 20] = np.nan
        expected = np.where(np.isfinite(first), first, second)
        assert np.array_equal(window.valid_tyx[0], np.isfinite(expected))
        seen = np.isfinite(expected)
        np.testing.assert_array_equal(window.data_tbyx[0, index][seen], expected[seen].astype(np.float32))
    kept = carry_out(make(tmp_path, gsd_m=30.0, product_mask=False), tmp_path / "kept")
    assert kept.read(area(24, 30.0)).valid_tyx[0, 2, 20] and not window.valid_tyx[0, 2, 20]


def test_a_masked_pixel_counts_as_seen(tmp_path):
    import xarray as xr

    whole = {"VV": np.full((11, 11), 0.1), "VH": np.full((11, 11), 0.02)}
    mask = np.zeros((11, 11), np.uint8)
    mask[4, 5] = 2
    item = opera_item(tmp_path, "2022-07-03T05:20:08", "T022-045677-IW1", whole, CORNER, mask=mask)
    carry_out(make(tmp_path, [item], gsd_m=30.0), tmp_path / "out")
    (piece,) = (p for p in (tmp_path / "out").rglob("cube.zarr") if "2022-07" in str(p))
    with xr.open_zarr(piece, consolidated=False) as cube:
        assert (int(cube.n_obs[0, 4, 5]), int(cube.n_clear[0, 4, 5])) == (1, 0)
        assert (int(cube.n_obs[0, 4, 6]), int(cube.n_clear[0, 4, 6])) == (1, 1)


def test_another_zone_and_pixel_size_are_interpolated_in_power_without_bleeding(tmp_path):
    # The same plane of power, written in the neighbouring zone at 20 m, with a hole of −32768.
    to_there = Transformer.from_crs(32633, 32632, always_xy=True)
    x, y = to_there.transform(CORNER[0] + 160, CORNER[1] - 160)
    corner = (round(x / 20) * 20 - 800.0, round(y / 20) * 20 + 800.0)
    cols, rows = np.meshgrid(np.arange(80), np.arange(80))
    east, north = corner[0] + (cols + 0.5) * 20, corner[1] - (rows + 0.5) * 20
    here = Transformer.from_crs(32632, 32633, always_xy=True).transform(east, north)

    def plane(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 0.1 + 1e-4 * (x - CORNER[0]) + 2e-4 * (CORNER[1] - y)

    values = np.clip(plane(*here), 0.001, None)
    hole = (np.abs(here[0] - CORNER[0] - 160) < 40) & (np.abs(CORNER[1] - here[1] - 160) < 40)
    values[hole] = np.nan
    item = pc_item(tmp_path, "2022-07-03T06:15:00", {"VV": values, "VH": values / 5}, corner, gsd_m=20.0, epsg=32632)
    cube = carry_out(make(tmp_path, [item]), tmp_path / "out")
    window = cube.read(area())
    valid = window.valid_tyx[0]
    assert not valid[14:18, 14:18].any() and valid[:8].all() and valid[-8:].all()
    x_m, y_m = np.meshgrid(CORNER[0] + (np.arange(SIZE) + 0.5) * 10, CORNER[1] - (np.arange(SIZE) + 0.5) * 10)
    away = np.ones((SIZE, SIZE), bool)
    away[8:24, 8:24] = False  # beside the hole the weights of the missing go to the others
    np.testing.assert_allclose(window.data_tbyx[0, 0][away], plane(x_m, y_m)[away], rtol=2e-3)
    # A mixture with −32768 would be far below zero, and zero has no place among power.
    assert window.data_tbyx[0, 0][valid].min() > 0.05


def test_directions_never_mix_unasked(tmp_path):
    items = [
        pc_item(tmp_path, "2022-07-03T17:15:00", power(1), CORNER, orbit=44001),
        pc_item(tmp_path, "2022-07-05T05:15:00", power(2), CORNER, orbit=44023, direction="descending"),
        opera_item(tmp_path, "2022-07-06T05:20:08", "T022-045677-IW1", power(3), CORNER),
    ]
    with pytest.raises(InputError, match=r"both directions: ascending \(S1A_\S+\) and descending") as caught:
        make(tmp_path, items)
    assert "orbit: both" in caught.value.remedy
    assert len(make(tmp_path, orbit="both").of_step("preprocess_rtc")) == 3
    ascending = make(tmp_path, orbit="ascending")
    assert [p.unit.id for p in ascending.of_step("preprocess_rtc")] == ["main/s1/S1A_20220703T171500_044001"]
    assert len(make(tmp_path, orbit="descending").of_step("preprocess_rtc")) == 2
    # Which passes are looked for changes no observation.
    both = make(tmp_path, orbit="both").units
    assert all(both[ref].key == planned.key for ref, planned in ascending.units.items() if ref.step != "composite")


def test_a_direction_that_nobody_states(tmp_path):
    items = [opera_item(tmp_path, "2022-07-06T05:20:08", "T022-045677-IW1", power(3), CORNER, direction="")]
    with pytest.raises(InputError, match=r"neither item OPERA_L2_RTC-S1_T022-045677-IW1_.* say the orbit direction"):
        make(tmp_path, items)
    assert len(make(tmp_path, orbit="both").of_step("preprocess_rtc")) == 1


def test_a_missing_polarisation_is_named(tmp_path):
    item = pc_item(tmp_path, "2022-07-03T06:15:00", power(1), CORNER)
    del item["assets"]["vh"]
    with pytest.raises(InputError, match=r"item S1A_IW_\S+_rtc has no asset of VH \(its assets: tilejson, vv\)"):
        make(tmp_path, [item])
    assert len(make(tmp_path, polarisations=["VV"]).of_step("preprocess_rtc")) == 1


@pytest.mark.parametrize("units", ["linear", "amplitude"])
def test_decibels_are_refused_unless_declared(tmp_path, units):
    linear = power(1)
    decibels = {band: 10 * np.log10(values) for band, values in linear.items()}
    item = pc_item(tmp_path, "2022-07-03T06:15:00", decibels, CORNER)
    with pytest.raises(
        InputError, match=rf"_rtc: .* values are below zero, as in decibels; they are said to be {units}"
    ):
        carry_out(make(tmp_path, [item], units=units), tmp_path / "refused")
    window = carry_out(make(tmp_path, units="db"), tmp_path / "out").read(area())
    seen = np.isfinite(linear["VV"])
    np.testing.assert_allclose(window.data_tbyx[0, 0][seen], linear["VV"][seen], rtol=1e-5)


def test_power_said_to_be_decibels_is_refused(tmp_path):
    item = pc_item(tmp_path, "2022-07-03T06:15:00", power(1), CORNER)
    with pytest.raises(InputError, match="said to be decibels, but none of"):
        carry_out(make(tmp_path, [item], units="db"), tmp_path / "refused")


def test_amplitude_is_squared(tmp_path):
    linear = power(1)
    roots = {band: np.sqrt(values) for band, values in linear.items()}
    item = pc_item(tmp_path, "2022-07-03T06:15:00", roots, CORNER)
    window = carry_out(make(tmp_path, [item], units="amplitude"), tmp_path / "out").read(area())
    seen = np.isfinite(linear["VH"])
    np.testing.assert_allclose(window.data_tbyx[0, 1][seen], linear["VH"][seen], rtol=1e-6)


def test_nodata_that_only_the_item_states(tmp_path):
    # Most of it: else the units would be doubted.
    item = pc_item(tmp_path, "2022-07-03T06:15:00", power(24), CORNER, tag_nodata=None)
    window = carry_out(make(tmp_path, [item]), tmp_path / "out").read(area())
    assert np.array_equal(window.valid_tyx[0], np.isfinite(power(24)["VV"]))
    assert window.data_tbyx[0, 0][window.valid_tyx[0]].min() > 0 > PC_NODATA


def test_speckle_is_filtered_on_the_products_own_pixels_whatever_the_window(tmp_path):
    from landcover_cli.sar.speckle import create, filter_image

    # The product reaches beyond the area on all sides, by more than the filter's window.
    values = power(1, (200, 200))
    item = pc_item(tmp_path, "2022-07-03T06:15:00", values, (CORNER[0] - 840, CORNER[1] + 840))
    options = {"speckle": "lee", "speckle_options": {"window_px": 11}}
    cube = carry_out(make(tmp_path, [item], **options), tmp_path / "out")
    left, _, _, top = cube.bounds_m
    row, col = round((CORNER[1] + 840 - top) / 10), round((left - CORNER[0] + 840) / 10)
    found = cube.read(cube.bounds_m).data_tbyx[0, 0]
    height, width = found.shape
    assert min(row, col, 200 - row - height, 200 - col - width) > 5
    expected = filter_image(create("lee", window_px=11), values["VV"])[row : row + height, col : col + width]
    assert np.array_equal(found, expected)
    for name, said in (("multitemporal", "needs a stack of dates"), ("lee_sigma", "needs values of the whole scene")):
        with pytest.raises(ConfigError, match=said):
            make(tmp_path, speckle=name)


def test_another_item_in_the_list_changes_no_other_observation(tmp_path):
    items = [pc_item(tmp_path, "2022-07-03T06:15:00", power(1), CORNER)]
    alone = make(tmp_path, items).units
    items.append(pc_item(tmp_path, "2022-08-08T06:15:00", power(2), CORNER, orbit=44526))
    more = make(tmp_path, items).units
    assert len(more) > len(alone)
    assert all(more[ref].key == planned.key for ref, planned in alone.items() if "2022-08" not in ref.id)


def test_nothing_in_the_period(tmp_path):
    items = [pc_item(tmp_path, "2021-07-03T06:15:00", power(1), CORNER)]
    with pytest.raises(InputError, match=r"source 's1' has no observation over .*\(1 items known\)"):
        make(tmp_path, items)
    assert not make(tmp_path, optional=True).units


def test_the_example_runs(tmp_path):
    from landcover_cli.config.pipeline import parse_pipeline, read_document
    from landcover_cli.io.vector import read_aoi
    from landcover_cli.plan import make_plan

    example = Path(__file__).resolve().parents[3] / "examples" / "sentinel1_rtc.yaml"
    west, south, east, north = read_aoi(example.parent / "aoi" / "rome.geojson").geometry_4326.bounds
    to_grid = Transformer.from_crs(4326, 32633, always_xy=True)
    x, y = to_grid.transform((west + east) / 2, (south + north) / 2)
    corner = (round(x, -1) - 4000.0, round(y, -1) + 4000.0)
    for day, orbit, direction in (("03", 44001, "ascending"), ("15", 44176, "ascending"), ("05", 44023, "descending")):
        look = power(orbit % 3, (800, 800))
        item = pc_item(tmp_path, f"2022-07-{day}T17:15:00", look, corner, orbit=orbit, direction=direction)
        (tmp_path / f"{item['id']}.json").write_text(json.dumps(item))
    document = read_document(example) | {"workspace": str(tmp_path / "work"), "vars": {"products": str(tmp_path)}}
    plan = make_plan(parse_pipeline(document, "example"), example.parent)
    assert len(plan.of_step("preprocess_rtc")) == 3
    assert not (tmp_path / "work").exists()
    counts = {"s1_ascending": set(), "s1_descending": set()}
    for planned in plan.of_step("composite"):
        counts[planned.unit.id.split("/")[1]].add(len(planned.unit.needs))
    assert counts == {"s1_ascending": {0, 2}, "s1_descending": {0, 1}}
