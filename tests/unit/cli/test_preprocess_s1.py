"""`lc preprocess s1` on small simulated products: values, files, sameness of bytes, and every bad input."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rio_cogeo.cogeo import cog_validate
from s1product import ASCENDING, POWER, UNDULATION_M, write_aoi, write_dem, write_product
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.safe_s1 import open_s1_product


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product, a terrain model and an area."""
    folder = tmp_path_factory.mktemp("s1")
    write_product(folder, ASCENDING)
    write_dem(folder / "dem.tif")
    write_aoi(folder / "aoi.geojson")
    return folder


def safe_of(place: Path) -> Path:
    return next(place.glob("*.SAFE"))


def lc(place: Path, out: Path, *more: object, product: Path | None = None, dem: object = None, aoi: object = None):
    terrain = [] if "--dem-height" in more else ["--dem-height", "ellipsoidal"]
    args = [
        "preprocess", "s1", product or safe_of(place), "--out", out, "--dem", dem or place / "dem.tif", *terrain,
        "--aoi", aoi or place / "aoi.geojson", "--crs", "EPSG:32633", "--workers", 1, *more,
    ]  # fmt: skip
    result = CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def test_known_backscatter_comes_back_with_all_files(place, tmp_path):
    out = tmp_path / "out"
    shown = json.loads(lc(place, out, "--dry-run", "--json"))
    assert not out.exists()
    assert shown[0]["bands"] == ["VV", "VH"] and shown[0]["orbit"] == "annotation/Auxiliary"
    shown = json.loads(lc(place, out, "--json", "--layers", "incidence,layover_shadow"))
    folder = Path(shown[0]["observation"])
    assert folder == out / safe_of(place).stem
    with rasterio.open(folder / "data.tif") as data:
        values = data.read()
        assert data.descriptions == ("VV", "VH") and np.isnan(data.nodata)
        assert data.bounds.left % 10 == 0 and data.shape == (76, 76)
    for band, name in zip(values, POWER, strict=True):
        # 5,776 pixels of 4.4 looks: 0.03 dB of chance, and the little that refined Lee loses on its half-windows.
        assert 10 * np.log10(np.nanmean(band) / POWER[name]) == pytest.approx(0, abs=0.15)
    with rasterio.open(folder / "mask.tif") as mask:
        assert (mask.read(1) == 1).all()
    about = json.loads((folder / "observation.json").read_text())
    assert (about["units"], about["sensor"], about["dtype"]) == ("gamma0_linear", "sentinel1", "float32")
    facts = about["facts"]
    assert (facts["ipf"], facts["orbit_direction"], facts["relative_orbit"]) == ("3.40", "ascending", ASCENDING)
    assert facts["speckle"] == {
        "name": "refined_lee",
        "window_px": 7,
        "looks": 4.4,
        "edge_variance": 0.0,
        "debias": True,
    }
    assert facts["dem"]["name"] == "dem.tif" and abs(facts["dem"]["tie_offset_m"]) < 1
    assert facts["denoise"] == {"VV": "removed", "VH": "removed"}
    assert str(tmp_path) not in (folder / "observation.json").read_text() + (folder / "item.json").read_text()
    item = json.loads((folder / "item.json").read_text())
    assert item["properties"]["sat:orbit_state"] == "ascending" and item["properties"]["proj:code"] == "EPSG:32633"
    assert item["properties"]["sar:polarizations"] == ["VV", "VH"]
    for asset in item["assets"].values():
        path = folder / asset["href"]
        assert asset["file:size"] == path.stat().st_size
        if "profile=cloud-optimized" in asset["type"]:
            assert cog_validate(path, strict=True)[0]
    assert {p.name for p in folder.iterdir()} == {
        "data.tif", "mask.tif", "observation.json", "item.json", "quicklook.png", "incidence.tif",
        "layover_shadow.tif", item["assets"]["vv"]["href"][2:], item["assets"]["vh"]["href"][2:],
    }  # fmt: skip


def test_no_worker_block_or_memory_changes_a_byte(place, tmp_path, monkeypatch):
    lc(place, tmp_path / "a", "--layers", "layover_shadow")
    lc(place, tmp_path / "b", "--layers", "layover_shadow", "--workers", 3, "--memory", "1MB")
    from landcover_cli.io import preprocess_s1, s1_prepare, s1_source
    from landcover_cli.io.s1_output import S1Output, write_deliverables
    from landcover_cli.io.s1_request import with_request

    monkeypatch.setattr(s1_source, "STRIP_LINES", 48)
    monkeypatch.setattr("landcover_cli.io.s1_scene.STRIP_LINES", 48)
    settings = s1_prepare.S1Settings(
        dem=str(place / "dem.tif"),
        dem_height="ellipsoidal",
        layers=("layover_shadow",),
        crs="EPSG:32633",
        area_m=tuple(json.loads(next((tmp_path / "a").glob("*/observation.json")).read_text())["bounds_m"]),
    )
    prepared = s1_prepare.prepare_s1([open_s1_product(safe_of(place))], settings, block_px=33)
    prepared = with_request(prepared, S1Output())
    small = tmp_path / "c" / prepared.about.id
    small.mkdir(parents=True)
    preprocess_s1.preprocess_s1(prepared, small, preprocess_s1.S1Execution(workers=2, block_px=33))
    write_deliverables(small, prepared.footprint, S1Output())
    assert len(prepared.plan.blocks) == 9
    first = digests(tmp_path / "a")
    assert len(first) == 8
    assert digests(tmp_path / "b") == first
    assert digests(tmp_path / "c") == first


def test_scales_are_of_the_linear_values(place, tmp_path):
    lc(place, tmp_path / "db", "--scale", "db", "--polarisation", "VH", "--speckle", "none", "--denoise", "off")
    lc(place, tmp_path / "8", "--scale", "stretch", "--limits=-25,-5", "--polarisation", "VH", "--speckle", "none",
       "--denoise", "off")  # fmt: skip
    with rasterio.open(next((tmp_path / "db").glob("*/data.tif"))) as dataset:
        linear = dataset.read(1)
    db = 10 * np.log10(linear.astype(np.float64))
    with rasterio.open(next((tmp_path / "db").glob("*/*_vh_db.tif"))) as dataset:
        np.testing.assert_allclose(dataset.read(1), db, rtol=1e-6)
        assert dataset.tags()["UNITS"] == "gamma0_db"
    with rasterio.open(next((tmp_path / "8").glob("*/*_vh_8bit.tif"))) as dataset:
        expected = 1 + np.rint(254 * np.clip((db + 25) / 20, 0, 1))
        assert np.abs(dataset.read(1).astype(int) - expected).max() <= 1
        assert dataset.nodata == 0 and float(dataset.tags()["STRETCH_HIGH_DB"]) == -5
    about = json.loads(next((tmp_path / "db").glob("*/observation.json")).read_text())
    assert about["facts"]["denoise"] == {"VH": "kept"} and about["facts"]["speckle"] == {"name": "none"}


@pytest.mark.parametrize("kind", ["gamma0", "sigma0", "beta0"])
def test_other_backscatter_says_so(place, tmp_path, kind):
    lc(place, tmp_path / kind, "--backscatter", kind, "--no-cog")
    folder = next((tmp_path / kind).iterdir())
    assert sorted(p.name for p in folder.iterdir()) == ["data.tif", "mask.tif", "observation.json"]
    assert json.loads((folder / "observation.json").read_text())["units"] != "gamma0_linear"


def test_the_default_grid_is_the_products_own(place, tmp_path):
    args = ["preprocess", "s1", safe_of(place), "--dem", "flat:500", "--out", tmp_path / "o", "--dry-run", "--json"]
    result = CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
    shown = json.loads(result.stdout)[0]
    assert (shown["crs"], shown["gsd_m"]) == ("EPSG:32633", 10.0)


def write_eof(folder: Path, product: Path) -> Path:
    """An orbit file that says what the annotation says."""
    opened = open_s1_product(product)
    orbit = opened.annotation("VV").orbit
    times = [orbit.epoch + np.timedelta64(round(t * 1e6), "us") for t in orbit.time_s]
    vectors = "".join(
        f"<OSV><UTC>UTC={t.astype('datetime64[us]')!s}</UTC>"
        + "".join(f"<{axis}>{value!r}</{axis}>" for axis, value in zip("XYZ", map(float, p), strict=True))
        + "".join(f"<V{axis}>{value!r}</V{axis}>" for axis, value in zip("XYZ", map(float, v), strict=True))
        + "</OSV>"
        for t, p, v in zip(times, orbit.position_m, orbit.velocity_ms, strict=True)
    )
    first, last = (str(t.astype("datetime64[s]")).replace("-", "").replace(":", "") for t in (times[0], times[-1]))
    folder.mkdir()
    path = folder / f"S1A_OPER_AUX_POEORB_OPOD_20210206T121508_V{first}_{last}.EOF"
    path.write_text(
        "<Earth_Explorer_File><Earth_Explorer_Header><Fixed_Header><Mission>Sentinel-1A</Mission></Fixed_Header>"
        "<Variable_Header><Ref_Frame>EARTH_FIXED</Ref_Frame></Variable_Header></Earth_Explorer_Header>"
        f"<Data_Block><List_of_OSVs>{vectors}</List_of_OSVs></Data_Block></Earth_Explorer_File>",
        encoding="utf-8",
    )
    return path


def test_the_orbit_file_is_used_and_recorded(place, tmp_path):
    eof = write_eof(tmp_path / "orbits", safe_of(place))
    lc(place, tmp_path / "eof", "--orbits", eof.parent, "--no-cog")
    lc(place, tmp_path / "own", "--no-cog")
    values, sources = [], []
    for name in ("eof", "own"):
        folder = next((tmp_path / name).iterdir())
        sources.append(json.loads((folder / "observation.json").read_text())["facts"]["orbit"])
        with rasterio.open(folder / "data.tif") as dataset:
            values.append(dataset.read())
    assert sources == [eof.name, "annotation/Auxiliary"]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-3)


# --- what is refused ---------------------------------------------------------------------------------------------


def without(place: Path, folder: Path, pattern: str) -> Path:
    safe = folder / safe_of(place).name
    shutil.copytree(safe_of(place), safe)
    for path in safe.glob(pattern):
        path.unlink()
    return safe


def refused(error: type[Exception], match: str, place: Path, tmp_path: Path, *more: object, **options: object) -> None:
    """The error names what is wrong and what to do, ends with code 3 (2 for the command line), and nothing appears."""
    out = tmp_path / "never"
    with pytest.raises(error, match=match) as caught:
        lc(place, out, *more, **options)
    assert caught.value.remedy
    assert caught.value.exit_code == (3 if error is InputError else 2)
    assert not list(tmp_path.glob("*never*"))


@pytest.mark.parametrize("table", ["calibration", "noise"])
def test_a_missing_table_is_named(place, tmp_path, table):
    product = without(place, tmp_path, f"annotation/calibration/{table}-*-vh-*.xml")
    refused(
        InputError,
        rf"annotation/calibration/{table}-s1a-iw-grd-vh-.*\.xml is missing",
        place,
        tmp_path,
        product=product,
    )


def test_a_truncated_measurement_is_found_before_it_is_read(place, tmp_path):
    product = without(place, tmp_path, "nothing")
    path = next(product.glob("measurement/*-vv-*"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    refused(
        InputError, r"measurement/s1a-iw-grd-vv-\S+ (is truncated|cannot be opened)", place, tmp_path, product=product
    )


def test_a_terrain_model_that_ends_is_measured(place, tmp_path):
    dem = write_dem(tmp_path / "small.tif", margin_m=-300.0)
    refused(InputError, r"DEM small\.tif does not cover S1A_\S+: \d+\.\d % of", place, tmp_path, dem=dem)


def test_a_terrain_model_without_crs_or_datum_is_refused(place, tmp_path):
    dem = write_dem(tmp_path / "nowhere.tif", crs=None)
    refused(InputError, r"DEM nowhere\.tif has no coordinate reference system", place, tmp_path, dem=dem)
    refused(InputError, "does not say what its heights are counted from", place, tmp_path, "--dem-height", "auto")


def test_a_missing_geoid_grid_is_named(place, tmp_path, monkeypatch):
    monkeypatch.setattr("landcover_cli.io.geoid.proj_folders", list)
    refused(InputError, "grid of the geoid egm2008 .* is not installed", place, tmp_path, "--dem-height", "egm2008")


def test_a_wrong_datum_shows_in_the_tie_points(place, tmp_path, shared_data: Callable[[str], Path]):
    geoid = shared_data("s1/egm96") / "egm96_15min.tif"
    refused(InputError, r"lies \+4\d\.\d m .* vertical datum", place, tmp_path, "--dem-height", geoid)
    right = write_dem(tmp_path / "above_sea.tif", shift_m=-UNDULATION_M)
    lc(place, tmp_path / "good", "--dem-height", geoid, "--no-cog", dem=right)
    about = json.loads(next((tmp_path / "good").glob("*/observation.json")).read_text())
    assert abs(about["facts"]["dem"]["tie_offset_m"]) < 1.5


def test_a_wrong_datum_is_suspected_without_any_geoid(place, tmp_path, monkeypatch, caplog):
    from landcover_cli.io.dem import open_dem
    from landcover_cli.io.s1_datum import check_datum

    monkeypatch.setattr("landcover_cli.io.geoid.proj_folders", list)
    dem = open_dem(write_dem(tmp_path / "above_sea.tif", shift_m=-UNDULATION_M), "ellipsoidal")
    monkeypatch.setattr(logging.getLogger("lc"), "propagate", True)
    with caplog.at_level(logging.WARNING, logger="lc"):
        facts = check_datum(dem, open_s1_product(safe_of(place)).annotation("VV").geolocation)
    assert facts["tie_offset_m"] == pytest.approx(-UNDULATION_M, abs=1)
    assert "m from the heights of the own grid of the product: " in caplog.text


def test_an_absent_polarisation_is_named(place, tmp_path):
    refused(
        InputError, r"no polarisation HH in swath IW; present: IW VH, IW VV", place, tmp_path, "--polarisation", "HH"
    )


def test_other_zips_are_refused(place, tmp_path):
    other = tmp_path / "photos.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("holiday/beach.txt", "sand")
    refused(InputError, "it is no Sentinel-1 product", place, tmp_path, product=other)
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("../../evil.txt", "x")
    refused(InputError, r"'\.\./\.\./evil\.txt', which would be written outside", place, tmp_path, product=other)


def test_orbit_files_of_other_missions_or_dates_are_refused(place, tmp_path, shared_data: Callable[[str], Path]):
    folder = tmp_path / "orbits"
    folder.mkdir()
    real = next(shared_data("s1/sarprocessing_slc").glob("*.EOF"))
    shutil.copy(real, folder)
    refused(InputError, r"none of 1 orbit files \(1 of S1A\) covers S1A from 2021", place, tmp_path, "--orbits", folder)
    (folder / real.name).rename(folder / real.name.replace("S1A_", "S1B_"))
    refused(InputError, r"none of 1 orbit files \(0 of S1A\)", place, tmp_path, "--orbits", folder)
    wrong = folder / real.name.replace("S1A_", "S1B_")
    refused(InputError, "do not cover 2021", place, tmp_path, "--orbits", wrong)


def test_an_area_off_the_scene_is_refused(place, tmp_path):
    aoi = write_aoi(tmp_path / "far.geojson", shift_m=60_000.0)
    refused(InputError, r"the area asked for lies off S1A_\S+: the scene covers x", place, tmp_path, aoi=aoi)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--layers", "slope"), "layer 'slope' is unknown"),
        (("--speckle", "multitemporal"), "needs a stack of dates"),
        (("--speckle", "median"), "unknown speckle 'median'"),
        (("--speckle-option", "looks=many"), "is not NAME=NUMBER"),
        (("--backscatter", "gamma9"), "backscatter 'gamma9' is unknown"),
        (("--denoise", "twice"), "denoise: 'twice'"),
        (("--scale", "log"), "scale 'log' is unknown"),
        (("--limits", "1"), "is not LOW,HIGH"),
        (("--limits", "1,2"), "limits are those of the 8-bit stretch"),
        (("--crs", "EPSG:99999"), "--crs 'EPSG:99999' is no known CRS"),
        (("--polarisation", "XX"), "--polarisation 'XX' is none of VV, VH, HH, HV"),
        (("--dem", "flat:abc"), "--dem 'flat:abc' holds no height"),
        (("--dem-height", "orthometric"), "--dem-height 'orthometric' is neither one of auto, ellipsoidal"),
        (("--looks", "2,8"), "--looks 2,8 is for SLC products"),
        (("--speckle", "none", "--speckle-option", "looks=4"), "--speckle-option looks=4 with --speckle none"),
        (("--crs", "EPSG:4326"), "is not a projected CRS in metres"),
        (("--memory", "much"), "--memory"),
    ],
)
def test_options_that_make_no_sense_are_refused(place, tmp_path, options, match):
    refused(UsageError, match, place, tmp_path, *options)


def test_a_product_given_twice_is_refused(place, tmp_path):
    refused(UsageError, "is given twice", place, tmp_path, safe_of(place))


@pytest.mark.parametrize(
    ("shift_m", "flat", "said"),
    [
        (300.0, None, "DEM off.tif lies +300"),
        (-23.0, None, "DEM off.tif lies -2"),
        (0.0, None, None),
        (0.0, 1500.0, "DEM flat:1500 lies +"),
        (0.0, 480.0, None),
    ],
)
def test_terrain_far_from_the_products_own_heights_is_warned_of(
    place, tmp_path, monkeypatch, caplog, shift_m: float, flat: float | None, said: str | None
) -> None:
    from landcover_cli.io.dem import open_dem
    from landcover_cli.io.s1_datum import check_datum, check_flat

    ties = open_s1_product(safe_of(place)).annotation("VV").geolocation
    source = write_dem(tmp_path / "off.tif", shift_m=shift_m) if flat is None else f"flat:{flat:g}"
    dem = open_dem(source, "ellipsoidal")
    area = shapely.box(ties.lon_deg.min(), ties.lat_deg.min(), ties.lon_deg.max(), ties.lat_deg.max())
    monkeypatch.setattr(logging.getLogger("lc"), "propagate", True)
    with caplog.at_level(logging.WARNING, logger="lc"):
        check_datum(dem, ties, what="S1A_x")
        check_flat(dem, ties, area, "EPSG:4326", "S1A_x")
        check_flat(dem, ties, shapely.Point(area.centroid), "EPSG:4326", "S1A_x")
    found = {r.message for r in caplog.records}
    if said is None:
        assert not found
    else:
        assert all(m.startswith(said) and "S1A_x" in m for m in found) and found
