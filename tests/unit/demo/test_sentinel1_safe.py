"""Simulated products against the chain that reads them: what one computes forwards, the other finds backwards."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from affine import Affine

from landcover_cli.core.grid import geobox_from_bounds
from landcover_cli.demo.sentinel1_facets import cast_shadow
from landcover_cli.demo.sentinel1_geometry import Geometry, make_geometry
from landcover_cli.demo.sentinel1_ground import LocalOrbit, MapGrid, dem_heights
from landcover_cli.demo.sentinel1_safe import write_grd_safe
from landcover_cli.errors import UsageError
from landcover_cli.io.safe_s1 import S1Product, open_measurement, open_s1_product
from landcover_cli.sar.calibration import calibrate, prepare_radiometry
from landcover_cli.sar.flattening import flatten, gamma_area
from landcover_cli.sar.geocoding import RadarModel, geocode, locate, radar_model, seed_times
from landcover_cli.sar.ground import (
    Block,
    MapLattice,
    ellipsoid_surface,
    ground_nodes,
    ground_positions,
    lattice_of,
)
from landcover_cli.sar.orbit import interpolate_orbit
from landcover_cli.sar.resample import bilinear_yx
from landcover_cli.sar.visibility import LAYOVER, layover_shadow

ASCENDING, DESCENDING = 44, 95
LEFT, TOP = 345_600.0, 5_379_840.0
DAY = date(2021, 1, 16)
GRID = MapGrid(32633, LEFT, TOP, 160, 200)
MIDDLE = (LEFT + 1000.0, TOP - 800.0)


def flat(east: np.ndarray, north: np.ndarray) -> np.ndarray:
    return 430.0 + 0.0 * east * north


def hills(east: np.ndarray, north: np.ndarray) -> np.ndarray:
    """Slopes of up to 14° towards the east and the west."""
    return 500.0 + 40.0 * np.cos(2 * np.pi * (east - MIDDLE[0]) / 1000.0) + 0.0 * north


def ridge(east: np.ndarray, north: np.ndarray) -> np.ndarray:
    """A slope of 52° towards the west, steeper than the look direction, and one of 76° towards the east."""
    east = east - MIDDLE[0]
    return 500.0 + np.maximum(300.0 - np.where(east < 0, -1.28, 4.0) * east, 0.0) + 0.0 * north


def open_model(path: Path) -> tuple[S1Product, RadarModel]:
    product = open_s1_product(path)
    annotation = product.annotation("VV")
    first, last = annotation.image.first_line_time_s, annotation.image.last_line_time_s
    return product, radar_model(annotation, interpolate_orbit(annotation.orbit, first, last))


def brightness(product: S1Product, polarisation: str, backscatter: str = "beta0") -> np.ndarray:
    channel = product.channel(polarisation)
    with open_measurement(channel) as measurement:
        numbers = measurement.read(0, 0, *measurement.shape_yx)
    return calibrate(numbers, prepare_radiometry(channel, backscatter=backscatter), first_line=0, first_pixel=0)


def map_view(model: RadarModel, heights: Callable, resolution_m: float = 10.0, rim_m: float = 0.0) -> tuple:
    """Lattice, block, heights, nodes, seeds, coordinates and positions of the map, by the chain's own geometry."""
    left, bottom, right, top = GRID.bounds_m
    box = geobox_from_bounds((left - rim_m, bottom - rim_m, right + rim_m, top + rim_m), resolution_m, "EPSG:32633")
    lattice, block = lattice_of(box)
    east = lattice.x0 + lattice.dx * (block.col0 + np.arange(block.width) + 0.5)
    north = lattice.y0 + lattice.dy * (block.row0 + np.arange(block.height) + 0.5)
    height = np.ascontiguousarray(heights(*np.broadcast_arrays(east[None, :], north[:, None])))
    nodes = ground_nodes(lattice, block)
    seeds = seed_times(model, nodes)
    coordinates = geocode(model, nodes, seeds, block, height)
    return lattice, block, height, nodes, seeds, coordinates, ground_positions(nodes, block, height)


def constant(vv: float = 0.1, vh: float = 0.02) -> np.ndarray:
    return np.stack([np.full((GRID.rows, GRID.cols), value) for value in (vv, vh)])


@pytest.fixture(scope="module")
def flat_geometry() -> Geometry:
    return make_geometry(ASCENDING, GRID, flat)


@pytest.fixture(scope="module", params=[ASCENDING, DESCENDING])
def hilly(request: pytest.FixtureRequest) -> Geometry:
    return make_geometry(request.param, GRID, hills)


def test_the_product_opens_and_says_what_was_asked(flat_geometry: Geometry, tmp_path: Path) -> None:
    path = write_grd_safe(tmp_path, flat_geometry, constant(), when=DAY, seed=3)
    assert re.fullmatch(
        r"S1A_IW_GRDH_1SDV_20210116T1659\d\d_20210116T1659\d\d_036166_[0-9A-F]{6}_[0-9A-F]{4}\.SAFE", path.name
    )
    product = open_s1_product(path)
    meta = product.meta
    assert (meta.mission, meta.mode, meta.product_type, meta.resolution_class) == ("S1A", "IW", "GRD", "H")
    assert (meta.ipf_version, meta.relative_orbit, meta.absolute_orbit) == ((3, 40), ASCENDING, 36166)
    assert meta.pass_direction == "ASCENDING" and product.polarisations == ("VV", "VH")
    assert product.declared == product.channels
    lon, lat = np.array(meta.footprint_lonlat).T
    assert lon.min() < 12.91 < 12.93 < lon.max() and lat.min() < 48.54 < 48.55 < lat.max()
    assert flat_geometry.bounds_lonlat == pytest.approx((lon.min(), lat.min(), lon.max(), lat.max()), abs=1e-5)
    for polarisation in product.polarisations:
        channel = product.channel(polarisation)
        annotation = channel.annotation
        assert annotation.image.shape_yx == flat_geometry.shape_yx
        assert not annotation.thermal_noise_removed and len(annotation.orbit.time_s) >= 14
        assert np.allclose(np.diff(annotation.orbit.time_s), 10.0)
        assert [b.swath for b in annotation.swath_merge.bounds] == ["IW2"]
        assert len(annotation.srgr) >= 2 and all(len(r.srgr) == len(r.grsr) == 9 for r in annotation.srgr)
        assert len(channel.calibration.vectors) >= 2 and len(channel.noise.range_vectors) >= 2
        assert np.diff(channel.calibration.vectors[0].pixel)[0] == 40 and channel.noise.azimuth_blocks
        vector = channel.noise.range_vectors[0]
        nesz_db = 10 * np.log10(vector.lut / channel.calibration.vectors[0].sigma0 ** 2)
        assert nesz_db.min() > -30 and nesz_db.max() < -24
        assert annotation.image.incidence_mid_deg == pytest.approx(39.2, abs=0.3)
        with open_measurement(channel) as measurement:
            assert measurement.read(0, 0, *measurement.shape_yx).min() >= 1


def test_the_manifest_lists_every_file_with_its_sum(flat_geometry: Geometry, tmp_path: Path) -> None:
    path = write_grd_safe(tmp_path, flat_geometry, constant(), when=DAY, seed=3)
    listed = {}
    for stream in ET.parse(path / "manifest.safe").iter("byteStream"):
        location, checksum = stream.find("fileLocation"), stream.find("checksum")
        assert location is not None and checksum is not None
        listed[location.attrib["href"].removeprefix("./")] = (int(stream.attrib["size"]), checksum.text)
    found = {
        file.relative_to(path).as_posix(): (file.stat().st_size, hashlib.md5(file.read_bytes()).hexdigest())
        for file in path.rglob("*")
        if file.is_file() and file.name != "manifest.safe"
    }
    assert listed == found and len(found) == 8


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    grid = MapGrid(32633, LEFT, TOP, 24, 30)
    power = np.full((2, 24, 30), 0.1)

    def write(name: str, seed: int) -> Path:
        geometry = make_geometry(ASCENDING, grid, hills, margin_px=8)
        return write_grd_safe(tmp_path / name, geometry, power, when=DAY, seed=seed)

    one, same, other = write("a", 1), write("b", 1), write("c", 2)
    files = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert one.name == same.name and all((one / f).read_bytes() == (same / f).read_bytes() for f in files)
    assert one.name != other.name
    # Only pixels, and what sums them up, follow the seed.
    differ = {f.parts[0] for f in files if (one / f).read_bytes() != (other / f).read_bytes()}
    assert differ == {"measurement", "manifest.safe"}


def test_ground_control_points_are_the_geolocation_grid(flat_geometry: Geometry, tmp_path: Path) -> None:
    product = open_s1_product(write_grd_safe(tmp_path, flat_geometry, constant(), when=DAY, seed=3))
    ties = product.annotation("VH").geolocation
    with rasterio.open(product.channel("VH").measurement) as image:
        points, crs = image.gcps
    assert crs.to_epsg() == 4326
    np.testing.assert_allclose([p.row for p in points], ties.line)
    np.testing.assert_allclose(
        [(p.x, p.y, p.z) for p in points], np.stack([ties.lon_deg, ties.lat_deg, ties.height_m], 1)
    )
    np.testing.assert_allclose(ties.height_m, 430.0, atol=0.01)


def test_backward_geocoding_finds_the_forward_positions(hilly: Geometry, tmp_path: Path) -> None:
    """Line and pixel of every map pixel: 0.02 is demanded of real products; what is simulated agrees to 1e-5."""
    _, model = open_model(write_grd_safe(tmp_path, hilly, constant(), when=DAY, seed=3))
    lattice, block, height, _nodes, _seeds, found, _ = map_view(model, hills)
    east = lattice.x0 + lattice.dx * (block.col0 + np.arange(block.width) + 0.5)
    north = lattice.y0 + lattice.dy * (block.row0 + np.arange(block.height) + 0.5)
    line, pixel = hilly.where(*np.broadcast_arrays(east[None, :], north[:, None]), height)
    assert np.abs(found.line - line).max() < 2e-4
    assert np.abs(found.pixel - pixel).max() < 2e-4
    lines, pixels = hilly.shape_yx
    assert line.min() > 20 and line.max() < lines - 20 and pixel.min() > 20 and pixel.max() < pixels - 20


def test_the_geolocation_grid_lies_on_the_terrain(hilly: Geometry, tmp_path: Path) -> None:
    product, model = open_model(write_grd_safe(tmp_path, hilly, constant(), when=DAY, seed=3))
    ties = product.annotation("VV").geolocation
    surface, up = ellipsoid_surface(ties.lon_deg, ties.lat_deg)
    back = locate(model, surface + ties.height_m[:, None] * up)
    assert np.abs(back.line - ties.line).max() < 1e-4 and np.abs(back.pixel - ties.pixel).max() < 1e-4
    assert np.abs(back.time_s - ties.azimuth_time_s).max() < 1e-6
    assert np.abs(2 * back.slant_m / 299_792_458.0 - ties.slant_range_time_s).max() < 1e-12
    assert ties.height_m.min() > 459 and ties.height_m.max() < 541


@pytest.mark.parametrize(("kind", "table"), [("gamma0", "gamma0"), ("sigma0", "sigma0")])
def test_flat_ground_comes_back(flat_geometry: Geometry, tmp_path: Path, kind: str, table: str) -> None:
    """Denoised and calibrated by the product's own tables, the mean over flat ground is what was put there."""
    path = write_grd_safe(tmp_path, flat_geometry, constant(0.1, 0.004), when=DAY, seed=5, kind=kind)
    product = open_s1_product(path)
    for polarisation, truth in (("VV", 0.1), ("VH", 0.004)):
        found = brightness(product, polarisation, table)
        # 4.4 looks, correlated over some two pixels: the mean of 40,000 pixels is known to 0.02 dB.
        assert 10 * np.log10(found.mean() / truth) == pytest.approx(0.0, abs=0.1)


def test_without_speckle_only_rounding_is_left(flat_geometry: Geometry, tmp_path: Path) -> None:
    path = write_grd_safe(tmp_path, flat_geometry, constant(0.1, 0.02), when=DAY, seed=5, speckled=False)
    found = brightness(open_s1_product(path), "VV", "gamma0")
    assert 10 * np.log10(found.mean() / 0.1) == pytest.approx(0.0, abs=0.005)
    # Half a digital number of 170 is 0.05 dB.
    assert np.abs(10 * np.log10(found / 0.1)).max() < 0.12


def test_speckle_has_the_looks_of_a_grd(flat_geometry: Geometry, tmp_path: Path) -> None:
    product = open_s1_product(write_grd_safe(tmp_path, flat_geometry, constant(0.3, 0.3), when=DAY, seed=5))
    vv, vh = (brightness(product, p) for p in ("VV", "VH"))
    for found in (vv, vh):
        assert found.mean() ** 2 / found.var() == pytest.approx(4.4, rel=0.06)
    assert abs(np.corrcoef(vv.ravel(), vh.ravel())[0, 1]) < 0.02
    assert np.corrcoef(vv[1:].ravel(), vv[:-1].ravel())[0, 1] > 0.2


def test_terrain_flattening_makes_the_slopes_equal(hilly: Geometry, tmp_path: Path) -> None:
    path = write_grd_safe(tmp_path, hilly, constant(0.1, 0.02), when=DAY, seed=5, speckled=False)
    product, model = open_model(path)
    beta0 = brightness(product, "VV")
    lines, pixels = beta0.shape
    _, _, _, _, _, wide, position = map_view(model, hills, rim_m=400.0)
    patch = gamma_area(model, position, wide, window=(0, lines, 0, pixels))
    area = np.zeros((lines, pixels))
    area[patch.line0 : patch.line0 + patch.area_m2.shape[0], patch.pixel0 : patch.pixel0 + patch.area_m2.shape[1]] = (
        patch.area_m2
    )
    gamma0 = flatten(beta0, model, area, 0, 0)
    lattice, block, _, _, _, coordinates, _ = map_view(model, hills)
    east = lattice.x0 + lattice.dx * (block.col0 + np.arange(block.width) + 0.5)
    slope = np.broadcast_to((hills(east + 1, TOP) - hills(east - 1, TOP)) / 2, coordinates.line.shape)
    inside = (slice(10, -10), slice(10, -10))
    values = bilinear_yx(gamma0, (0, 0), coordinates.line, coordinates.pixel)[inside]
    raw = bilinear_yx(beta0, (0, 0), coordinates.line, coordinates.pixel)[inside]
    assert np.isfinite(values).all()
    # Looking east (ascending), ground that rises eastwards faces the radar.
    facing = slope[inside] * (1 if hilly.direction == "ASCENDING" else -1)
    fore, back = facing > 0.15, facing < -0.15
    assert 10 * np.log10(raw[fore].mean() / raw[back].mean()) > 3
    assert abs(10 * np.log10(values[fore].mean() / values[back].mean())) <= 0.3
    assert 10 * np.log10(values.mean() / 0.1) == pytest.approx(0.0, abs=0.05)
    # The mean of the denoised VH, at −17 dB: the noise of −26 dB would add half a dB.
    vh = flatten(brightness(product, "VH"), model, area, 0, 0)
    assert 10 * np.log10(bilinear_yx(vh, (0, 0), coordinates.line, coordinates.pixel)[inside].mean() / 0.02) == (
        pytest.approx(0.0, abs=0.05)
    )


def test_steep_terrain_lays_over(tmp_path: Path) -> None:
    """Where the chain finds layover the simulated image is bright; where it finds shadow there is noise alone."""
    geometry = make_geometry(ASCENDING, GRID, ridge)
    path = write_grd_safe(tmp_path, geometry, constant(0.1, 0.02), when=DAY, seed=5, speckled=False)
    product, model = open_model(path)
    lattice, block, _, _, _, coordinates, _ = map_view(model, ridge)

    def heights(_lattice: MapLattice, part: Block) -> np.ndarray:
        east = lattice.x0 + lattice.dx * (part.col0 + np.arange(part.width) + 0.5)
        return np.ascontiguousarray(np.broadcast_to(ridge(east[None, :], np.zeros((part.height, 1))), part.shape_yx))

    code = layover_shadow(model, lattice, block, heights, (500.0, 800.0))
    layover = (code & LAYOVER) > 0
    assert 0.1 < layover.mean() < 0.7
    beta0 = brightness(product, "VV")
    seen = bilinear_yx(beta0, (0, 0), coordinates.line, coordinates.pixel)
    flat_beta0 = 0.1 / np.tan(np.radians(geometry.incidence_deg[geometry.shape_yx[1] // 2]))
    east = lattice.x0 + lattice.dx * (block.col0 + np.arange(block.width) + 0.5)
    far = np.broadcast_to(np.abs(east - MIDDLE[0]) > 700, code.shape)
    assert np.nanmean(seen[far & ~layover]) == pytest.approx(flat_beta0, rel=0.02)
    # A slope of 52° at 39° is seen from 12° beyond its normal: cot 12° = 4.7 for it, and the flat ground under it.
    assert np.nanmax(seen[layover]) == pytest.approx(0.1 * 4.7 + flat_beta0, rel=0.1)
    shadow = code == 2
    assert shadow.sum() > 200
    # Bilinear sampling and half-hidden facets blur the border of the shadow by a pixel or two.
    assert np.nanmedian(seen[shadow]) < 0.05 * flat_beta0


def test_shadows_fall_away_from_the_radar() -> None:
    geometry = make_geometry(ASCENDING, MapGrid(32633, LEFT, TOP, 40, 40), flat, margin_px=4)
    local = LocalOrbit(geometry.track, geometry.first_line_s, 3.0)
    east = LEFT + np.arange(-200.0, 1800.0, 5.0)
    north = TOP - np.arange(-100.0, 500.0, 5.0)

    def wall(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 430.0 + 100.0 * (np.abs(x - LEFT - 500.0) < 12.0) + 0.0 * y

    hidden = cast_shadow(geometry.grid, wall, local, (east, north))[len(north) // 2]
    where = 0.5 * (east[1:] + east[:-1])[hidden] - LEFT - 507.5
    # The satellite stands west-south-west, at 39° from the vertical: a wall of 100 m shades 81 m along the look
    # direction, which is 12° off east; its last full-height facet has its middle at 507.5 m.
    reach = 100 * np.tan(np.radians(39.2)) * np.cos(np.radians(12))
    assert where.min() > 0 and where.max() == pytest.approx(reach, abs=7)
    assert not cast_shadow(geometry.grid, hills, local, (east, north)).any()


def test_energy_is_kept(hilly: Geometry) -> None:
    """The area that a map pixel deposits in the middle of the image is its own, seen from the satellite."""
    deposited = np.asarray(hilly.area_m2.sum(axis=0)).reshape(GRID.rows, GRID.cols)[20:-20, 20:-20]
    # Horizontal area × (cos θ + slope towards the radar × sin θ), whichever pixels it falls into.
    incidence = np.radians(39.5)
    assert deposited.mean() == pytest.approx(100 * np.cos(incidence), rel=0.02)
    assert deposited.max() / deposited.min() > 1.4


def test_heights_of_a_raster() -> None:
    values = np.arange(12.0).reshape(3, 4)
    heights = dem_heights(values, Affine(10, 0, LEFT, 0, -10, TOP), "EPSG:32633", 32633)
    east, north = LEFT + np.array([5.0, 15.0, 10.0, -100.0]), TOP - np.array([5.0, 15.0, 5.0, 5.0])
    np.testing.assert_allclose(heights(east, north), [0.0, 5.0, 0.5, 0.0])


def test_what_does_not_fit_is_refused(flat_geometry: Geometry, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not pass"):
        make_geometry(1, GRID, flat)
    with pytest.raises(UsageError, match="47"):
        make_geometry(117, GRID, flat)
    with pytest.raises(UsageError, match=r"facets of 3\.0 m"):
        make_geometry(ASCENDING, GRID, flat, facet_m=3.0)
    with pytest.raises(UsageError, match=r"shape \(1, 160, 200\)"):
        write_grd_safe(tmp_path, flat_geometry, constant()[:1], when=DAY, seed=1)
    with pytest.raises(UsageError, match="negative"):
        write_grd_safe(tmp_path, flat_geometry, -constant(), when=DAY, seed=1)
    with pytest.raises(UsageError, match="beta0"):
        write_grd_safe(tmp_path, flat_geometry, constant(), when=DAY, seed=1, kind="beta0")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
