"""Delivered backscatter: overviews averaged in linear power whatever the scale, stretch limits, pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from rio_cogeo.cogeo import cog_validate

from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.observation import Observation, create_observation
from landcover_cli.io.quicklook import write_quicklook
from landcover_cli.io.s1_output import S1Output, write_deliverables
from landcover_cli.sar.stretch import StretchLimits, stretch_to_uint8

HEIGHT, WIDTH = 1301, 1111


def power() -> np.ndarray:
    """Speckle over three orders of magnitude, with holes."""
    rng = np.random.default_rng(5)
    values = (10.0 ** rng.uniform(-3, 0, (HEIGHT, WIDTH)) * rng.gamma(4.4, 1 / 4.4, (HEIGHT, WIDTH))).astype("float32")
    values[:, :300][rng.random((HEIGHT, 300)) < 0.5] = np.nan
    values[400:700, 500:900] = np.nan
    return values


def observation(folder: Path, values: np.ndarray) -> Path:
    folder.mkdir()
    height, width = values.shape
    facts = {
        "backscatter": "gamma0_rtc", "border_noise": "", "dem": {"name": "d", "heights": "egm96"}, "denoise": {},
        "ipf": "3.40", "orbit": "o", "speckle": {"name": "none"}, "resampling": "bilinear", "layers": [],
        "orbit_direction": "ascending", "stop": "2021-01-01T00:00:30Z", "mission": "S1A", "mode": "IW",
        "product_type": "GRDH", "radar_frequency_hz": 5.405e9, "range_spacing_m": 10.0, "azimuth_spacing_m": 10.0,
        "relative_orbit": 1, "absolute_orbit": 1, "products": ["P"],
    }  # fmt: skip
    about = Observation(
        "P", "sentinel1", "2021-01-01T00:00:00Z", ("VV",), "gamma0_linear", 1.0, 0.0, 10.0, "EPSG:32633",
        (300_000.0, 5_000_000.0, 300_000.0 + 10 * width, 5_000_000.0 + 10 * height), "float32", "g", facts,
    )  # fmt: skip
    with create_observation(folder, about) as (data, mask):
        data.write(values, 1)
        mask.write(np.isfinite(values).astype(np.uint8), 1)
    return folder


def deliver(folder: Path, values: np.ndarray, output: S1Output) -> Path:
    made = observation(folder, values)
    files = write_deliverables(made, shapely.box(300_000, 5_000_000, 310_000, 5_010_000), output)
    assert not (made / ".cogs").exists()
    return made / files["vv"]


def halved(values: np.ndarray) -> np.ndarray:
    """Oracle: mean of what is valid in each 2 × 2 cell, by slow loops over the four corners."""
    height, width = (-(-size // 2) for size in values.shape)
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for y in (0, 1):
        for x in (0, 1):
            part = values[y::2, x::2]
            ok = np.isfinite(part)
            total[: part.shape[0], : part.shape[1]] += np.where(ok, part, 0)
            count[: part.shape[0], : part.shape[1]] += ok
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / count, np.nan).astype("float32")


def overview(path: Path, level: int) -> np.ndarray:
    with rasterio.open(path, overview_level=level) as dataset:
        return dataset.read(1)


def test_overviews_are_averaged_in_linear_power(tmp_path):
    values = power()
    linear = deliver(tmp_path / "linear", values, S1Output())
    db = deliver(tmp_path / "db", values, S1Output("db"))
    eight = deliver(tmp_path / "eight", values, S1Output("stretch", (-30.0, 0.0)))
    for path in (linear, db, eight):
        assert cog_validate(path, strict=True)[0]
        with rasterio.open(path) as dataset:
            assert dataset.overviews(1) == [2, 4] and dataset.descriptions == ("VV",)
            assert dataset.tags()["PRODUCT"] == "P"
    expected = values
    for level in (0, 1):
        expected = halved(expected)
        in_db = 10 * np.log10(expected.astype(np.float64))
        np.testing.assert_allclose(overview(linear, level), expected, rtol=1e-6)
        np.testing.assert_allclose(overview(db, level), in_db, atol=2e-5)
        shown = stretch_to_uint8(in_db, StretchLimits(-30.0, 0.0))
        assert np.abs(overview(eight, level).astype(int) - shown).max() <= 1
    naive = halved(halved(10 * np.log10(values)))
    # What GDAL would have made of decibels is darker by more than a decibel.
    assert np.nanmean(naive - overview(db, 1)) < -1


def test_percentiles_are_of_the_whole_scene_and_in_the_tags(tmp_path):
    values = power()
    path = deliver(tmp_path / "p", values, S1Output("stretch"))
    low, high = np.percentile(10 * np.log10(values[np.isfinite(values)].astype(np.float64)), (2, 98))
    with rasterio.open(path) as dataset:
        tags = dataset.tags()
        assert float(tags["STRETCH_LOW_DB"]) == pytest.approx(low, abs=0.01)
        assert float(tags["STRETCH_HIGH_DB"]) == pytest.approx(high, abs=0.01)
        shown = dataset.read(1)
    assert (shown == 0).sum() == (~np.isfinite(values)).sum() and shown.max() == 255


def test_a_scene_without_power_has_no_percentile_but_a_file(tmp_path):
    nothing = np.full((40, 50), np.nan, "float32")
    with pytest.raises(InputError, match="no pixel with positive power"):
        deliver(tmp_path / "a", nothing, S1Output("stretch"))
    deliver(tmp_path / "b", nothing, S1Output("db"))
    deliver(tmp_path / "c", np.full((40, 50), 0.1, "float32"), S1Output("stretch"))


def test_limits_belong_to_the_stretch():
    with pytest.raises(UsageError, match="8-bit"):
        S1Output("db", (-20.0, 0.0))
    with pytest.raises(UsageError, match="not finite and increasing"):
        S1Output("stretch", (0.0, -20.0))


@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 9))
def test_every_picture_can_be_opened(tmp_path_factory, height, width, two, seed):
    rng = np.random.default_rng(seed)
    views = [rng.gamma(4.4, 0.1, (height, width)).astype("float32") for _ in range(1 + two)]
    views[0][rng.random((height, width)) < 0.3] = np.nan
    path = tmp_path_factory.mktemp("look") / "q.png"
    write_quicklook(path, views, ("VH", "VV")[: 1 + two])
    seen = imread(path)[..., 3] > 0
    assert np.array_equal(seen, np.isfinite(views[0]))
