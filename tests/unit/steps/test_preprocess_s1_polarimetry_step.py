"""Polarimetric bands in the cubes of a pipeline: of GRD and of SLC products, their means, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml
from s1product import ASCENDING, ASCENDING_DAY, write_aoi, write_dem, write_product
from slcproduct import EPSG, MOROCCO, SHARE, SIGMA0, write_slc, write_slc_aoi

from landcover_cli.config.pipeline import load_pipeline
from landcover_cli.config.sources import _MAX_LOOKS, PolarimetricLayer, Sentinel1Source
from landcover_cli.core.bands import POLARIMETRIC_UNITS
from landcover_cli.core.unit import Inputs, RunContext
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.io.cubestore import CubeSeries
from landcover_cli.io.observation import open_observation
from landcover_cli.sar.pollayers import LAYER_GROUPS, LAYER_INFO, MAX_WINDOW_PX
from landcover_cli.sar.slc import MAX_LOOKS


@pytest.fixture(autouse=True)
def _two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landcover_cli.plan.ORDER", ("preprocess_s1", "composite"))


@pytest.fixture(scope="module")
def grd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ascending passes of one month over one small area."""
    folder = tmp_path_factory.mktemp("grd")
    write_product(folder / "s1", ASCENDING, ASCENDING_DAY)
    write_product(folder / "s1", ASCENDING, date(2021, 1, 28), seed=2)
    write_dem(folder / "dem.tif")
    write_aoi(folder / "aoi.geojson", inset_m=330.0)
    return folder


@pytest.fixture(scope="module")
def slc(shared_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One SLC with pixels over one small area."""
    folder = tmp_path_factory.mktemp("slc")
    safe = write_slc(shared_data(MOROCCO), folder / "s1")
    write_slc_aoi(safe, folder / "aoi.geojson")
    return folder


def make(place: Path, source: dict, month: str = "2021-01", crs: str = "EPSG:32633"):
    from landcover_cli.plan import make_plan

    document = {
        "aoi": "aoi.geojson",
        "grid": {"crs": crs, "resolution_m": 10, "tile_px": 32},
        "period": {"start": month, "end": month, "step": "month"},
        "sources": {"s1": {"scenes": ["s1/*.SAFE"], **source}},
        "tile": {"patch_px": 8},
    }
    path = place / "pipeline.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return make_plan(load_pipeline(path), place)


def of_grd(place: Path, **changes):
    source = {"type": "sentinel1_grd", "dem": "dem.tif", "dem_height": "ellipsoidal"}
    return make(place, {**source, **changes})


def of_slc(place: Path, **changes):
    source = {"type": "sentinel1_slc", "dem": "flat:0", "backscatter": "sigma0", "speckle": "boxcar"}
    return make(place, {**source, **changes}, "2023-09", f"EPSG:{EPSG}")


def carry_out(plan, folder: Path, threads: int = 1) -> tuple[list[Path], CubeSeries]:
    from landcover_cli.plan import load_step

    done = {}
    for ref, planned in plan.units.items():
        out = folder / ref.step / ref.id
        out.mkdir(parents=True)
        needs = {name: done[need] for name, need in planned.unit.needs.items()}
        context = RunContext(threads=threads)
        load_step(ref.step).run(planned.unit, Inputs(dict(planned.unit.files), needs), out, context)
        done[ref] = out
    scenes = [path for ref, path in done.items() if ref.step == "preprocess_s1"]
    return scenes, CubeSeries.open(path / "cube.zarr" for ref, path in done.items() if ref.step == "composite")


def test_names_and_bounds_are_the_same_everywhere() -> None:
    schema = Sentinel1Source.model_json_schema()["properties"]
    assert (_MAX_LOOKS, schema["c2_window_px"]["maximum"]) == (MAX_LOOKS, MAX_WINDOW_PX)
    assert tuple(LAYER_INFO) == tuple(POLARIMETRIC_UNITS)
    assert set(get_args(PolarimetricLayer)) == {*LAYER_INFO, *LAYER_GROUPS} - {"backscatter"}
    assert set().union(*LAYER_GROUPS.values()) <= set(LAYER_INFO)


def test_indices_of_a_grd_are_bands_whose_mean_is_that_of_the_dates(grd: Path, tmp_path: Path) -> None:
    scenes, cube = carry_out(of_grd(grd, polarimetry=["rvi", "theta_c"]), tmp_path)
    assert cube.bands == ("VV", "VH", "rvi", "theta_c") and cube.units == "gamma0_linear" and len(scenes) == 2
    attrs = json.loads(next((tmp_path / "composite").rglob("cube.zarr/zarr.json")).read_text())["attributes"]
    assert attrs["band_units"] == {"rvi": "1", "theta_c": "deg"}
    left, bottom, right, top = cube.bounds_m
    window = cube.read((left, bottom, right, top))
    both = window.n_clear_tyx[0] == 2
    dates = []
    for scene in scenes:
        with open_observation(scene) as reader:
            assert reader.about.bands == cube.bands
            lattice = type(reader.about.lattice)(cube.crs, 10.0, (left, bottom, right, top))
            dates.append(reader.data(lattice).astype(np.float64))
    for vv, vh, rvi, _ in dates:
        np.testing.assert_allclose(rvi[both], (4.0 * vh / (vv + vh))[both], rtol=1e-6)
    mean = np.mean(dates, axis=0)
    np.testing.assert_allclose(window.data_tbyx[0][:, both], mean[:, both], rtol=1e-6)
    # The index of the mean powers is another number.
    other = 4.0 * mean[1] / (mean[0] + mean[1])
    assert np.abs(other - mean[2])[both].max() > 1e-4
    assert both.mean() > 0.1


def test_the_bands_change_neither_powers_nor_keys_without_them(grd: Path, tmp_path: Path) -> None:
    with_index, without = of_grd(grd, polarimetry=["rvi"]), of_grd(grd)
    assert {u.key for u in with_index.units.values()}.isdisjoint(u.key for u in without.units.values())
    _, one = carry_out(with_index, tmp_path / "one")
    _, two = carry_out(without, tmp_path / "two")
    a, b = one.read(one.bounds_m), two.read(two.bounds_m)
    assert np.array_equal(a.valid_tyx, b.valid_tyx)
    assert np.array_equal(a.data_tbyx[:, :2], b.data_tbyx, equal_nan=True)


def test_an_slc_is_a_source(slc: Path, tmp_path: Path) -> None:
    plan = of_slc(slc, polarimetry=["c2", "alpha", "entropy", "dop", "dprvi", "rvi"], c2_window_px=7)
    (scene,), cube = carry_out(plan, tmp_path)
    assert cube.bands == (
        "VV", "VH", "c11", "c22", "c12_real", "c12_imag", "alpha", "entropy", "dop", "dprvi", "rvi"
    )  # fmt: skip
    facts = json.loads((scene / "observation.json").read_text(encoding="utf-8"))["facts"]
    assert (facts["product_type"], facts["multilook"], facts["polarimetry"]["c2_window_px"]) == ("SLC", [1, 4], 7)
    window = cube.read(cube.bounds_m)
    valid = window.valid_tyx[0]
    assert valid.sum() > 3000
    found = dict(zip(cube.bands, window.data_tbyx[0][:, valid].astype(np.float64), strict=True))
    c12 = found["c12_real"] + 1j * found["c12_imag"]
    m = np.sqrt(1.0 - 4.0 * (found["c11"] * found["c22"] - np.abs(c12) ** 2) / (found["c11"] + found["c22"]) ** 2)
    np.testing.assert_allclose(found["dop"], m, atol=1e-5)
    np.testing.assert_allclose(found["dprvi"], 1.0 - m * 0.5 * (1.0 + m), atol=1e-5)
    assert c12.mean() == pytest.approx(np.conj(SHARE) * SIGMA0["VV"], rel=0.04)
    assert found["alpha"].max() < 60.0


def test_threads_change_no_byte_and_polarimetry_is_no_must(slc: Path, tmp_path: Path) -> None:
    for threads in (1, 3):
        carry_out(of_slc(slc, looks=[2, 8], polarimetry=["haalpha"]), tmp_path / str(threads), threads)
    one, three = (sorted(p for p in (tmp_path / n).rglob("*") if p.is_file()) for n in ("1", "3"))
    assert len(one) == len(three) > 3
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, three, strict=True))
    _, cube = carry_out(of_slc(slc), tmp_path / "plain")
    assert cube.bands == ("VV", "VH")


def test_kinds_of_products_are_not_mixed(grd: Path, slc: Path) -> None:
    with pytest.raises(InputError, match=r"S1A_\S+ is of type SLC; sentinel1_grd takes GRD products") as caught:
        make(slc, {"type": "sentinel1_grd", "dem": "flat:0"}, "2023-09", f"EPSG:{EPSG}")
    assert "sentinel1_slc" in caught.value.remedy
    with pytest.raises(InputError, match=r"S1A_\S+ is of type GRD; sentinel1_slc takes SLC products"):
        make(grd, {"type": "sentinel1_slc", "dem": "flat:0"})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"polarimetry": ["entropy"]}, "entropy needs the phase of an SLC"),
        ({"polarimetry": ["c2"]}, "c2 needs the phase of an SLC"),
        ({"polarimetry": ["rvi"], "polarisations": ["VV"]}, "one co-polar and one cross-polar channel"),
        ({"polarimetry": ["span"]}, "polarimetry"),
        ({"looks": [1, 4]}, "`looks` is a setting of type: sentinel1_slc"),
        ({"c2_window_px": 7}, "`c2_window_px` is a setting of type: sentinel1_slc"),
        ({"type": "sentinel1_slc", "c2_window_px": 4}, "must be odd"),
        ({"type": "sentinel1_slc", "looks": [0, 4]}, "`looks` must be 1 to 64"),
        ({"type": "sentinel1_slc", "looks": [1, 65]}, "`looks` must be 1 to 64"),
    ],
)
def test_settings_that_make_no_sense_are_refused(grd: Path, changes: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        of_grd(grd, **changes)


def test_a_geoid_folder_is_looked_in(
    grd: Path, tmp_path: Path, monkeypatch, shared_data: Callable[[str], Path]
) -> None:
    monkeypatch.setattr("landcover_cli.io.geoid.proj_folders", list)
    folder = tmp_path / "geoid"
    folder.mkdir()
    grid = folder / "us_nga_egm96_15.tif"
    grid.write_bytes((shared_data("s1/egm96") / "egm96_15min.tif").read_bytes())
    write_dem(grd / "above_sea.tif", shift_m=-46.6)
    plan = of_grd(grd, dem="above_sea.tif", dem_height="egm96", geoid=str(folder))
    unit = plan.of_step("preprocess_s1")[0].unit
    assert unit.files["geoid"] == str(grid) and unit.params["sources"]["s1"]["dem_height"] == "egm96"
    carry_out(plan, tmp_path / "out")
    with pytest.raises(InputError, match=r"egm2008 .* is not installed"):
        of_grd(grd, dem="above_sea.tif", dem_height="egm2008", geoid=str(folder))
    with pytest.raises(InputError, match="nowhere is no folder"):
        of_grd(grd, dem="above_sea.tif", dem_height="egm96", geoid=str(tmp_path / "nowhere"))
