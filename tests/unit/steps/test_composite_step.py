"""Planning and running of scenes and composites; absent sources; overlapping tiles."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine
from pyproj import Transformer
from s2product import LEFT, TOP, bands, write_l1c, write_safe

from landcover_cli.config.pipeline import load_pipeline
from landcover_cli.core.unit import Inputs, RunContext
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.io.cubestore import CubeSeries, check_cube

SIZE = 64
BANDS = ["B02", "B11"]


@pytest.fixture(autouse=True)
def _two_steps(monkeypatch):
    monkeypatch.setattr("landcover_cli.plan.ORDER", ("preprocess_s2", "composite"))


def project(folder: Path, sources: dict, months=("2021-06", "2021-07"), shift_m: float = 0.0, **grid) -> Path:
    to_degrees = Transformer.from_crs(32633, 4326, always_xy=True)
    left, top = LEFT + 100 + shift_m, TOP - 100
    corners = [(left, top), (left, top - 400), (left + 400, top - 400), (left + 400, top), (left, top)]
    ring = [list(to_degrees.transform(*corner)) for corner in corners]
    (folder / "aoi.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    document = {
        "aoi": "aoi.geojson",
        "grid": {"crs": "EPSG:32633", "resolution_m": 10, "tile_px": 32, **grid},
        "period": {"start": months[0], "end": months[1], "step": "month"},
        "sources": sources,
        "tile": {"patch_px": 8},
    }
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(document))
    return folder / "pipeline.yaml"


def make(pipeline: Path):
    from landcover_cli.plan import make_plan

    return make_plan(load_pipeline(pipeline), pipeline.parent)


def carry_out(plan, folder: Path) -> dict[str, Path]:
    from landcover_cli.plan import load_step

    done = {}
    for ref, planned in plan.units.items():
        out = folder / ref.step / ref.id
        out.mkdir(parents=True)
        needs = {name: done[need.step, need.id] for name, need in planned.unit.needs.items()}
        load_step(ref.step).run(planned.unit, Inputs(dict(planned.unit.files), needs), out, RunContext())
        done[ref.step, ref.id] = out
    return {ref_id: path for (step, ref_id), path in done.items() if step == "composite"}


S2 = {"type": "sentinel2_l2a", "scenes": ["s2/*.SAFE"], "bands": BANDS}


def test_monthly_means_of_scenes(tmp_path):
    first, second = bands(SIZE, 1, low=1400), bands(SIZE, 2, low=1400)
    second["SCL"][:, :16] = 9
    write_safe(tmp_path / "s2", first, when="2021-06-05T10:00:31")
    write_safe(tmp_path / "s2", second, when="2021-06-25T10:00:31")
    write_safe(tmp_path / "s2", second, when="2021-08-25T10:00:31")
    plan = make(project(tmp_path, {"s2": {**S2, "mask_options": {"cloud_m": 0.0, "opening_m": 0.0}}}))
    assert len(plan.of_step("preprocess_s2")) == 2
    june = [p.unit for p in plan.of_step("composite") if p.unit.id.endswith("2021-06")]
    july = [p.unit for p in plan.of_step("composite") if p.unit.id.endswith("2021-07")]
    assert len(june) == len(july) > 0
    assert all(unit.needs for unit in june)
    assert not any(unit.needs for unit in july)
    cubes = CubeSeries.open(path / "cube.zarr" for path in carry_out(plan, tmp_path / "out").values())
    assert [p.label for p in cubes.periods] == ["2021-06", "2021-07"]
    window = cubes.read((LEFT, TOP - 640.0, LEFT + 640.0, TOP))
    a, b = first["B02"].astype(int), second["B02"].astype(int)
    expected = np.where(np.arange(SIZE) < 32, a, (a + b + 1) // 2)
    np.testing.assert_array_equal(window.data_tbyx[0, 0], expected)
    assert window.n_clear_tyx[0, 0, 0] == 1
    assert window.n_clear_tyx[0, 0, 40] == 2
    assert not window.valid_tyx[1].any()


def test_level_1c_under_fmask(tmp_path):
    values = {name: np.full_like(band, 2600) for name, band in bands(SIZE).items() if name != "SCL"}
    values |= {name: np.full((SIZE, SIZE), 1700, "uint16") for name in ("B02", "B03", "B04")}
    values["B10"] = np.full((SIZE // 6 + 1,) * 2, 1010, "uint16")
    for name, band in values.items():
        edge = band.shape[0] // 2
        band[:edge, :edge] = 1300 if name == "B10" else 5500  # white, and high in the cirrus band
    write_l1c(tmp_path / "s2", values)
    source = {**S2, "type": "sentinel2_l1c", "mask": "fmask", "mask_options": {"cloud_m": 0.0, "shadow_m": 0.0}}
    plan = make(project(tmp_path, {"s2": source}, ("2021-06", "2021-06")))
    outs = carry_out(plan, tmp_path / "out")
    cubes = CubeSeries.open(path / "cube.zarr" for path in outs.values())
    assert cubes.sensor == "sentinel2_l1c"
    window = cubes.read((LEFT, TOP - 640.0, LEFT + 640.0, TOP))
    clear = window.valid_tyx[0]
    nadir = make(project(tmp_path, {"s2": {**source, "nbar": True}}, ("2021-06", "2021-06")))
    done = carry_out(nadir, tmp_path / "nadir")
    # The sensor stands at nadir already.
    seen = CubeSeries.open(path / "cube.zarr" for path in done.values()).read((LEFT, TOP - 640.0, LEFT + 640.0, TOP))
    np.testing.assert_array_equal(seen.data_tbyx, window.data_tbyx)
    assert not clear[4:28, 4:28].any()
    assert clear[40:60, 40:60].all()
    assert (window.data_tbyx[0, 0, 40:60, 40:60] == 1700).all()


def test_level_2a_is_no_level_1c(tmp_path):
    write_safe(tmp_path / "s2", bands(SIZE, 1, low=1400))
    with pytest.raises(InputError, match="'Level-2A', not Level-1C"):
        make(project(tmp_path, {"s2": {**S2, "type": "sentinel2_l1c", "mask": "fmask"}}))


def test_pieces_are_valid_cubes_for_other_programs(tmp_path):
    import xarray as xr

    write_safe(tmp_path / "s2", bands(SIZE, 1, low=1400))
    outs = carry_out(make(project(tmp_path, {"s2": S2})), tmp_path / "out")
    for path in outs.values():
        ds = xr.open_zarr(path / "cube.zarr", chunks=None, mask_and_scale=False, decode_coords="all").load()
        check_cube(ds)


def test_overlapping_tiles_of_one_datatake_count_once(tmp_path):
    whole = bands(SIZE, 1, low=1400)
    other = {name: np.where(values > 100, values + 50, values).astype(values.dtype) for name, values in whole.items()}
    write_safe(tmp_path / "s2", whole, tile="33TXX")
    write_safe(tmp_path / "s2", other, tile="33TXY")
    outs = carry_out(make(project(tmp_path, {"s2": S2}, ("2021-06", "2021-06"))), tmp_path / "out")
    window = CubeSeries.open(p / "cube.zarr" for p in outs.values()).read((LEFT, TOP - 640.0, LEFT + 640.0, TOP))
    np.testing.assert_array_equal(window.data_tbyx[0, 0], whole["B02"])
    assert (window.n_clear_tyx == 1).all()


def test_what_changes_the_key(tmp_path):
    write_safe(tmp_path / "s2", bands(SIZE, 1, low=1400))

    def keys(**changes):
        plan = make(project(tmp_path, {"s2": {**S2, **changes}}))
        return {ref: planned.key for ref, planned in plan.units.items()}

    base = keys()
    assert keys() == base
    for change in ({"mask_options": {"cloud_m": 100.0}}, {"offset": "in_pixels"}, {"bands": ["B02"]}):
        changed = keys(**change)
        scenes = [ref for ref in base if ref.step == "preprocess_s2"]
        assert all(changed[ref] != base[ref] for ref in scenes)
        assert any(changed[ref] != base[ref] for ref in base if ref.step == "composite")


@pytest.mark.parametrize(
    ("source", "months", "shift_m"),
    [
        (S2, ("2022-06", "2022-07"), 0),
        (S2, ("2021-06", "2021-06"), 50_000),
        ({**S2, "max_cloud_percent": 5.0}, ("2021-06", "2021-06"), 0),
        ({**S2, "scenes": ["nowhere/*.SAFE"]}, ("2021-06", "2021-06"), 0),
    ],
)
def test_a_source_without_any_scene_is_named_with_aoi_and_period(tmp_path, source, months, shift_m, caplog):
    write_safe(tmp_path / "s2", bands(SIZE, 1, low=1400))
    pipeline = project(tmp_path, {"s2": source}, months, shift_m)
    with pytest.raises(InputError, match=rf"source 's2' has no observation over .*aoi\.geojson from {months[0]}-01"):
        make(pipeline)
    logging.getLogger("lc").propagate = True
    with caplog.at_level(logging.WARNING, logger="lc"):
        plan = make(project(tmp_path, {"s2": {**source, "optional": True}}, months, shift_m))
    assert not plan.units
    assert "goes on without it" in caplog.text


def radar(folder: Path, count: int = 3) -> None:
    folder.mkdir()
    for i in range(count):
        values = np.random.default_rng(i).lognormal(-2, 0.5, (2, SIZE, SIZE)).astype("float32")
        profile = {"driver": "GTiff", "height": SIZE, "width": SIZE, "count": 2, "dtype": "float32", "nodata": np.nan}
        transform = Affine(10, 0, LEFT, 0, -10, TOP)
        with rasterio.open(
            folder / f"s1_202106{10 + i}T165931.tif", "w", crs="EPSG:32633", transform=transform, **profile
        ) as dataset:
            dataset.write(values)
            dataset.descriptions = ("VV", "VH")


def test_backscatter_is_averaged_in_linear_power_in_the_order_of_time(tmp_path):
    radar(tmp_path / "s1")
    source = {"type": "stack", "sensor": "sentinel1", "files": ["s1/*.tif"]}
    outs = carry_out(make(project(tmp_path, {"s1": source}, ("2021-06", "2021-06"))), tmp_path / "out")
    cubes = CubeSeries.open(p / "cube.zarr" for p in outs.values())
    assert (cubes.bands, cubes.units) == (("VV", "VH"), "gamma0_linear")
    window = cubes.read((LEFT, TOP - 640.0, LEFT + 640.0, TOP))
    total = np.zeros((2, SIZE, SIZE))
    for i in range(3):
        total += np.random.default_rng(i).lognormal(-2, 0.5, (2, SIZE, SIZE)).astype("float32")
    np.testing.assert_array_equal(window.data_tbyx[0], (total / 3).astype("float32"))


def test_a_band_missing_everywhere_is_an_error_unless_the_source_is_optional(tmp_path):
    radar(tmp_path / "s1")
    source = {"type": "stack", "sensor": "sentinel1", "files": ["s1/*.tif"], "bands": ["VV", "HH"]}
    with pytest.raises(InputError, match="band HH is missing"):
        make(project(tmp_path, {"s1": source}))
    assert not make(project(tmp_path, {"s1": {**source, "optional": True}})).units


def test_a_resolution_must_divide_the_tile(tmp_path):
    write_safe(tmp_path / "s2", bands(SIZE, 1, low=1400))
    with pytest.raises(ConfigError, match=r"sources\.s2\.resolution_m"):
        make(project(tmp_path, {"s2": {**S2, "resolution_m": 30.0}}))


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ({"type": "sentinel2_l2a"}, "either `scenes` or `stac`"),
        ({"type": "sentinel2_l2a", "stac": "catalog.json", "nbar": True}, "`nbar` needs the angles of a product"),
        ({"type": "sentinel2_l1c", "scenes": ["*.SAFE"]}, "Level-1C has no scene classification"),
        ({"type": "sentinel2_l1c", "stac": "catalog.json", "mask": "fmask"}, "not from a catalogue"),
        ({"type": "static", "files": ["a"], "bands": ["soil"], "derive": ["slope"]}, "elevation"),
        ({"type": "stack", "sensor": "sentinel1", "files": ["a"], "date_pattern": "("}, "regular expression"),
        ({"type": "stack", "sensor": "sentinel1", "files": ["a"], "date_pattern": "x"}, "lacks one of the groups"),
    ],
)
def test_sources_that_contradict_themselves_are_refused(tmp_path, source, match):
    with pytest.raises(ConfigError, match=match):
        make(project(tmp_path, {"src": source}))


def test_indices_are_bands_of_the_cube_and_keys_without_them_stay(tmp_path):
    from landcover_cli.plan import load_step

    write_safe(tmp_path, bands(SIZE, low=1400), when="2021-06-05T10:00:31")
    source = {"type": "sentinel2_l2a", "scenes": ["*.SAFE"], "bands": ["B04", "B08"]}
    plain = make(project(tmp_path, {"s2": source}, months=("2021-06", "2021-06")))
    keys = {ref: planned.key for ref, planned in plain.units.items()}
    empty = make(project(tmp_path, {"s2": {**source, "indices": []}}, months=("2021-06", "2021-06")))
    assert {ref: planned.key for ref, planned in empty.units.items()} == keys
    assert all("indices" not in planned.unit.params["sources"]["s2"] for planned in plain.units.values())
    plan = make(project(tmp_path, {"s2": {**source, "indices": ["NDVI"]}}, months=("2021-06", "2021-06")))
    done = carry_out(plan, tmp_path / "done")
    pieces = [path / "cube.zarr" for name, path in done.items() if (path / "cube.zarr").is_dir()]
    cube = CubeSeries.open(pieces)
    assert (cube.bands, str(cube.dtype), cube.units) == (("B04", "B08", "NDVI"), "float32", "reflectance")
    window = cube.read(cube.bounds_m)
    red, nir, ndvi = window.data_tbyx[0][:, window.valid_tyx[0]]
    np.testing.assert_allclose(ndvi, (nir - red) / (nir + red), atol=1e-6)
    wrong = make(project(tmp_path, {"s2": {**source, "indices": ["NBR"]}}, months=("2021-06", "2021-06")))
    unit = next(planned.unit for ref, planned in wrong.units.items() if ref.step == "composite")
    with pytest.raises(ConfigError, match="'NBR' needs swir22"):
        load_step("composite").check(unit)
