"""`lc preprocess s1 --bistatic`: the map moves by the residual, says so, and is refused where nothing is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from s1product import ASCENDING, write_aoi, write_dem, write_product
from scipy import ndimage
from slcproduct import MOROCCO, write_slc, write_slc_aoi
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.core.grid import geobox_from_bounds
from landcover_cli.demo.sentinel1_annotated import simulate_under_annotation
from landcover_cli.errors import InputError
from landcover_cli.io.observation import read_about
from landcover_cli.io.s1_source import grd_sources
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.sar.geocoding import geocode, radar_model, seed_times
from landcover_cli.sar.ground import ground_nodes, lattice_of
from landcover_cli.sar.orbit import interpolate_orbit
from landcover_cli.sar.types import SPEED_OF_LIGHT_MS

ROME = "s1/sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"


def lc(*args: object) -> Path:
    result = CliRunner().invoke(app, ["preprocess", "s1", *map(str, args), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return Path(json.loads(result.stdout)[0]["observation"])


def test_the_map_moves_along_the_track(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Each pixel is taken from the line where the plain geometry sees it, less the residual of its sub-swath."""
    safe = simulate_under_annotation(
        shared_data(ROME), tmp_path, sigma0_db=-8.0, seed=1, window=(8000, 21_700, 900, 1100)
    )
    aoi = Path(__file__).parents[3] / "examples" / "aoi" / "rome.geojson"
    args = [
        safe, "--dem", "flat:60", "--aoi", aoi, "--crs", "EPSG:32633", "--backscatter", "sigma0", "--speckle", "none",
        "--no-cog", "--workers", 1, "--polarisation", "VV",
    ]  # fmt: skip
    plain, moved = lc(*args, "--out", tmp_path / "plain"), lc(*args, "--out", tmp_path / "moved", "--bistatic")
    assert "bistatic" not in read_about(plain).facts
    about = read_about(moved)
    assert about.facts["bistatic"] == "residual taken into account"
    with rasterio.open(plain / "data.tif") as a, rasterio.open(moved / "data.tif") as b:
        before, after = a.read(1), b.read(1)
    assert not np.array_equal(before, after)

    channel = open_s1_product(safe).channel("VV")
    annotation, image = channel.annotation, channel.annotation.image
    orbit = interpolate_orbit(annotation.orbit, image.first_line_time_s, image.last_line_time_s)
    model = radar_model(annotation, orbit)
    lattice, block = lattice_of(geobox_from_bounds(about.bounds_m, about.gsd_m, about.crs))
    nodes = ground_nodes(lattice, block)
    place = geocode(model, nodes, seed_times(model, nodes), block, np.full(block.shape_yx, 60.0))
    # The area lies in IW3: rank 10, 1,685.8 pulses a second; the middle of IW2 by its two ends in the merged image.
    (ends,) = [b for b in annotation.swath_merge.bounds if b.swath == "IW2"]
    assert place.pixel.min() > ends.last_pixel
    line = np.full(2, 0.5 * (ends.first_line + ends.last_line))
    middle_m = model.slant_range_m(line, np.array([ends.first_pixel, ends.last_pixel], np.float64)).mean()
    delta_s = (place.slant_m + middle_m) / SPEED_OF_LIGHT_MS - 10 / 1685.817302492702
    assert 5e-5 < delta_s.mean() < 3e-4
    seen = place.line - delta_s / image.azimuth_time_interval_s
    top, left = int(seen.min()) - 2, int(place.pixel.min()) - 2
    shape = int(seen.max()) + 3 - top, int(place.pixel.max()) + 3 - left
    power = grd_sources([channel], backscatter="sigma0")["VV"].read(top, left, *shape).astype(np.float64)
    expected = ndimage.map_coordinates(power, [seen - top, place.pixel - left], order=1)
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)


def test_what_says_too_little_is_refused(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    product = write_product(tmp_path / "grd", ASCENDING)
    dem, aoi = write_dem(tmp_path / "dem.tif"), write_aoi(tmp_path / "aoi.geojson")
    args = [product, "--dem", dem, "--dem-height", "ellipsoidal", "--aoi", aoi, "--out", tmp_path / "never"]
    with pytest.raises(InputError, match="says nothing of the pulses of IW2") as caught:
        lc(*args, "--bistatic")
    assert "no --bistatic" in caught.value.remedy
    slc = write_slc(shared_data(MOROCCO), tmp_path / "slc")
    aoi = write_slc_aoi(slc, tmp_path / "slc.geojson")
    with pytest.raises(InputError, match="holds no IW2"):
        lc(slc, "--dem", "flat:0", "--aoi", aoi, "--out", tmp_path / "never", "--bistatic")
    assert not (tmp_path / "never").exists()
