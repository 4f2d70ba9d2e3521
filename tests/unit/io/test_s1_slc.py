"""SLC products on the map: power and covariance against plain numpy, and where things lie against the tie points."""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from landcover_cli.core.grid import geobox_from_bounds
from landcover_cli.demo.sentinel1_annotated import simulate_under_annotation
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.dem import open_dem
from landcover_cli.io.eof import find_orbit
from landcover_cli.io.s1_plan import plan_scene
from landcover_cli.io.s1_polarimetry import polarimetric_scene
from landcover_cli.io.s1_scene import geocode_scene
from landcover_cli.io.s1_slc import COVARIANCE_PARTS, SlcAssembly, open_slc, slc_source
from landcover_cli.io.safe_s1 import open_measurement, open_s1_product
from landcover_cli.io.safe_s1_xml import parse_annotation
from landcover_cli.sar.calibration import calibrate_complex, calibrated_noise
from landcover_cli.sar.deburst import deburst, deburst_plan
from landcover_cli.sar.geocoding import RadarModel, ground_position, locate, radar_model
from landcover_cli.sar.ground import Block, MapLattice, ellipsoid_surface, lattice_of
from landcover_cli.sar.orbit import interpolate_orbit
from landcover_cli.sar.polarimetry import POLARIMETRIC_LAYERS, Covariance, multilook, polarimetric_layers
from landcover_cli.sar.slc import slc_grid
from landcover_cli.sar.types import (
    CalibrationVector,
    CalibrationVectors,
    NoiseVectors,
    S1Annotation,
    S1Channel,
)

MOROCCO = "s1/eo_tools_morocco/SAFE/S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1.SAFE"
REAL = "s1/sarprocessing_slc"
GRD = "s1/sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"
SIGMA0 = {"VV": 10**-0.7, "VH": 10**-1.5}
# Measurement lines around the end of the third burst and the start of the fourth, and samples.
BOX = (2 * 1500 + 1100, 9000, 900, 1600)


def _model(annotation: S1Annotation) -> RadarModel:
    image = annotation.image
    return radar_model(annotation, interpolate_orbit(annotation.orbit, image.first_line_time_s, image.last_line_time_s))


def _area(model: RadarModel, line: float, pixel: float) -> tuple[MapLattice, Block]:
    """A square of 800 m around an image position."""
    x, y, z = ground_position(model, np.array([line]), np.array([pixel]), 0.0)[0]
    lon, lat = np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y) * (1 - 6.694379990141316e-3)))
    zone = 32600 + int((lon + 180) // 6) + 1
    east, north = pyproj.Transformer.from_crs(4326, zone, always_xy=True).transform(lon, lat)
    left, bottom = round(east, -1) - 400, round(north, -1) - 400
    return lattice_of(geobox_from_bounds((left, bottom, left + 800, bottom + 800), 10, f"EPSG:{zone}"))


@pytest.fixture(scope="module")
def morocco(shared_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> SlcAssembly:
    """Speckle of one backscatter, the channels independent, around a burst boundary."""
    decibel = {k: 10 * np.log10(v) for k, v in SIGMA0.items()}
    safe = simulate_under_annotation(
        shared_data(MOROCCO), tmp_path_factory.mktemp("slc"), sigma0_db=decibel, seed=8, window=BOX
    )
    return open_slc(open_s1_product(safe), backscatter="sigma0")


def _boundary(assembly: SlcAssembly) -> int:
    """Debursted line at which the fourth burst takes over."""
    source = assembly.sources["VV"].grid.plans[0].source_line
    per_burst = assembly.sources["VV"].channels[0].annotation.swath_timing.lines_per_burst
    return int(np.flatnonzero(source >= 3 * per_burst)[0])


def _oracle(assembly: SlcAssembly, lines: slice, samples: slice) -> Covariance:
    """C2 by the plain functions: calibrate, deburst, matrix, noise off, cells of 1 × 4."""
    parts = []
    for name in ("VV", "VH"):
        source = assembly.sources[name]
        channel, tables = source.channels[0], source.radiometry[0]
        annotation = channel.annotation
        plan = deburst_plan(annotation.swath_timing, annotation.image.azimuth_time_interval_s)
        lo, hi = int(plan.source_line[lines].min()), int(plan.source_line[lines].max()) + 1
        with open_measurement(channel) as measurement:
            dn = measurement.read(lo, 0, hi - lo, measurement.shape_yx[1])
        value = calibrate_complex(dn, tables, first_line=lo, first_pixel=0)
        noise = calibrated_noise(tables, first_line=lo, first_pixel=0, shape_yx=dn.shape).astype(np.float32)
        parts += [deburst(a, plan, first_source_line=lo, lines=lines)[:, samples] for a in (value, noise)]
    vv, n11, vh, n22 = (p.astype(np.complex128) for p in parts)
    c2 = Covariance(np.abs(vv) ** 2 - n11.real, np.abs(vh) ** 2 - n22.real, vv * np.conj(vh))
    return multilook(c2, 1, 4)


def test_power_and_covariance_are_those_of_plain_numpy(morocco: SlcAssembly) -> None:
    start = _boundary(morocco)
    lines, samples = slice(start - 30, start + 30), slice(9200, 9200 + 4 * 90)
    expected = _oracle(morocco, lines, samples)
    window = lines.start, samples.start // 4, 60, 90
    parts = {name: part.read(*window) for name, part in morocco.covariance().items()}
    np.testing.assert_allclose(parts["C11"], expected.c11, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(parts["C22"], expected.c22, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(parts["C12_real"], expected.c12.real, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(parts["C12_imag"], expected.c12.imag, rtol=1e-5, atol=1e-7)
    for name, part in (("VV", "C11"), ("VH", "C22")):
        np.testing.assert_allclose(morocco.sources[name].read(*window), parts[part], rtol=1e-4, atol=1e-6)


def test_windows_have_the_same_bits(morocco: SlcAssembly) -> None:
    start = _boundary(morocco)
    for image in (morocco.sources["VH"], morocco.covariance()["C12_imag"]):
        whole = image.read(start - 40, 2290, 80, 150)
        assert np.array_equal(image.read(start - 7, 2333, 20, 31), whole[33:53, 43:74], equal_nan=True)
        assert np.isfinite(whole).all()


def test_mean_power_comes_back(morocco: SlcAssembly) -> None:
    start = _boundary(morocco)
    for name, truth in SIGMA0.items():
        mean = morocco.sources[name].read(start - 100, 2260, 200, 380).mean(dtype=np.float64)
        # 304,000 samples of one look scatter by 0.8 %/√… = 0.008 dB; whole numbers add a little.
        assert 10 * np.log10(mean / truth) == pytest.approx(0, abs=0.03)


def test_empty_and_outside_is_nodata(morocco: SlcAssembly) -> None:
    source = morocco.sources["VV"]
    assert np.isnan(source.read(10, 100, 20, 30)).all()
    # The first line of the first burst is no valid one.
    assert np.isnan(source.read(0, 0, 1, source.shape_yx[1])).all()


@pytest.mark.parametrize("looks", [(1, 4), (2, 8), (1, 1)])
def test_tie_points_fall_on_the_multilooked_grid(morocco: SlcAssembly, looks: tuple[int, int]) -> None:
    """Each tie point is located at the time and range that the processor gives, in cells."""
    annotation = morocco.sources["VV"].channels[0].annotation
    grid = slc_grid([annotation], looks)
    ties = annotation.geolocation
    surface, normal = ellipsoid_surface(ties.lon_deg, ties.lat_deg)
    found = locate(_model(grid.annotation), surface + ties.height_m[:, None] * normal)
    image = annotation.image
    line = (ties.azimuth_time_s - image.first_line_time_s) / image.azimuth_time_interval_s
    sample = (ties.slant_range_time_s - image.slant_range_time_s) * image.range_sampling_rate_hz
    # Azimuth: 0.4 m at most with the orbit of the annotation, of lines 14 m apart.
    assert np.abs(found.line - (line - 0.5 * (looks[0] - 1)) / looks[0]).max() < 0.03
    assert np.abs(found.pixel - (sample - 0.5 * (looks[1] - 1)) / looks[1]).max() < 0.02
    assert grid.shape_yx[1] == image.shape_yx[1] // looks[1]


def test_polarimetry_reaches_the_map(morocco: SlcAssembly) -> None:
    """Independent channels: entropy, α and the rest follow from the two powers; the joint of bursts is not seen."""
    model = _model(morocco.annotation)
    lattice, block = _area(model, _boundary(morocco), 2450)
    dem = open_dem("flat:0")
    plan = plan_scene(model, dem, lattice, block, flatten=False)
    blocks = list(polarimetric_scene(model, morocco.covariance(), dem, plan, window_px=9, layers=("incidence",)))
    assert len(blocks) == 1 and list(blocks[0].bands) == list(POLARIMETRIC_LAYERS)
    bands = blocks[0].bands
    assert all(np.isfinite(b).all() for b in bands.values()) and np.isfinite(blocks[0].incidence_deg).all()
    exact = {name: np.array([[v]]) for name, v in zip(("c11", "c22"), SIGMA0.values(), strict=True)}
    truth = polarimetric_layers(Covariance(exact["c11"], exact["c22"], 0j * exact["c11"]), POLARIMETRIC_LAYERS)
    # 324 looks leave |C12| about 5 % of √(C11·C22), which lowers the entropy a little.
    for name, margin in {"entropy": 0.02, "dprvi": 0.03, "dop": 0.02, "anisotropy": 0.02, "alpha": 1.5}.items():
        assert float(np.median(bands[name])) == pytest.approx(float(truth[name][0, 0]), abs=margin), name
    assert bands["c11"].mean() == pytest.approx(SIGMA0["VV"], rel=0.03)


def test_flattening_takes_an_slc(morocco: SlcAssembly) -> None:
    model = _model(morocco.annotation)
    lattice, block = _area(model, _boundary(morocco), 2450)
    dem = open_dem("flat:0")
    plan = plan_scene(model, dem, lattice, block, flatten=True)

    class One:
        shape_yx = model.shape_yx

        def read(self, _first_line: int, _first_pixel: int, lines: int, pixels: int) -> np.ndarray:
            return np.ones((lines, pixels), np.float32)

    found = next(geocode_scene(model, morocco.sources | {"one": One()}, dem, plan, layers=("incidence",)))
    ratio = np.tan(np.radians(found.incidence_deg))
    assert np.abs(10 * np.log10(found.bands["one"] / ratio)).max() < 0.08
    assert abs(10 * np.log10(found.bands["one"].mean() / ratio.mean())) < 0.02
    # 13,000 looks: 0.04 dB.
    assert abs(10 * np.log10((found.bands["VV"] / found.bands["one"]).mean() / SIGMA0["VV"])) < 0.16


def _looks(power: np.ndarray) -> float:
    """Median of the looks of 10 × 10 windows."""
    tiles = power[: power.shape[0] // 10 * 10, :340].reshape(-1, 10, 34, 10).astype(np.float64)
    return float(np.median(tiles.mean((1, 3)) ** 2 / tiles.var((1, 3))))


def _real_channel(folder: Path, out: Path) -> S1Channel:
    """The real crop in a sparse image of full size; it has no calibration, so that its power is DN²."""
    root = ET.parse(next(folder.glob("*.xml"))).getroot()
    meta = open_s1_product(folder.parents[1] / MOROCCO).meta
    start, stop = (np.datetime64(root.findtext(f"adsHeader/{k}") or "", "ns") for k in ("startTime", "stopTime"))
    annotation = parse_annotation(root, "crop", replace(meta, product_id="crop", start=start, stop=stop), start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(next(folder.glob("*.tiff"))) as source:
            crop = source.read(1)
        height, width = annotation.image.shape_yx
        profile = {"driver": "GTiff", "count": 1, "dtype": "complex_int16", "tiled": True, "compress": "deflate"}
        path = out / "crop.tiff"
        with rasterio.open(path, "w", height=height, width=width, SPARSE_OK=True, **profile) as target:
            target.write(crop, 1, window=Window(10_999, 9_799, 1401, 601))
    ones = np.ones(2)
    vector = CalibrationVector(0.0, 0, np.array([0, width]), ones, ones, ones, ones)
    return S1Channel(annotation, CalibrationVectors(1.0, (vector,)), NoiseVectors((), ()), str(path))


def test_real_pixels_of_one_channel(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """The real IW3 VV crop, with its restituted orbit, over its burst boundary to the map."""
    folder = shared_data(REAL)
    channel = _real_channel(folder, tmp_path)
    annotation = channel.annotation
    source = slc_source([channel], denoise="off")
    plan = source.grid.plans[0]
    rows = np.flatnonzero((plan.source_line >= 9_799) & (plan.source_line < 10_400))
    power = source.read(int(rows[0]), 2750, len(rows), 350)
    with warnings.catch_warnings(), open_measurement(channel) as measurement:
        dn = measurement.read(9_799, 11_000, 601, 1400)
    single = np.abs(dn[plan.source_line[rows] - 9_799].astype(np.complex128)) ** 2
    np.testing.assert_allclose(power, single.reshape(len(rows), 350, 4).mean(2), rtol=1e-6)
    # Four samples of one look, of which neighbours are correlated.
    one, four = _looks(single[:, ::4]), _looks(power)
    assert 2.0 < four / one < 4.2

    image = source.grid.annotation.image
    vectors = find_orbit(
        folder, mission="S1A", start=annotation.meta.start, stop=annotation.meta.stop, epoch=annotation.epoch
    )
    model = radar_model(
        source.grid.annotation, interpolate_orbit(vectors, image.first_line_time_s, image.last_line_time_s)
    )
    lattice, block = _area(model, float(rows.mean()), 2925.0)
    dem = open_dem("flat:0")
    found = next(geocode_scene(model, {"VV": source}, dem, plan_scene(model, dem, lattice, block, flatten=True))).bands[
        "VV"
    ]
    assert np.isfinite(found).mean() > 0.9 and (found[np.isfinite(found)] >= 0).all()


def test_what_is_no_slc_is_refused(morocco: SlcAssembly, shared_data: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match="is a GRD, not an SLC"):
        open_slc(open_s1_product(shared_data(GRD)))
    single = replace(morocco, sources={"VV": morocco.sources["VV"]})
    with pytest.raises(InputError, match="needs a co-polar and a cross-polar one"):
        single.covariance()
    vv, vh = (morocco.sources[n].channels[0].annotation for n in ("VV", "VH"))
    with pytest.raises(InputError, match="cannot be merged"):
        slc_grid([vv, vh])
    with pytest.raises(UsageError, match="looks 0 × 4"):
        slc_grid([vv], (0, 4))
    with pytest.raises(InputError, match="no sub-swath"):
        slc_grid([])
    with pytest.raises(InputError, match="has no polarisation HH"):
        open_slc(open_s1_product(shared_data(MOROCCO)), ["HH"])
    with pytest.raises(UsageError, match="'coherence' is unknown"):
        next(polarimetric_scene(None, morocco.covariance(), None, None, products=("coherence",)))
    assert tuple(morocco.covariance()) == COVARIANCE_PARTS
