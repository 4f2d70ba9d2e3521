"""Range-Doppler geocoding against the geolocation grids of real products, and against itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import pytest

from landcover_cli.core.grid import geobox_from_bounds, utm_epsg
from landcover_cli.errors import InputError
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.sar.geocoding import (
    RadarModel,
    burst_of,
    geocode,
    locate,
    radar_model,
    satellite_position,
    seed_times,
)
from landcover_cli.sar.ground import ellipsoid_surface, ground_nodes, interpolate_nodes, lattice_of
from landcover_cli.sar.orbit import OrbitInterpolator, interpolate_orbit
from landcover_cli.sar.rowkernels import ORBIT_STEP_S
from landcover_cli.sar.types import SPEED_OF_LIGHT_MS, S1Annotation

ROME = "s1/sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"
MOROCCO = "s1/eo_tools_morocco/SAFE/S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1.SAFE"
PYROSAR = "s1/pyrosar_grd_meta/S1A_IW_GRDH_1SDV_"

# (product, azimuth tolerance in metres); the sources of the tolerances are the orbits: 0.05 m with auxiliary ones,
# 0.4 m with downlinked ones, and constant offsets of older processors (0.6 m at IPF 2.70, 3.1 m at IPF 2.36).
GRD = [
    (ROME, 0.05),
    ("s1/xarray_sentinel/S1B_IW_GRDH_1SDV_20210401T052623_20210401T052648_026269_032297_ECC8.SAFE", 0.4),
    (PYROSAR + "20210119T031653_20210119T031718_036201_043ED0_8255.zip", 0.05),
    (PYROSAR + "20150203T043109_20150203T043134_004454_00574F_6D00.zip", 0.6),
    (PYROSAR + "20150203T043109_20150203T043134_004454_00574F_FEC3.zip", 3.1),
    (PYROSAR + "20150222T170725_20150222T170750_004739_005DD8_CEAB.zip", 3.1),
    (PYROSAR + "20150222T170750_20150222T170815_004739_005DD8_3768.zip", 3.1),
]
SLC = [
    (MOROCCO, "IW1", "VV", 0.05),
    ("s1/sarsen_rome/S1A_IW_SLC__1SDV_20220104T170557_20220104T170624_041314_04E951_F1F1.SAFE", "IW1", "VV", 0.05),
    ("s1/xarray_sentinel/S1B_IW_SLC__1SDV_20210401T052622_20210401T052650_026269_032297_EFA4.zip", "IW2", "VH", 0.4),
]


def _load(path: Path, polarisation: str = "VV", swath: str | None = None) -> tuple[S1Annotation, OrbitInterpolator]:
    annotation = open_s1_product(path).annotation(polarisation, swath)
    times = annotation.geolocation.azimuth_time_s
    return annotation, interpolate_orbit(annotation.orbit, float(times.min()), float(times.max()))


def _tie_points(annotation: S1Annotation) -> np.ndarray:
    grid = annotation.geolocation
    surface, normal = ellipsoid_surface(grid.lon_deg, grid.lat_deg)
    return surface + grid.height_m[:, None] * normal


@pytest.fixture(scope="module")
def rome(shared_data) -> tuple[S1Annotation, RadarModel]:
    annotation, orbit = _load(shared_data(ROME))
    return annotation, radar_model(annotation, orbit)


@pytest.mark.parametrize(("name", "azimuth_m"), GRD)
def test_geolocation_grid_of_a_grd(shared_data, name: str, azimuth_m: float) -> None:
    annotation, orbit = _load(shared_data(name))
    image, grid = annotation.image, annotation.geolocation
    found = locate(radar_model(annotation, orbit, srgr="nearest"), _tie_points(annotation))
    speed = image.azimuth_spacing_m / image.azimuth_time_interval_s
    azimuth = (found.time_s - grid.azimuth_time_s) * speed
    assert np.abs(azimuth).max() <= azimuth_m
    if annotation.meta.ipf_version == (2, 36):
        assert azimuth.std() <= 0.01  # the offset of that processor is one constant
    assert np.abs(found.slant_m - grid.slant_range_time_s * SPEED_OF_LIGHT_MS / 2).max() <= 0.005
    pixel = np.abs(found.pixel - grid.pixel)
    # At IPF 2.36 the last line lies after the last conversion: the processor had one more.
    known = grid.azimuth_time_s <= annotation.srgr[-1].azimuth_time_s
    assert pixel[known].max() <= 0.02
    assert pixel.max() <= (0.02 if annotation.meta.ipf_version >= (2, 70) else 2.5)
    # The grid's lines are rounded times: half a line is all they tell.
    assert np.abs(found.line - grid.line).max() <= 0.5


@pytest.mark.parametrize(("name", "swath", "polarisation", "azimuth_m"), SLC)
def test_geolocation_grid_of_an_slc(shared_data, name: str, swath: str, polarisation: str, azimuth_m: float) -> None:
    annotation, orbit = _load(shared_data(name), polarisation, swath)
    image, grid = annotation.image, annotation.geolocation
    found = locate(radar_model(annotation, orbit), _tie_points(annotation))
    speed = image.azimuth_spacing_m / image.azimuth_time_interval_s
    assert np.abs((found.time_s - grid.azimuth_time_s) * speed).max() <= azimuth_m
    assert np.abs(found.slant_m - grid.slant_range_time_s * SPEED_OF_LIGHT_MS / 2).max() <= 0.005
    assert np.abs(found.pixel - grid.pixel).max() <= 0.02


def test_linear_conversion_lies_between_the_neighbours(rome) -> None:
    annotation, model = rome
    first, second = annotation.srgr[3], annotation.srgr[4]
    time = 0.25 * first.azimuth_time_s + 0.75 * second.azimuth_time_s
    line = (time - model.first_line_time_s) / model.line_interval_s
    pixel = np.array([10.0, 12_000.0, 26_000.0])
    ground = pixel * model.pixel_spacing_m
    each = [np.polynomial.polynomial.polyval(ground - r.gr0_m, r.grsr) for r in (first, second)]
    got = model.slant_range_m(np.full(3, line), pixel)
    np.testing.assert_allclose(got, 0.25 * each[0] + 0.75 * each[1], atol=1e-6)


def test_slant_spacing_is_the_slope_of_the_range(rome) -> None:
    _, model = rome
    line, pixel = np.meshgrid(np.linspace(0, 16_704, 7), np.linspace(1, 26_100, 9), indexing="ij")
    numeric = (model.slant_range_m(line, pixel + 0.5) - model.slant_range_m(line, pixel - 0.5)) / 1.0
    np.testing.assert_allclose(model.slant_spacing_m(line, pixel), numeric, rtol=1e-6)
    # Ground spacing × sine of the incidence angle: 31° to 46° over the swath.
    assert 4.5 < model.slant_spacing_m(0, 0) < 5.5 and 6.8 < model.slant_spacing_m(0, 26_000) < 7.4


def test_pixel_inverts_slant_range(shared_data) -> None:
    for name in (GRD[0][0], GRD[4][0]):
        annotation, orbit = _load(shared_data(name))
        model = radar_model(annotation, orbit)
        found = locate(model, _tie_points(annotation))
        # srgr is a fit of the inverse of grsr; where the fit is poor (IPF 2.36), grsr itself is inverted.
        tolerance = 1e-6 if model.invert_grsr else 0.08
        assert np.abs(model.slant_range_m(found.line, found.pixel) - found.slant_m).max() < tolerance


def test_zero_doppler_is_met_after_two_steps(rome) -> None:
    annotation, model = rome
    orbit = _load_orbit(annotation)
    position = _tie_points(annotation)
    # A seed 10 ms off is more than any height or node spacing causes.
    found = locate(model, position, annotation.geolocation.azimuth_time_s + 0.01)
    satellite, velocity, acceleration = orbit.state(found.time_s)
    look = position - satellite
    residual = (look * velocity).sum(-1) / ((velocity**2).sum(-1) - (look * acceleration).sum(-1))
    assert np.abs(residual).max() < 1e-10


def _load_orbit(annotation: S1Annotation) -> OrbitInterpolator:
    times = annotation.geolocation.azimuth_time_s
    return interpolate_orbit(annotation.orbit, float(times.min()), float(times.max()))


def test_orbit_pieces_follow_the_interpolator(rome) -> None:
    annotation, model = rome
    time = np.linspace(model.first_line_time_s - 2.9, model.first_line_time_s + 27.0, 1001)
    exact = _load_orbit(annotation).state(time)[0]
    assert np.abs(satellite_position(model, time) - exact).max() < 1e-6


def test_blocks_give_the_same_bits_and_match_exact_projection(rome) -> None:
    annotation, model = rome
    grid = annotation.geolocation
    k = 100
    epsg = utm_epsg(float(grid.lon_deg[k]), float(grid.lat_deg[k]))
    lattice, block = lattice_of(geobox_from_bounds((290_000, 4_640_000, 292_000, 4_641_500), 10, f"EPSG:{epsg}"))
    rng = np.random.default_rng(3)
    height = rng.uniform(0, 1500, block.shape_yx)
    nodes = ground_nodes(lattice, block)
    whole = geocode(model, nodes, seed_times(model, nodes), block, height)
    for size in (1, 33, 128):
        for part in list(block.cut(size))[:40]:
            r, c = part.row0 - block.row0, part.col0 - block.col0
            here = (slice(r, r + part.height), slice(c, c + part.width))
            own = ground_nodes(lattice, part)
            got = geocode(model, own, seed_times(model, own), part, height[here])
            for name in ("line", "pixel", "time_s", "slant_m"):
                assert np.array_equal(getattr(got, name), getattr(whole, name)[here])
    surface = interpolate_nodes(nodes.surface_m, nodes.frame, block)
    up = interpolate_nodes(nodes.normal, nodes.frame, block)
    exact = locate(model, (surface + height[..., None] * up).reshape(-1, 3))
    assert np.abs(exact.line - whole.line.ravel()).max() < 1e-6
    assert np.abs(exact.pixel - whole.pixel.ravel()).max() < 1e-5


@pytest.mark.parametrize("name", [ROME, GRD[5][0], MOROCCO])
@pytest.mark.parametrize("gsd_m", [10, 400])
def test_long_rows_give_the_same_bits_however_they_are_cut(shared_data, name: str, gsd_m: int) -> None:
    """Rows that reach over several pieces of the orbit, pairs of conversions and chunks of the kernel."""
    annotation, orbit = _load(shared_data(name), "VV", "IW1" if name == MOROCCO else None)
    model, grid = radar_model(annotation, orbit), annotation.geolocation
    assert model.invert_grsr == (name == GRD[5][0])
    k = len(grid.lon_deg) // 2
    epsg = utm_epsg(float(grid.lon_deg[k]), float(grid.lat_deg[k]))
    x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(grid.lon_deg[k], grid.lat_deg[k])
    width, height = 1100 if gsd_m == 10 else 700, 40
    left, top = round(x / gsd_m) * gsd_m - width // 2 * gsd_m, round(y / gsd_m) * gsd_m
    lattice, block = lattice_of(
        geobox_from_bounds((left, top - height * gsd_m, left + width * gsd_m, top), gsd_m, f"EPSG:{epsg}")
    )
    assert block.shape_yx == (height, width)
    rng = np.random.default_rng(4)
    height_m = rng.uniform(-100, 3000, block.shape_yx)
    height_m[rng.uniform(size=block.shape_yx) < 0.02] = np.nan
    nodes = ground_nodes(lattice, block)
    whole = geocode(model, nodes, seed_times(model, nodes), block, height_m)
    seen = np.isfinite(whole.time_s)
    assert np.isnan(whole.time_s[np.isnan(height_m)]).all()
    pieces = np.unique(np.floor((whole.time_s[seen] - model.orbit_start_s) / ORBIT_STEP_S))
    assert len(pieces) >= (1 if gsd_m == 10 else 10)
    for size in (7, 64, 600):
        for part in list(block.cut(size))[::3]:
            r, c = part.row0 - block.row0, part.col0 - block.col0
            here = (slice(r, r + part.height), slice(c, c + part.width))
            own = ground_nodes(lattice, part)
            got = geocode(model, own, seed_times(model, own), part, height_m[here])
            for field in ("line", "pixel", "time_s", "slant_m"):
                assert np.array_equal(getattr(got, field), getattr(whole, field)[here], equal_nan=True)
    place = interpolate_nodes(nodes.surface_m, nodes.frame, block)
    place += height_m[..., None] * interpolate_nodes(nodes.normal, nodes.frame, block)
    exact = locate(model, place[seen])
    # A seed keeps its piece of the orbit: where state vectors do not fit together (IPF 2.36), pieces differ by 0.1 mm
    # some milliseconds beyond their ends.
    assert np.abs(exact.time_s - whole.time_s[seen]).max() < (1e-7 if model.invert_grsr else 1e-10)
    assert np.abs(exact.slant_m - whole.slant_m[seen]).max() < (1e-3 if model.invert_grsr else 1e-6)
    near = np.abs(whole.pixel[seen]) < 50_000  # far off the swath the range polynomials run wild
    np.testing.assert_allclose(whole.pixel[seen][near], exact.pixel[near], rtol=0, atol=1e-5)


def test_unknown_heights_and_the_other_side_of_the_track_are_nowhere(rome) -> None:
    annotation, model = rome
    found = locate(model, _tie_points(annotation))
    satellite = satellite_position(model, found.time_s)
    # Mirror the place at the orbit plane: same range, same time, on the left.
    speed = satellite_position(model, found.time_s + 0.01) - satellite
    side = np.cross(speed, satellite)
    side /= np.linalg.norm(side, axis=1)[:, None]
    look = _tie_points(annotation) - satellite
    mirrored = satellite + look - 2 * (look * side).sum(1)[:, None] * side
    assert np.isnan(locate(model, mirrored).line).all()
    lattice, block = lattice_of(geobox_from_bounds((290_000, 4_640_000, 290_100, 4_640_100), 10, "EPSG:32633"))
    nodes = ground_nodes(lattice, block)
    height = np.zeros(block.shape_yx)
    height[3, 4] = np.nan
    got = geocode(model, nodes, seed_times(model, nodes), block, height)
    assert np.isnan(got.line[3, 4]) and np.isfinite(got.line).sum() == 99


def test_far_along_the_track_is_nowhere(rome) -> None:
    _, model = rome
    surface, _ = ellipsoid_surface(np.array([12.0, 12.0]), np.array([60.0, 20.0]))
    assert np.isnan(locate(model, surface).line).all()


def test_bursts_are_cut_in_the_middle_of_their_overlap(shared_data) -> None:
    annotation, _ = _load(shared_data(MOROCCO), "VV", "IW1")
    timing, step = annotation.swath_timing, annotation.image.azimuth_time_interval_s
    times = np.arange(timing.bursts[0].azimuth_time_s, timing.bursts[-1].azimuth_time_s + 3.0, 0.001)
    index, line = burst_of(annotation, times)
    inside = index >= 0
    assert (np.diff(index[inside]) >= 0).all() and set(index[inside]) == set(range(len(timing.bursts)))
    for k, burst in enumerate(timing.bursts):
        valid = np.flatnonzero(burst.first_valid_sample >= 0)
        within = line[index == k] - burst.first_line
        assert within.min() >= valid[0] - 0.5 and within.max() <= valid[-1] + 0.5
        expected = (times[index == k] - burst.azimuth_time_s) / step
        np.testing.assert_allclose(within, expected, atol=1e-6)
    # On both sides of a cut the same distance to the ends of the valid lines remains.
    cut = times[inside][np.flatnonzero(np.diff(index[inside]))[0]]
    first, second = timing.bursts[0], timing.bursts[1]
    tail = np.flatnonzero(first.first_valid_sample >= 0)[-1] - (cut - first.azimuth_time_s) / step
    head = (cut - second.azimuth_time_s) / step - np.flatnonzero(second.first_valid_sample >= 0)[0]
    assert abs(tail - head) <= 2


def test_orbit_of_another_epoch_is_refused(rome) -> None:
    annotation, _ = rome
    orbit = _load_orbit(annotation)
    other = OrbitInterpolator(
        orbit.epoch + np.timedelta64(1, "s"),
        orbit.breaks_s,
        orbit.center_s,
        orbit.scale_s,
        orbit.coefficients_m,
        "other",
    )
    with pytest.raises(InputError, match="other"):
        radar_model(annotation, other)
