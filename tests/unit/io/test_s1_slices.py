"""Consecutive slices of one pass: the joint cannot be seen, and away from it each pixel is the slice's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pytest

from landcover_cli.core.grid import geobox_from_bounds
from landcover_cli.demo.sentinel1_annotated import simulate_under_annotation
from landcover_cli.errors import InputError
from landcover_cli.io.dem import open_dem
from landcover_cli.io.s1_plan import plan_scene
from landcover_cli.io.s1_scene import geocode_scene
from landcover_cli.io.s1_slices import SliceAssembly, assemble_slices
from landcover_cli.io.s1_source import SliceStack, grd_sources
from landcover_cli.io.safe_s1 import S1Product, open_s1_product
from landcover_cli.sar.geocoding import RadarModel, geocode, ground_position, radar_model, seed_times
from landcover_cli.sar.ground import Block, MapLattice, ground_nodes, lattice_of
from landcover_cli.sar.orbit import interpolate_orbit
from landcover_cli.sar.slices import assemble_annotations
from landcover_cli.sar.srgr import slant_range_m, slant_to_ground, srgr_table
from landcover_cli.sar.types import S1Annotation

PYROSAR = "s1/pyrosar_grd_meta/S1A_IW_GRDH_1SDV_"
FIRST = f"{PYROSAR}20150222T170725_20150222T170750_004739_005DD8_CEAB.zip"
SECOND = f"{PYROSAR}20150222T170750_20150222T170815_004739_005DD8_3768.zip"
OTHER = f"{PYROSAR}20150203T043109_20150203T043134_004454_00574F_FEC3.zip"
JOINT = 16_685
PIXEL = 12_000
SIGMA0_DB = {"VV": -8.0, "VH": -15.0}
FLAT = open_dem("flat:120")


def _model(annotation: S1Annotation) -> RadarModel:
    image = annotation.image
    orbit = interpolate_orbit(annotation.orbit, image.first_line_time_s, image.last_line_time_s)
    return radar_model(annotation, orbit)


def _area(model: RadarModel, line: float, size_m: int = 1500) -> tuple[MapLattice, Block]:
    """A square of the map in whose middle the whole shows one line."""
    x, y, z = ground_position(model, np.array([line]), np.array([float(PIXEL)]), 120.0)[0]
    lon = np.degrees(np.arctan2(y, x))
    lat = np.degrees(np.arctan2(z, np.hypot(x, y) * (1 - 6.694379990141316e-3)))
    zone = 32600 + int((lon + 180) // 6) + 1
    east, north = pyproj.Transformer.from_crs(4326, zone, always_xy=True).transform(lon, lat)
    left, bottom = round(east, -1) - size_m // 2, round(north, -1) - size_m // 2
    return lattice_of(geobox_from_bounds((left, bottom, left + size_m, bottom + size_m), 10, f"EPSG:{zone}"))


def _map(model: RadarModel, sources: dict, lattice: MapLattice, block: Block, flatten: bool = False) -> np.ndarray:
    plan = plan_scene(model, FLAT, lattice, block, flatten=flatten)
    out = np.full((len(sources), *block.shape_yx), np.nan, np.float32)
    for part in geocode_scene(model, sources, FLAT, plan):
        r, c = part.block.row0 - block.row0, part.block.col0 - block.col0
        for k, name in enumerate(sources):
            out[k, r : r + part.block.height, c : c + part.block.width] = part.bands[name]
    return out


def _lines(model: RadarModel, lattice: MapLattice, block: Block) -> tuple[np.ndarray, np.ndarray]:
    nodes = ground_nodes(lattice, block)
    place = geocode(model, nodes, seed_times(model, nodes), block, np.full(block.shape_yx, 120.0))
    return place.line, place.pixel


@pytest.fixture(scope="module")
def products(shared_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> list[S1Product]:
    """Both slices with speckle of one backscatter, 500 lines around the joint and 300 far from it."""
    folder = tmp_path_factory.mktemp("slices")
    windows = {FIRST: (JOINT - 400, PIXEL - 400, 400, 800), SECOND: (0, PIXEL - 400, 400, 800)}
    return [
        open_s1_product(simulate_under_annotation(shared_data(k), folder, sigma0_db=SIGMA0_DB, seed=4, window=w))
        for k, w in windows.items()
    ]


@pytest.fixture(scope="module")
def assembly(products: list[S1Product]) -> SliceAssembly:
    # Given in the wrong order: the acquisition tells which comes first.
    return assemble_slices(products[::-1], backscatter="sigma0")


def test_the_whole_is_described(assembly: SliceAssembly, products: list[S1Product]) -> None:
    whole = assembly.annotation
    assert assembly.first_lines == (0, JOINT) and whole.image.shape_yx == (2 * JOINT, 25_368)
    assert assembly.product_ids == tuple(p.meta.product_id for p in products)
    assert (whole.meta.start, whole.meta.stop) == (products[0].meta.start, products[1].meta.stop)
    times = [r.azimuth_time_s for r in whole.srgr]
    assert len(times) == 51 and np.diff(times) == pytest.approx(1.0)
    assert len(whole.orbit.time_s) == 53 and np.diff(whole.orbit.time_s) == pytest.approx(1.0)
    assert whole.geolocation.line.max() == 2 * JOINT - 1
    lons, lats = (np.array([c[k] for c in whole.meta.footprint_lonlat]) for k in (0, 1))
    singles = [c for p in products for c in p.meta.footprint_lonlat]
    assert lats.min() == min(c[1] for c in singles) and lats.max() == max(c[1] for c in singles)
    assert lons.min() == min(c[0] for c in singles) and lons.max() == max(c[0] for c in singles)
    assert {s.radiometry.noise_state for s in assembly.slices["VV"]} == {"no estimate in the product"}


def test_no_seam_at_the_joint(assembly: SliceAssembly) -> None:
    model = _model(assembly.annotation)
    lattice, block = _area(model, JOINT)
    line, _ = _lines(model, lattice, block)
    assert line.min() < JOINT - 40 and line.max() > JOINT + 40
    # Lines run on: no step, no fold. A step of the orbit alone (1.3 m) would be 0.13 lines.
    bend = np.abs(np.diff(line, n=2, axis=0))
    assert bend.max() < 1e-4
    for flatten in (False, True):
        bands = _map(model, dict(assembly.sources), lattice, block, flatten)
        assert np.isfinite(bands).all()
        for band in bands:
            rows = 10 * np.log10([band[np.abs(line - JOINT - k) < 20].mean() for k in (-40, 0, 40)])
            assert np.ptp(rows) < 0.1


def test_joint_lines_are_the_slices_own(assembly: SliceAssembly, products: list[S1Product]) -> None:
    whole = assembly.sources["VH"].read(JOINT - 3, PIXEL, 6, 50)
    alone = [grd_sources([p.channel("VV"), p.channel("VH")], backscatter="sigma0")["VH"] for p in products]
    assert np.array_equal(whole[:3], assembly.slices["VH"][0].read(JOINT - 3, PIXEL, 3, 50))
    assert np.array_equal(whole[3:], assembly.slices["VH"][1].read(0, PIXEL, 3, 50))
    assert alone[0].shape_yx == (JOINT, 25_357)


@pytest.mark.parametrize(("index", "line"), [(0, 9000), (1, JOINT + 6000)])
def test_away_from_the_joint_the_slice_alone_says_the_same(
    assembly: SliceAssembly, products: list[S1Product], index: int, line: int
) -> None:
    whole, alone = _model(assembly.annotation), _model(products[index].annotation("VV"))
    lattice, block = _area(whole, line, 600)
    (line_w, pixel_w), (line_a, pixel_a) = _lines(whole, lattice, block), _lines(alone, lattice, block)
    assert np.abs(line_w - assembly.first_lines[index] - line_a).max() < 1e-3
    assert np.abs(pixel_w - pixel_a).max() < 1e-6


def test_near_the_joint_both_orbits_share_the_difference(assembly: SliceAssembly, products: list[S1Product]) -> None:
    whole = _model(assembly.annotation)
    lattice, block = _area(whole, JOINT, 600)
    line_w, pixel_w = _lines(whole, lattice, block)
    for index, product in enumerate(products):
        line_a, pixel_a = _lines(_model(product.annotation("VV")), lattice, block)
        assert np.abs(line_w - assembly.first_lines[index] - line_a).max() < 0.1
        after = line_w > JOINT + 1
        # Before the joint the first slice alone lacks the conversion that follows its last one.
        assert index == 0 or np.abs(pixel_w - pixel_a)[after].max() < 0.15


def test_the_tie_points_confirm_the_joined_conversions(assembly: SliceAssembly, products: list[S1Product]) -> None:
    """The first slice's last line was made with a conversion that only the second slice lists: 2.3 pixels apart."""
    tables = (srgr_table(assembly.annotation.srgr), srgr_table(products[0].annotation("VV").srgr))
    ties = assembly.annotation.geolocation
    rows = (ties.line == JOINT - 1) | (ties.line == JOINT)
    slant = slant_range_m(ties.slant_range_time_s[rows])
    wrong = []
    for table in tables:
        ground, _ = slant_to_ground(table, slant, ties.azimuth_time_s[rows], mode="nearest")
        wrong.append(np.abs(ground / assembly.annotation.image.range_spacing_m - ties.pixel[rows]).max())
    assert rows.sum() == 42 and wrong[0] < 2e-3 and wrong[1] > 2


def test_dark_ground_across_the_joint_stays(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Calm water darker than the border's threshold is no border where the next slice follows."""
    windows = {FIRST: (JOINT - 600, 0, 600, 1200), SECOND: (0, 0, 600, 1200)}

    def dark(line: np.ndarray, pixel: np.ndarray) -> np.ndarray:
        return np.where(pixel > 700, 1e-5, 0.1) + 0.0 * line

    found = [
        open_s1_product(simulate_under_annotation(shared_data(k), tmp_path, sigma0_db=dark, seed=4, window=w))
        for k, w in windows.items()
    ]
    apart = grd_sources([found[0].channel("VV")])["VV"].read(JOINT - 20, 800, 20, 300)
    assert np.isnan(apart).mean() > 0.5
    joined = assemble_slices(found, ["VV"]).sources["VV"].read(JOINT - 20, 800, 40, 300)
    assert np.isfinite(joined).mean() > 0.95


def test_one_product_is_an_assembly_of_one(products: list[S1Product]) -> None:
    single = assemble_slices(products[:1], ["VV"])
    assert single.annotation.image == products[0].annotation("VV").image and single.first_lines == (0,)
    expected = grd_sources([products[0].channel("VV")])["VV"].read(JOINT - 100, PIXEL, 20, 30)
    assert np.array_equal(single.sources["VV"].read(JOINT - 100, PIXEL, 20, 30), expected, equal_nan=True)


def test_overlapping_lines_fall_back_on_the_earlier_slice() -> None:
    class Constant:
        shape_yx = (10, 4)

        def __init__(self, value: float) -> None:
            self.value = value

        def read(self, first_line: int, _first_pixel: int, lines: int, pixels: int) -> np.ndarray:
            out = np.full((lines, pixels), self.value, np.float32)
            out[: max(0, 2 - first_line)] = np.nan
            return out

    got = SliceStack((Constant(1.0), Constant(2.0)), (0, 5), (15, 4)).read(0, 0, 15, 4)[:, 0]
    assert np.isnan(got[:2]).all() and got[2:7].tolist() == [1.0] * 5 and got[7:].tolist() == [2.0] * 8


def test_what_is_no_pass_is_refused(shared_data: Callable[[str], Path]) -> None:
    first, second, other = (open_s1_product(shared_data(k)).annotation("VV") for k in (FIRST, SECOND, OTHER))
    with pytest.raises(InputError, match="not slices of one pass: pass_direction"):
        assemble_annotations([first, other])
    moved = replace(second, meta=replace(second.meta, datatake_id=1))
    with pytest.raises(InputError, match="one pass: datatake_id 24024 and 1"):
        assemble_annotations([first, moved])
    with pytest.raises(InputError, match="show the same ground"):
        assemble_annotations([first, first])
    with pytest.raises(InputError, match="no slice"):
        assemble_annotations([])
    with pytest.raises(InputError, match="no product"):
        assemble_slices([])
    cross = open_s1_product(shared_data(SECOND)).annotation("VH")
    with pytest.raises(InputError, match="polarisations VV and VH"):
        assemble_annotations([first, cross])
    short = replace(first, image=replace(first.image, shape_yx=(JOINT - 100, 25_357)))
    with pytest.raises(InputError, match="100 lines are missing between"):
        assemble_annotations([short, second])
    with pytest.raises(InputError, match=r"begins at line 16685\.4\d\d of the first"):
        assemble_annotations([first, replace(second, image=replace(second.image, first_line_time_s=0.0007))])
    wide = replace(second, image=replace(second.image, range_spacing_m=12.0))
    with pytest.raises(InputError, match=r"not on one grid: 0\.000 pixels apart"):
        assemble_annotations([first, wide])
