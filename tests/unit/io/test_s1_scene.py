"""The whole way from a radar image to the map: values, independence of blocks, and what is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.warp

from landcover_cli.core.grid import geobox_from_bounds
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io import s1_plan, s1_scene, s1_source
from landcover_cli.io.dem import Dem, open_dem
from landcover_cli.io.s1_plan import plan_scene
from landcover_cli.io.s1_scene import geocode_scene
from landcover_cli.io.s1_source import LineFeed, SliceStack, grd_sources
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.sar.flattening import reference_areas
from landcover_cli.sar.geocoding import RadarModel, geocode, radar_model, seed_times
from landcover_cli.sar.ground import Block, MapLattice, ground_nodes, lattice_of
from landcover_cli.sar.orbit import interpolate_orbit
from landcover_cli.sar.speckle import create

ROME = "s1/sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"
INSIDE = (290_000, 4_648_000, 292_500, 4_650_500)


@dataclass(frozen=True)
class Formula:
    """An endless image by a formula of line and pixel."""

    shape_yx: tuple[int, int]
    value: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def read(self, first_line: int, first_pixel: int, lines: int, pixels: int) -> np.ndarray:
        line = first_line + np.arange(lines, dtype=np.float64)[:, None]
        pixel = first_pixel + np.arange(pixels, dtype=np.float64)[None, :]
        return np.broadcast_to(self.value(line, pixel), (lines, pixels)).astype(np.float32)


def _speckled(line: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Exponential noise that belongs to the place in the image."""
    mixed = np.sin(line * 12.9898 + pixel * 78.233) * 43758.5453
    return -0.1 * np.log(np.clip(mixed - np.floor(mixed), 1e-6, 1.0))


@pytest.fixture(scope="module")
def model(shared_data: Callable[[str], Path]) -> RadarModel:
    annotation = open_s1_product(shared_data(ROME)).annotation("VV")
    times = annotation.geolocation.azimuth_time_s
    return radar_model(annotation, interpolate_orbit(annotation.orbit, float(times.min()), float(times.max())))


@pytest.fixture(scope="module")
def rome_dem(shared_data: Callable[[str], Path]) -> Dem:
    return open_dem(shared_data("s1/sarsen_rome") / "Rome-30m-DEM.tif", geoid_dirs=[shared_data("s1/egm96")])


def _area(bounds: tuple[int, int, int, int] = INSIDE, resolution: float = 10) -> tuple[MapLattice, Block]:
    return lattice_of(geobox_from_bounds(bounds, resolution, "EPSG:32633"))


def _collect(plan, block: Block, parts, name: str = "VV"):
    band = np.full(block.shape_yx, np.nan, dtype=np.float32)
    incidence, codes = band.copy(), np.full(block.shape_yx, 254, dtype=np.uint8)
    for part in parts:
        r, c = part.block.row0 - block.row0, part.block.col0 - block.col0
        here = slice(r, r + part.block.height), slice(c, c + part.block.width)
        band[here] = part.bands[name]
        if part.incidence_deg is not None:
            incidence[here] = part.incidence_deg
        if part.codes is not None:
            codes[here] = part.codes
    return band, incidence, codes


def test_places_are_sampled_where_geocoding_says(model, rome_dem) -> None:
    lattice, block = _area()
    source = Formula(model.shape_yx, lambda line, pixel: line - 8000 + 0 * pixel)
    plan = plan_scene(model, rome_dem, lattice, block, flatten=False, block_px=100)
    band, _, _ = _collect(plan, block, geocode_scene(model, {"VV": source}, rome_dem, plan))
    nodes = ground_nodes(lattice, block)
    place = geocode(model, nodes, seed_times(model, nodes), block, rome_dem.heights(lattice, block))
    np.testing.assert_allclose(band, place.line - 8000, atol=1e-3)


def test_nothing_changes_the_bits(model, rome_dem, monkeypatch: pytest.MonkeyPatch) -> None:
    lattice, block = _area()
    source = Formula(model.shape_yx, _speckled)
    results = []
    for strip, block_px, workers in ((512, 512, 1), (100, 70, 3), (64, 128, 2)):
        for module in (s1_source, s1_scene):
            monkeypatch.setattr(module, "STRIP_LINES", strip)
        plan = plan_scene(model, rome_dem, lattice, block, flatten=True, block_px=block_px)
        parts = geocode_scene(
            model,
            {"VV": source},
            rome_dem,
            plan,
            speckle=create("lee", window_px=7),
            layers=("incidence", "layover_shadow"),
            workers=workers,
        )
        results.append(_collect(plan, block, parts))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert np.array_equal(a, b, equal_nan=True)
    assert np.isfinite(results[0][0]).all()


def test_a_smaller_area_has_the_same_bits(model, rome_dem) -> None:
    source = Formula(model.shape_yx, _speckled)
    lattice, large = _area()
    _, small = _area((291_000, 4_649_000, 291_640, 4_649_500))
    bands = []
    for block in (large, small):
        plan = plan_scene(model, rome_dem, lattice, block, flatten=True)
        parts = geocode_scene(model, {"VV": source}, rome_dem, plan, speckle=create("boxcar", window_px=5))
        bands.append(_collect(plan, block, parts)[0])
    r, c = small.row0 - large.row0, small.col0 - large.col0
    assert np.array_equal(bands[0][r : r + small.height, c : c + small.width], bands[1])


def test_flat_ground_gives_beta_times_tan(model) -> None:
    lattice, block = _area()
    dem = open_dem("flat:60")
    source = Formula(model.shape_yx, lambda line, pixel: 0.1 + 0 * line * pixel)
    plan = plan_scene(model, dem, lattice, block, flatten=True)
    band, incidence, codes = _collect(
        plan, block, geocode_scene(model, {"VV": source}, dem, plan, layers=("incidence", "layover_shadow"))
    )
    expected = 0.1 * np.tan(np.radians(incidence))
    assert np.abs(10 * np.log10(band / expected)).max() < 0.08
    assert abs(10 * np.log10(band.mean() / expected.mean())) < 0.01
    assert (codes == 0).all()


def test_terrain_of_rome_becomes_flatter(model, rome_dem) -> None:
    """Backscatter simulated with the facets of a twice finer grid comes back as one value."""
    lattice, block = _area()
    plan = plan_scene(model, rome_dem, lattice, block, flatten=True)
    lines, pixels = plan.lines, plan.pixels
    area = np.zeros((lines[1] - lines[0], pixels[1] - pixels[0]))
    fine = lattice.refined(2)
    window = (*lines, *pixels)
    wide = Block(block.row0 * 2 - 400, block.col0 * 2 - 400, block.height * 2 + 801, block.width * 2 + 801)
    patch = s1_scene.cell_area(model, rome_dem, fine, wide, window)
    y, x = patch.line0 - lines[0], patch.pixel0 - pixels[0]
    area[y : y + patch.area_m2.shape[0], x : x + patch.area_m2.shape[1]] = patch.area_m2
    line, pixel = np.arange(*lines, dtype=float), np.arange(*pixels, dtype=float)
    beta0 = 0.2 * area / reference_areas(model, line[:, None], pixel[None, :])[0]
    source = Formula(
        model.shape_yx,
        lambda a, b: beta0[
            np.clip(a.astype(int) - lines[0], 0, beta0.shape[0] - 1),
            np.clip(b.astype(int) - pixels[0], 0, beta0.shape[1] - 1),
        ],
    )
    band, _, _ = _collect(plan, block, geocode_scene(model, {"VV": source}, rome_dem, plan))
    inner = 10 * np.log10(band[15:-15, 15:-15] / 0.2)
    assert abs(inner.mean()) < 0.01 and inner.std() < 0.1


def test_lines_are_filtered_as_if_whole(model) -> None:
    source = Formula((1300, 90), _speckled)
    speckle = create("lee", window_px=7)
    feed = LineFeed(source, (20, 70), speckle)
    strips = np.concatenate([feed.strip(k) for k in range(3)])
    padded = np.pad(source.read(0, 0, 1300, 90), 3, constant_values=np.nan)
    assert np.array_equal(strips, speckle.apply(padded)[:, 20:70], equal_nan=True)


def test_slices_are_one_image() -> None:
    first, second = Formula((100, 50), lambda y, x: y + 0 * x), Formula((80, 40), lambda y, x: 1000 + y + 0 * x)
    stack = SliceStack((first, second), (0, 95), (175, 50))
    got = stack.read(90, 30, 20, 20)
    assert got[:5, 0].tolist() == [90, 91, 92, 93, 94] and got[5:, 0].tolist() == [1000 + k for k in range(15)]
    # Beyond the narrower slice the earlier one remains, as far as it goes.
    assert np.isnan(got[10:, 10:]).all() and got[5:10, 10].tolist() == [95, 96, 97, 98, 99]


def test_empty_measurement_of_rome_is_nodata(shared_data, model, rome_dem) -> None:
    product = open_s1_product(shared_data(ROME))
    sources = grd_sources([product.channel("VV")])
    lattice, block = _area((291_000, 4_649_000, 291_400, 4_649_400))
    plan = plan_scene(model, rome_dem, lattice, block, flatten=True)
    band, incidence, _ = _collect(
        plan, block, geocode_scene(model, sources, rome_dem, plan, speckle=create("refined_lee"), layers=("incidence",))
    )
    assert np.isnan(band).all() and np.isfinite(incidence).all()


def test_area_off_the_scene_is_refused(model) -> None:
    lattice, block = _area((800_000, 4_648_000, 802_000, 4_650_000))
    with pytest.raises(InputError, match="does not meet S1B"):
        plan_scene(model, open_dem("flat:0"), lattice, block, flatten=False, what="S1B")


def test_missing_terrain_is_counted(model, rome_dem) -> None:
    lattice, block = _area((280_000, 4_648_000, 292_500, 4_650_500))
    with pytest.raises(InputError, match=r"does not cover S1B: \d+\.\d %"):
        plan_scene(model, rome_dem, lattice, block, flatten=False, what="S1B")


def test_other_sizes_and_layers_are_refused(model, rome_dem) -> None:
    lattice, block = _area()
    plan = plan_scene(model, rome_dem, lattice, block, flatten=False)
    with pytest.raises(InputError, match="VV"):
        next(geocode_scene(model, {"VV": Formula((10, 10), _speckled)}, rome_dem, plan))
    with pytest.raises(UsageError, match="slope"):
        next(geocode_scene(model, {"VV": Formula(model.shape_yx, _speckled)}, rome_dem, plan, layers=("slope",)))


def test_only_the_needed_part_is_read(model, rome_dem) -> None:
    lattice, block = _area()
    read: list[tuple[int, int, int, int]] = []

    class Watched(Formula):
        def read(self, first_line: int, first_pixel: int, lines: int, pixels: int) -> np.ndarray:
            read.append((first_line, first_pixel, lines, pixels))
            return super().read(first_line, first_pixel, lines, pixels)

    plan = plan_scene(model, rome_dem, lattice, block, flatten=True)
    list(geocode_scene(model, {"VV": Watched(model.shape_yx, _speckled)}, rome_dem, plan, speckle=create("lee")))
    assert len(read) <= 3 and len({r[0] for r in read}) == len(read)
    assert sum(r[2] * r[3] for r in read) < 0.01 * model.shape_yx[0] * model.shape_yx[1]


def test_plan_encloses_what_is_found(model) -> None:
    lattice, block = _area((300_000, 4_600_000, 320_000, 4_620_000), 50)
    dem = open_dem("flat:1500")
    plan = plan_scene(model, dem, lattice, block, flatten=True, block_px=64)
    for planned in plan.blocks:
        nodes = ground_nodes(lattice, planned.block)
        height = np.full(planned.block.shape_yx, 1500.0)
        place = geocode(model, nodes, seed_times(model, nodes), planned.block, height)
        assert planned.lines[0] <= place.line.min() and planned.lines[1] > place.line.max() + 1
        assert planned.pixels[0] <= place.pixel.min() and planned.pixels[1] > place.pixel.max() + 1
    assert plan.facet_lattice.dx == 10 and s1_plan.CELL_PX == 256


def _with_hole(path: Path, tmp_path: Path) -> Path:
    """The terrain of Rome without 4 × 4 pixels in the middle of the area."""
    with rasterio.open(path) as source:
        values, profile = source.read(1).astype(np.float32), source.profile
        x, y = rasterio.warp.transform("EPSG:32633", source.crs, [291_250], [4_649_250])
        row, col = source.index(x[0], y[0])
    values[row : row + 4, col : col + 4] = np.nan
    out = tmp_path / "hole.tif"
    with rasterio.open(out, "w", **{**profile, "driver": "GTiff", "dtype": "float32", "nodata": np.nan}) as target:
        target.write(values, 1)
    return out


def test_holes_of_the_terrain_leave_no_wrong_value(
    model, rome_dem, shared_data, tmp_path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    """What a hole's facets may reach is nodata; everything else has the bits that it has without the hole."""
    path = _with_hole(shared_data("s1/sarsen_rome") / "Rome-30m-DEM.tif", tmp_path)
    dem = open_dem(path, geoid_dirs=[shared_data("s1/egm96")], voids_are_sea=False)
    lattice, block = _area((290_700, 4_648_700, 291_900, 4_649_900))
    source = Formula(model.shape_yx, _speckled)

    def made(terrain: Dem, block_px: int = 512, workers: int = 1) -> np.ndarray:
        plan = plan_scene(model, terrain, lattice, block, flatten=True, block_px=block_px)
        return _collect(plan, block, geocode_scene(model, {"VV": source}, terrain, plan, workers=workers))[0]

    whole = made(rome_dem)
    monkeypatch.setattr(logging.getLogger("lc"), "propagate", True)
    with caplog.at_level(logging.WARNING, logger="lc"):
        holed = made(dem)
    assert [r.message.split(" at ")[0] for r in caplog.records] == ["DEM hole.tif has no height"]
    assert np.array_equal(holed, made(dem, block_px=50, workers=3), equal_nan=True)
    seen = np.isfinite(holed)
    assert 100 < np.isnan(dem.heights(lattice, block)).sum() < (~seen).sum() < 1000
    # Beside the hole a height comes from fewer neighbours, so that a value may differ a little; never by decibels.
    change = np.abs(10 * np.log10(holed[seen] / whole[seen]))
    assert np.count_nonzero(change) < 400 and np.nanmax(change) < 1.5
