"""Polarimetric layers of `lc preprocess s1`: values against plain numpy, order of channels, bytes, and bad input."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate
from s1product import ASCENDING, write_aoi, write_dem, write_product
from scipy import ndimage
from slcproduct import EPSG, MOROCCO, SHARE, SIGMA0, write_slc, write_slc_aoi
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.demo.sentinel1_annotated import simulate_under_annotation
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.dem import open_dem
from landcover_cli.io.observation import read_about
from landcover_cli.io.s1_slc import open_slc
from landcover_cli.io.safe_s1 import open_measurement, open_s1_product
from landcover_cli.sar.calibration import calibrate_complex, calibrated_noise
from landcover_cli.sar.deburst import deburst, deburst_plan
from landcover_cli.sar.geocoding import geocode, radar_model, seed_times
from landcover_cli.sar.ground import ground_nodes, lattice_of
from landcover_cli.sar.orbit import interpolate_orbit
from landcover_cli.sar.pollayers import DETECTED_LAYERS, LAYER_INFO

ALL = "backscatter,c2,haalpha,dprvi,dop,rvi,dprvic,theta_c,entropy_c"
ROME = "s1/sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"


def lc(*args: object) -> list[dict]:
    result = CliRunner().invoke(app, ["preprocess", "s1", *map(str, args), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def slc(shared_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SLC and an area across a joint of its bursts."""
    folder = tmp_path_factory.mktemp("slc")
    safe = write_slc(shared_data(MOROCCO), folder)
    write_slc_aoi(safe, folder / "aoi.geojson")
    return safe


def on_slc(slc: Path, out: Path, *more: object) -> Path:
    shown = lc(
        slc, "--dem", "flat:0", "--out", out, "--aoi", slc.parent / "aoi.geojson", "--crs", f"EPSG:{EPSG}", "--res", 10,
        "--backscatter", "sigma0", "--speckle", "none", "--workers", 1, *more,
    )  # fmt: skip
    return Path(shown[0]["observation"])


@pytest.fixture(scope="module")
def made(slc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All layers of the SLC."""
    return on_slc(slc, tmp_path_factory.mktemp("made"), "--layers", ALL)


@pytest.fixture(scope="module")
def grd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dual-polarisation GRD, its terrain and an area."""
    folder = tmp_path_factory.mktemp("grd")
    write_product(folder, ASCENDING)
    write_dem(folder / "dem.tif")
    write_aoi(folder / "aoi.geojson")
    return folder


def on_grd(grd: Path, out: Path, *more: object) -> Path:
    shown = lc(
        next(grd.glob("*.SAFE")), "--dem", grd / "dem.tif", "--dem-height", "ellipsoidal", "--out", out,
        "--aoi", grd / "aoi.geojson", "--crs", "EPSG:32633", "--workers", 1, *more,
    )  # fmt: skip
    return Path(shown[0]["observation"])


def layer(folder: Path, name: str) -> np.ndarray:
    with rasterio.open(folder / f"{name}.tif") as dataset:
        assert dataset.descriptions == (name,) and np.isnan(dataset.nodata) and dataset.dtypes == ("float32",)
        return dataset.read(1)


def test_decompositions_are_those_of_eigh(made: Path) -> None:
    """Every layer from the C2 that was delivered beside it, by an eigensolver."""
    c11, c22, real, imag = (layer(made, name).astype(np.float64) for name in ("c11", "c22", "c12_real", "c12_imag"))
    c12 = real + 1j * imag
    values, vectors = np.linalg.eigh(np.stack([np.stack([c11, c12], -1), np.stack([np.conj(c12), c22], -1)], -2))
    low, high = np.moveaxis(values, -1, 0)
    assert (low > 0).mean() > 0.99
    low = np.maximum(low, 0.0)
    p = np.stack([high, low], -1) / (high + low)[..., None]
    entropy = -(p * np.log2(np.where(p > 0, p, 1.0))).sum(-1)
    # The angle of the first component, without the arccos that loses half the digits near 0.
    angles = np.degrees(np.arctan2(np.abs(vectors[..., 1, :]), np.abs(vectors[..., 0, :])))[..., ::-1]
    span = c11 + c22
    m = np.sqrt(np.clip(1.0 - 4.0 * np.maximum(c11 * c22 - np.abs(c12) ** 2, 0.0) / span**2, 0.0, 1.0))
    expected = {
        "entropy": entropy,
        "anisotropy": p[..., 0] - p[..., 1],
        "alpha": (p * angles).sum(-1),
        "dop": m,
        "dprvi": 1.0 - m * p[..., 0],
        "rvi": 4.0 * c22 / span,
    }
    for name, values in expected.items():
        np.testing.assert_allclose(layer(made, name), values, rtol=1e-6, atol=1e-6, err_msg=name)
    _check_detected(made, c11, c22)


def _check_detected(folder: Path, co: np.ndarray, cross: np.ndarray) -> None:
    q = np.minimum(cross / co, 1.0)
    p = np.stack([1.0 / (1.0 + q), q / (1.0 + q)])
    expected = {
        "rvi": 4.0 * cross / (co + cross),
        "dprvic": q * (q + 3.0) / (q + 1.0) ** 2,
        "theta_c": np.degrees(np.arctan((1.0 - q) ** 2 / (1.0 - q + q**2))),
        "entropy_c": -(p * np.log2(np.where(p > 0, p, 1.0))).sum(0),
    }
    assert tuple(expected) == DETECTED_LAYERS
    for name, values in expected.items():
        np.testing.assert_allclose(layer(folder, name), values, rtol=1e-6, atol=1e-6, err_msg=name)


def test_c2_is_that_of_plain_numpy_down_to_the_map(slc: Path, made: Path) -> None:
    """Calibrate, deburst, take the noise off, average 1 × 4 looks and 5 × 5 cells, bring to the map: all in float64."""
    image = open_slc(open_s1_product(slc), backscatter="sigma0")
    about = read_about(made)
    lattice, block = lattice_of(_geobox(about))
    info = image.annotation.image
    orbit = interpolate_orbit(image.annotation.orbit, info.first_line_time_s, info.last_line_time_s)
    model = radar_model(image.annotation, orbit)
    nodes = ground_nodes(lattice, block)
    place = geocode(model, nodes, seed_times(model, nodes), block, open_dem("flat:0").heights(lattice, block))
    top, left = int(place.line.min()) - 4, int(place.pixel.min()) - 4
    bottom, right = int(place.line.max()) + 6, int(place.pixel.max()) + 6
    parts = _plain_c2(image, slice(top, bottom), slice(left * 4, right * 4))
    for name, part in parts.items():
        box = ndimage.uniform_filter(part, 5, mode="constant")
        at = [place.line - top, place.pixel - left]
        expected = ndimage.map_coordinates(box, at, order=1, mode="constant", cval=np.nan)
        np.testing.assert_allclose(layer(made, name), expected, rtol=1e-5, atol=1e-6, err_msg=name)


def _geobox(about):
    from landcover_cli.core.grid import geobox_from_bounds

    return geobox_from_bounds(about.bounds_m, about.gsd_m, about.crs)


def _plain_c2(image, lines: slice, samples: slice) -> dict[str, np.ndarray]:
    value, noise = [], []
    for name in ("VV", "VH"):
        source = image.sources[name]
        channel, tables = source.channels[0], source.radiometry[0]
        annotation = channel.annotation
        plan = deburst_plan(annotation.swath_timing, annotation.image.azimuth_time_interval_s)
        lo, hi = int(plan.source_line[lines].min()), int(plan.source_line[lines].max()) + 1
        with open_measurement(channel) as measurement:
            dn = measurement.read(lo, 0, hi - lo, measurement.shape_yx[1])
        corner = {"first_line": lo, "first_pixel": 0}
        raw = calibrate_complex(dn, tables, **corner).astype(np.complex128)
        own = calibrated_noise(tables, **corner, shape_yx=dn.shape)
        value.append(deburst(raw, plan, first_source_line=lo, lines=lines)[:, samples])
        noise.append(deburst(own, plan, first_source_line=lo, lines=lines)[:, samples])
    cross = value[0] * np.conj(value[1])
    single = {
        "c11": np.abs(value[0]) ** 2 - noise[0],
        "c22": np.abs(value[1]) ** 2 - noise[1],
        "c12_real": cross.real,
        "c12_imag": cross.imag,
    }
    return {name: part.reshape(len(part), -1, 4).mean(-1) for name, part in single.items()}


def test_what_was_put_in_comes_back(made: Path) -> None:
    """VH holds a known share of VV: C12 = conj(share) · C11 in both parts, and the powers are the ones simulated."""
    means = {name: float(layer(made, name).mean(dtype=np.float64)) for name in ("c11", "c22", "c12_real", "c12_imag")}
    # 25,000 samples of one look: 0.6 %; the two channels' tables differ by less.
    assert means["c11"] == pytest.approx(SIGMA0["VV"], rel=0.03)
    assert means["c22"] == pytest.approx(SIGMA0["VH"] + abs(SHARE) ** 2 * SIGMA0["VV"], rel=0.03)
    c12 = np.conj(SHARE) * SIGMA0["VV"]
    assert means["c12_real"] == pytest.approx(c12.real, rel=0.04)
    assert means["c12_imag"] == pytest.approx(c12.imag, rel=0.04)


def test_alpha_is_counted_from_vv_whatever_was_asked_first(slc: Path, made: Path, tmp_path: Path) -> None:
    other = on_slc(slc, tmp_path, "--layers", ALL, "--polarisation", "VH,VV")
    assert read_about(other).bands == ("VH", "VV")
    for name in LAYER_INFO:
        assert np.array_equal(layer(other, name), layer(made, name), equal_nan=True), name
    # VV is five times stronger: the dominant mechanism is close to it.
    assert np.median(layer(made, "alpha")) < 45.0
    for folder in (made, other):
        assert read_about(folder).facts["polarimetry"]["channel_order"] == ["VV", "VH"]


def test_files_say_what_they_hold(made: Path) -> None:
    facts = read_about(made).facts
    assert facts["polarimetry"] == {"channel_order": ["VV", "VH"], "of": "C2, noise subtracted", "c2_window_px": 5}
    assert facts["multilook"] == [1, 4] and facts["layers"] == sorted(LAYER_INFO)
    item = json.loads((made / "item.json").read_text())
    for name, info in LAYER_INFO.items():
        path = made / f"{name}.tif"
        assert cog_validate(path, strict=True)[0]
        with rasterio.open(path) as dataset:
            tags = dataset.tags()
        assert (tags["CHANNEL_ORDER"], tags["LAYER"], tags["C2_WINDOW_PX"]) == ("VV,VH", info.title, "5")
        assert json.loads(tags["PARAMETERS"])["orbit"] == "annotation/Auxiliary"
        asset = item["assets"][name]
        assert asset["bands"] == [{"name": name, "description": info.title}]
        assert asset["sar:polarizations"] == ["VV", "VH"] and asset["roles"] == ["data"]
    assert item["properties"]["lc:parameters"]["polarimetry"] == facts["polarimetry"]
    assert "averaged over 1 x 4 looks and a window of 5 pixels" in item["properties"]["processing:lineage"]


def test_layers_change_no_byte_of_the_backscatter(slc: Path, made: Path, tmp_path: Path) -> None:
    plain = on_slc(slc, tmp_path)
    for name in ("data.tif", "mask.tif", "quicklook.png"):
        assert (plain / name).read_bytes() == (made / name).read_bytes(), name


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_no_block_strip_or_worker_changes_a_byte(slc: Path, made: Path, tmp_path: Path, monkeypatch) -> None:
    from landcover_cli.io import preprocess_s1, s1_prepare, s1_source
    from landcover_cli.io.s1_output import S1Output, write_deliverables
    from landcover_cli.io.s1_request import with_request

    monkeypatch.setattr(s1_source, "STRIP_LINES", 48)
    monkeypatch.setattr("landcover_cli.io.s1_scene.STRIP_LINES", 48)
    settings = s1_prepare.S1Settings(
        dem="flat:0",
        backscatter="sigma0",
        speckle="none",
        layers=tuple(LAYER_INFO),
        crs=f"EPSG:{EPSG}",
        gsd_m=10.0,
        area_m=read_about(made).bounds_m,
    )
    prepared = with_request(s1_prepare.prepare_s1([open_s1_product(slc)], settings, block_px=33), S1Output())
    preprocess_s1.preprocess_s1(prepared, tmp_path, preprocess_s1.S1Execution(workers=3, block_px=33))
    write_deliverables(tmp_path, prepared.footprint, S1Output())
    assert len(prepared.plan.blocks) == 9
    assert digests(tmp_path) == digests(made)


def test_the_window_averages_and_terrain_divides(slc: Path, made: Path, tmp_path: Path) -> None:
    """A wider window has more looks; flattened C2 is that of the ellipsoid times one number, which no ratio sees."""
    one = on_slc(slc, tmp_path / "one", "--layers", "c2,rvi", "--c2-window", 1)
    assert read_about(one).facts["polarimetry"]["c2_window_px"] == 1
    with rasterio.open(one / "data.tif") as dataset:
        np.testing.assert_allclose(layer(one, "c11"), dataset.read(1), rtol=1e-4, atol=1e-6)
    assert layer(one, "c11").std() > 2.0 * layer(made, "c11").std()
    flat = on_slc(slc, tmp_path / "rtc", "--backscatter", "gamma0_rtc", "--layers", "c2,alpha,incidence")
    ratio = layer(flat, "c11").astype(np.float64) / layer(made, "c11")
    # sigma0 and gamma0 of flat ground differ by the cosine of the incidence.
    np.testing.assert_allclose(ratio, 1.0 / np.cos(np.radians(layer(flat, "incidence"))), rtol=0.03)
    np.testing.assert_allclose(layer(flat, "alpha"), layer(made, "alpha"), atol=0.1)


def test_indices_of_a_grd_follow_from_its_filtered_backscatter(grd: Path, tmp_path: Path) -> None:
    folder = on_grd(grd, tmp_path, "--layers", ",".join(DETECTED_LAYERS))
    with rasterio.open(folder / "data.tif") as dataset:
        assert dataset.descriptions == ("VV", "VH")
        co, cross = dataset.read().astype(np.float64)
    _check_detected(folder, co, cross)
    facts = read_about(folder).facts
    assert facts["polarimetry"] == {"channel_order": ["VV", "VH"], "of": "filtered backscatter"}
    # 0.1 and 0.02 were put in.
    assert float(np.median(layer(folder, "rvi"))) == pytest.approx(4 * 0.02 / 0.12, rel=0.05)
    assert cog_validate(folder / "rvi.tif", strict=True)[0]


def test_unfiltered_noise_leaves_holes_in_an_index_and_none_in_the_backscatter(grd: Path, tmp_path: Path) -> None:
    """Below the noise there is no index; the power keeps its negative value for averages."""
    folder = on_grd(grd, tmp_path, "--layers", "rvi", "--speckle", "none", "--denoise", "force")
    with rasterio.open(folder / "data.tif") as dataset, rasterio.open(folder / "mask.tif") as mask:
        co, cross = dataset.read()
        assert (mask.read(1) == 1).all()
    bad = (co <= 0) | (cross < 0)
    assert np.array_equal(np.isnan(layer(folder, "rvi")), bad)


def test_a_real_annotation_of_rome_over_its_terrain(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """VV and a derived VH of known power: the indices do not feel the terrain that both channels share."""
    dem, geoid = shared_data("s1/sarsen_rome") / "Rome-30m-DEM.tif", shared_data("s1/egm96") / "egm96_15min.tif"
    power = {"VV": -8.0, "VH": -14.0}
    window = (8000, 21_700, 900, 1100)
    safe = simulate_under_annotation(
        shared_data(ROME), tmp_path, sigma0_db=power, seed=3, window=window, derive_vh=True
    )
    aoi = Path(__file__).parents[3] / "examples" / "aoi" / "rome.geojson"
    args = [safe, "--dem", dem, "--dem-height", geoid, "--aoi", aoi, "--crs", "EPSG:32633", "--out", tmp_path / "o"]
    folder = Path(lc(*args, "--layers", ",".join(DETECTED_LAYERS), "--workers", 1)[0]["observation"])
    with rasterio.open(folder / "data.tif") as dataset:
        co, cross = dataset.read().astype(np.float64)
    _check_detected(folder, co, cross)
    q = 10.0 ** ((power["VH"] - power["VV"]) / 10.0)
    assert float(np.nanmedian(layer(folder, "rvi"))) == pytest.approx(4.0 * q / (1.0 + q), rel=0.05)
    with pytest.raises(InputError, match=r"layer 'rvi' needs a co-polar and a cross-polar channel; S1B_\S+ is read"):
        lc(*args, "--layers", "rvi", "--polarisation", "VV")


# --- the folder of geoid grids -------------------------------------------------------------------------------------


def test_a_geoid_is_found_by_name_in_a_folder(
    grd: Path, tmp_path: Path, monkeypatch, shared_data: Callable[[str], Path]
) -> None:
    monkeypatch.setattr("landcover_cli.io.geoid.proj_folders", list)
    folder = tmp_path / "geoid"
    folder.mkdir()
    shutil.copy(shared_data("s1/egm96") / "egm96_15min.tif", folder / "us_nga_egm96_15.tif")
    sea = write_dem(tmp_path / "above_sea.tif", shift_m=-46.6)
    found = on_grd(grd, tmp_path / "o", "--dem", sea, "--dem-height", "egm96", "--geoid", folder, "--no-cog")
    facts = read_about(found).facts["dem"]
    assert facts["heights"] == "egm96" and abs(facts["tie_offset_m"]) < 1.5
    with pytest.raises(InputError, match=r"grid of the geoid egm2008 .* is not installed"):
        on_grd(grd, tmp_path / "never", "--dem", sea, "--dem-height", "egm2008", "--geoid", folder)
    with pytest.raises(InputError, match=r"--geoid \S+nowhere is no folder"):
        on_grd(grd, tmp_path / "never", "--geoid", tmp_path / "nowhere")
    assert not (tmp_path / "never").exists()


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.fixture
def no_pixels(monkeypatch) -> None:
    """Nothing of a measurement may be read."""

    def read(*_: object, **__: object) -> None:
        raise AssertionError("a pixel was read")

    monkeypatch.setattr("landcover_cli.io.safe_s1.Measurement.read", read)


@pytest.mark.usefixtures("no_pixels")
@pytest.mark.parametrize("name", ["c2", "haalpha", "dprvi", "dop", "c12_imag", "alpha", "c11"])
def test_phase_of_a_grd_is_refused(grd: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(
        InputError, match=rf"layer '{name}' needs the phase between the channels; S1A_\S+ is a GRD"
    ) as caught:
        on_grd(grd, tmp_path / "never", "--layers", f"rvi,{name}")
    assert "rvi, dprvic, theta_c, entropy_c" in caught.value.remedy
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_pixels")
@pytest.mark.parametrize("name", ["c11", "rvi"])
def test_one_channel_is_refused(slc: Path, tmp_path: Path, name: str) -> None:
    match = rf"layer '{name}' needs a co-polar and a cross-polar channel; S1A_\S+ is read with VV alone"
    with pytest.raises(InputError, match=match):
        on_slc(slc, tmp_path / "never", "--layers", name, "--polarisation", "VV")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_pixels")
@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--layers", "span"), "layer 'span' is unknown"),
        (("--layers", "c2", "--c2-window", 4), "window of 4 pixels for C2 is even"),
        (("--layers", "c2", "--c2-window", 33), "window of 33 pixels for C2 is even or out of range"),
        (("--layers", "c2", "--looks", "0,4"), "looks 0 × 4 are out of range"),
    ],
)
def test_options_that_make_no_sense_are_refused(slc: Path, tmp_path: Path, options, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        on_slc(slc, tmp_path / "never", *options)
    assert not list(tmp_path.iterdir())
