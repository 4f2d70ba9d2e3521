"""Real Sentinel-1 annotation with simulated pixels, from the SAFE to backscatter and to a cube, as a user does it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rio_cogeo.cogeo import cog_validate
from scipy import ndimage
from scipy.interpolate import griddata

from landcover_cli.demo.sentinel1_annotated import simulate_under_annotation
from landcover_cli.io.cubestore import CubeSeries
from landcover_cli.io.geoid import open_geoid
from landcover_cli.io.safe_s1 import open_s1_product

from .conftest import lc

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "sentinel1_rome.yaml"
ROME = "s1/sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"
PYROSAR = "s1/pyrosar_grd_meta/S1A_IW_GRDH_1SDV_"
IPF_331 = f"{PYROSAR}20210119T031653_20210119T031718_036201_043ED0_8255.zip"
IPF_270 = f"{PYROSAR}20150203T043109_20150203T043134_004454_00574F_6D00.zip"
IPF_236 = f"{PYROSAR}20150203T043109_20150203T043134_004454_00574F_FEC3.zip"
SLICES = (
    f"{PYROSAR}20150222T170725_20150222T170750_004739_005DD8_CEAB.zip",
    f"{PYROSAR}20150222T170750_20150222T170815_004739_005DD8_3768.zip",
)
MOROCCO = "s1/eo_tools_morocco/SAFE/S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1.SAFE"
SIGMA0_DB = {"VV": -8.0, "VH": -15.0}


class Place:
    """A tie point in the middle of a product: known in the image and on the ground."""

    def __init__(self, product: Path, line_share: float = 0.5) -> None:
        self.annotation = open_s1_product(product).annotation("VV")
        ties = self.annotation.geolocation
        lines, pixels = self.annotation.image.shape_yx
        middle = np.hypot((ties.line - line_share * lines) / lines, (ties.pixel - 0.5 * pixels) / pixels)
        k = int(np.argmin(middle))
        self.line, self.pixel = int(ties.line[k]), int(ties.pixel[k])
        self.lon, self.lat, self.height_m = (float(v[k]) for v in (ties.lon_deg, ties.lat_deg, ties.height_m))
        self.incidence_deg = float(ties.incidence_deg[k])

    def window(self, half: int = 220) -> tuple[int, int, int, int]:
        lines, pixels = self.annotation.image.shape_yx
        top, left = max(self.line - half, 0), max(self.pixel - half, 0)
        return top, left, min(self.line + half, lines) - top, min(self.pixel + half, pixels) - left

    def aoi(self, path: Path, half_m: float = 700.0) -> Path:
        x = half_m / (111_320 * math.cos(math.radians(self.lat)))
        y = half_m / 111_320
        west, south, east, north = self.lon - x, self.lat - y, self.lon + x, self.lat + y
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}), encoding="utf-8")
        return path

    def seeded_dem(self, path: Path, geoid: Path, seed: int = 1) -> Path:
        """Heights of the tie points plus fractal relief, one second, EGM96 heights and tagged so."""
        step, side = 1 / 3600, 400
        lon = self.lon + (np.arange(side) - side / 2 + 0.5) * step
        lat = self.lat - (np.arange(side) - side / 2 + 0.5) * step
        xx, yy = np.meshgrid(lon, lat)
        ties = self.annotation.geolocation
        heights = griddata((ties.lon_deg, ties.lat_deg), ties.height_m, (xx, yy))
        rng = np.random.default_rng(seed)
        relief = sum(
            amplitude * ndimage.gaussian_filter(rng.standard_normal((side, side)), sigma, mode="wrap") * sigma
            for sigma, amplitude in ((32, 60.0), (16, 30.0), (8, 10.0))
        )
        heights = heights + relief - relief[side // 2, side // 2] - open_geoid(str(geoid)).undulation(xx, yy)
        transform = Affine(step, 0, lon[0] - step / 2, 0, -step, lat[0] + step / 2)
        profile = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "float32"}
        with rasterio.open(path, "w", crs="EPSG:9707", transform=transform, **profile) as dataset:
            dataset.write(heights.astype(np.float32), 1)
        return path


def ok(*args: str | Path) -> str:
    done = lc("-q", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(folder: Path, place: Place, tolerance_db: float) -> np.ndarray:
    """Flat ground returns the sigma nought that was put in over the cosine of the incidence angle."""
    with rasterio.open(folder / "data.tif") as data:
        values = data.read()
        bands = data.descriptions
    assert np.isfinite(values).all()
    for band, name in zip(values, bands, strict=True):
        expected = SIGMA0_DB[name] - 10 * math.log10(math.cos(math.radians(place.incidence_deg)))
        assert 10 * math.log10(band.mean(dtype=np.float64)) == pytest.approx(expected, abs=tolerance_db)
    with rasterio.open(folder / "mask.tif") as mask:
        assert np.isin(mask.read(1), (1, 2)).all()
    item = json.loads((folder / "item.json").read_text(encoding="utf-8"))
    assert all((folder / asset["href"]).is_file() for asset in item["assets"].values())
    assert cog_validate(folder / item["assets"]["vv"]["href"], strict=True)[0]
    return values


@pytest.fixture(scope="module")
def rome(shared_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product of Rome with pixels where the example looks."""
    folder = tmp_path_factory.mktemp("rome")
    simulate_under_annotation(
        shared_data(ROME), folder, sigma0_db=SIGMA0_DB, seed=1, window=(8000, 21_700, 900, 1100), derive_vh=True
    )
    return folder


def test_the_example_of_rome_from_product_to_cube(rome, shared_data, tmp_path):
    data = shared_data("s1/sarsen_rome").parents[1]
    settings = ["--set", f"vars.data={data}", "--set", f"vars.products={rome}"]
    ok("run", EXAMPLE, *settings, "--workspace", tmp_path / "work")
    cube = CubeSeries.open((tmp_path / "work" / "products" / "cubes").rglob("cube.zarr"))
    assert (cube.bands, cube.units, cube.sensor) == (("VV",), "gamma0_linear", "sentinel1")
    # The command alone gives the same pixels.
    ok(
        "preprocess", "s1", next(rome.glob("*.SAFE")), "--out", tmp_path / "out",
        "--dem", shared_data("s1/sarsen_rome") / "Rome-30m-DEM.tif",
        "--dem-height", shared_data("s1/egm96") / "egm96_15min.tif",
        "--aoi", EXAMPLE.parent / "aoi" / "rome.geojson", "--crs", "EPSG:32633", "--layers", "layover_shadow",
    )  # fmt: skip
    folder = next((tmp_path / "out").iterdir())
    with rasterio.open(folder / "data.tif") as alone, rasterio.open(folder / "mask.tif") as mask:
        assert alone.descriptions == ("VV", "VH") and min(alone.shape) > 160
        values, clear = alone.read(1), mask.read(1) == 1
        window = cube.read(tuple(alone.bounds))
    assert clear.mean() > 0.99
    assert np.array_equal(window.valid_tyx[0], clear)
    assert np.array_equal(window.data_tbyx[0, 0][clear], values[clear])
    about = json.loads((folder / "observation.json").read_text(encoding="utf-8"))
    assert about["facts"]["ipf"] == "3.40" and about["facts"]["dem"]["heights"] == "egm96_15min.tif"
    # An image of one value under real hills: flattening raises slopes that look away and lowers the others.
    assert 10 * math.log10(values.mean()) == pytest.approx(-6.55, abs=0.3)


def test_ipf_331_on_one_height(shared_data, tmp_path):
    product = shared_data(IPF_331)
    place = Place(product)
    safe = simulate_under_annotation(product, tmp_path / "in", sigma0_db=SIGMA0_DB, seed=1, window=place.window())
    args = ["preprocess", "s1", safe, "--out", tmp_path / "out", "--aoi", place.aoi(tmp_path / "aoi.geojson")]
    shown = json.loads(ok(*args, "--dem", f"flat:{place.height_m:.3f}", "--speckle", "boxcar", "--json"))[0]
    assert shown["ipf"] == "3.31" and shown["denoise"] == {"VV": "removed", "VH": "removed"}
    check(Path(shown["observation"]), place, 0.06)
    # Only what the area needs was read.
    lines, pixels = place.annotation.image.shape_yx
    assert np.prod(shown["reads_px"]) < 0.001 * lines * pixels


def test_a_wrong_product_ends_with_code_3_and_one_line(shared_data, tmp_path):
    done = lc("preprocess", "s1", shared_data(IPF_331), "--dem", "flat:0", "--out", tmp_path / "out")
    assert done.returncode == 3
    assert "measurement/s1a-iw-grd-vv-20210119t031653" in done.stderr and "is missing" in done.stderr
    assert "remedy:" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ipf", "denoise"), [(IPF_270, "2.70", "removed"), (IPF_236, "2.36", "no estimate in the product")]
)
def test_older_processors_on_a_seeded_terrain(name, ipf, denoise, shared_data, tmp_path):
    product = shared_data(name)
    place = Place(product)
    geoid = shared_data("s1/egm96") / "egm96_15min.tif"
    safe = simulate_under_annotation(product, tmp_path / "in", sigma0_db=SIGMA0_DB, seed=1, window=place.window())
    dem = place.seeded_dem(tmp_path / "dem.tif", geoid)
    args = ["preprocess", "s1", safe, "--out", tmp_path / "out", "--aoi", place.aoi(tmp_path / "aoi.geojson")]
    shown = json.loads(ok(*args, "--dem", dem, "--dem-height", geoid, "--speckle", "boxcar", "--json"))[0]
    assert shown["ipf"] == ipf and set(shown["denoise"].values()) == {denoise}
    assert shown["border_noise"] == "masked"
    check(Path(shown["observation"]), place, 0.5)


@pytest.mark.slow
def test_two_slices_become_one_image_without_a_seam(shared_data, tmp_path):
    """An area over the joint: every pixel has a value, and both halves have one level."""
    products = [shared_data(name) for name in SLICES]
    ends = [Place(products[0], 1.0), Place(products[1], 0.0)]
    safes = [
        simulate_under_annotation(product, tmp_path / "in", sigma0_db=SIGMA0_DB, seed=1, window=place.window(300))
        for product, place in zip(products, ends, strict=True)
    ]
    args = ["preprocess", "s1", *safes, "--assemble", "--out", tmp_path / "out"]
    args += ["--aoi", ends[1].aoi(tmp_path / "aoi.geojson", 500.0), "--dem", f"flat:{ends[1].height_m:.3f}"]
    shown = json.loads(ok(*args, "--speckle", "boxcar", "--json"))[0]
    assert len(shown["products"]) == 2 and shown["id"].endswith("CEAB+1")
    values = check(Path(shown["observation"]), ends[1], 0.1)
    upper, lower = np.array_split(values[0], 2)
    assert 10 * math.log10(upper.mean() / lower.mean()) == pytest.approx(0, abs=0.1)


@pytest.mark.slow
def test_extra_wide_by_a_derived_annotation(shared_data, tmp_path):
    """A stand-in: no EW product with tables was at hand."""
    product = shared_data(IPF_331)
    place = Place(product)
    safe = simulate_under_annotation(
        product, tmp_path / "in", sigma0_db=SIGMA0_DB, seed=1, window=place.window(), as_ew=True
    )
    args = ["preprocess", "s1", safe, "--out", tmp_path / "out", "--aoi", place.aoi(tmp_path / "aoi.geojson")]
    shown = json.loads(ok(*args, "--dem", f"flat:{place.height_m:.3f}", "--speckle", "boxcar", "--json"))[0]
    folder = Path(shown["observation"])
    assert json.loads((folder / "item.json").read_text())["properties"]["sar:instrument_mode"] == "EW"
    check(folder, place, 0.06)


@pytest.mark.slow
def test_an_slc_becomes_backscatter(shared_data, tmp_path):
    product = shared_data(MOROCCO)
    place = Place(product)
    safe = simulate_under_annotation(product, tmp_path / "in", sigma0_db=SIGMA0_DB, seed=1, window=place.window(800))
    args = ["preprocess", "s1", safe, "--out", tmp_path / "out", "--aoi", place.aoi(tmp_path / "aoi.geojson", 400.0)]
    shown = json.loads(ok(*args, "--dem", f"flat:{place.height_m:.3f}", "--speckle", "boxcar", "--json"))[0]
    folder = Path(shown["observation"])
    facts = json.loads((folder / "observation.json").read_text(encoding="utf-8"))["facts"]
    assert facts["multilook"] == [1, 4] and facts["swaths"] == ["IW1"] and facts["product_type"] == "SLC"
    check(folder, place, 0.15)
