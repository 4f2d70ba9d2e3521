"""Nadir reflectance: kernels against scalar formulas and their symmetries, and on products."""

from __future__ import annotations

import math

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.optical.nbar import COEFFICIENTS, apply_factor, li_sparse, nadir_factor, ross_thick

ANGLE = st.floats(0.0, 1.2)
AZIMUTH = st.floats(-6.0, 6.0)


def grid(value: float) -> np.ndarray:
    return np.full((1, 1), value)


def slow(sun: float, view: float, azimuth: float) -> tuple[float, float]:
    """Both kernels by the papers, with the shape parameters written out."""
    cos_xi = math.cos(sun) * math.cos(view) + math.sin(sun) * math.sin(view) * math.cos(azimuth)
    xi = math.acos(max(-1.0, min(1.0, cos_xi)))
    volume = ((math.pi / 2 - xi) * math.cos(xi) + math.sin(xi)) / (math.cos(sun) + math.cos(view)) - math.pi / 4
    height_ratio, radius_ratio = 2.0, 1.0
    s, v = math.atan(radius_ratio * math.tan(sun)), math.atan(radius_ratio * math.tan(view))
    d2 = math.tan(s) ** 2 + math.tan(v) ** 2 - 2 * math.tan(s) * math.tan(v) * math.cos(azimuth)
    inner = math.sqrt(max(d2, 0.0) + (math.tan(s) * math.tan(v) * math.sin(azimuth)) ** 2)
    secants = 1 / math.cos(s) + 1 / math.cos(v)
    t = math.acos(max(-1.0, min(1.0, height_ratio * inner / secants)))
    overlap = (t - math.sin(t) * math.cos(t)) * secants / math.pi
    cos_xi = math.cos(s) * math.cos(v) + math.sin(s) * math.sin(v) * math.cos(azimuth)
    return volume, overlap - secants + 0.5 * (1 + cos_xi) / math.cos(s) / math.cos(v)


@given(sun=ANGLE, view=ANGLE, azimuth=AZIMUTH)
def test_kernels_follow_their_formulas(sun: float, view: float, azimuth: float) -> None:
    volume, geometry = slow(sun, view, azimuth)
    args = grid(sun), grid(view), grid(azimuth)
    assert ross_thick(*args)[0, 0] == pytest.approx(volume, abs=1e-7)
    assert li_sparse(*args)[0, 0] == pytest.approx(geometry, abs=1e-6)


@given(sun=ANGLE, view=ANGLE, azimuth=AZIMUTH)
def test_kernels_are_reciprocal_and_even_and_vanish_overhead(sun: float, view: float, azimuth: float) -> None:
    for kernel in (ross_thick, li_sparse):
        value = kernel(grid(sun), grid(view), grid(azimuth))[0, 0]
        assert kernel(grid(view), grid(sun), grid(azimuth))[0, 0] == pytest.approx(value, abs=1e-7)
        assert kernel(grid(sun), grid(view), grid(-azimuth))[0, 0] == pytest.approx(value, abs=1e-7)
        assert kernel(grid(0.0), grid(0.0), grid(azimuth))[0, 0] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("band", COEFFICIENTS)
def test_factor_is_one_at_nadir_and_darkens_backscatter(band: str) -> None:
    sun, azimuth = grid(35.0), grid(150.0)
    assert nadir_factor(band, sun, azimuth, grid(0.0), grid(10.0))[0, 0] == 1.0
    # The sensor on the sun's side sees fewer shadows.
    back = nadir_factor(band, sun, azimuth, grid(10.0), grid(150.0))[0, 0]
    forward = nadir_factor(band, sun, azimuth, grid(10.0), grid(330.0))[0, 0]
    assert 0.85 < back < 1.0 < forward < 1.15


def test_numbers_keep_nodata() -> None:
    stored = np.array([[0, 1, 1000, 3000, 65535]], "uint16")
    assert apply_factor(stored, np.full((1, 5), 1.1)).tolist() == [[0, 1, 1000, 3200, 65535]]
    assert apply_factor(stored, np.full((1, 5), 0.9)).tolist() == [[0, 101, 1000, 2800, 59082]]


def test_a_product_is_seen_from_nadir_and_parts_agree(tmp_path) -> None:
    from s2product import LEFT, TOP, bands, write_l1c

    from landcover_cli.errors import InputError
    from landcover_cli.io.preprocess_s2 import S2Settings, preprocess_s2
    from landcover_cli.io.safe_s2 import read_safe_s2
    from landcover_cli.optical.masks.none import MASK

    values = {name: band for name, band in bands(120, low=1400).items() if name != "SCL"}
    safe = write_l1c(tmp_path, values, sun=(40.0, 150.0), view=(9.0, 150.0))
    scene = read_safe_s2(safe, "L1C")

    def run(name: str, area: tuple[float, float, float, float], wanted=("B8A",), **changes) -> np.ndarray:
        out = tmp_path / name
        out.mkdir()
        settings = S2Settings("EPSG:32633", 20.0, area, wanted, MASK, nbar=True, **changes)
        about = preprocess_s2(scene, settings, out)
        assert about.facts["nbar"] == "c-factor, Roy et al. 2017"
        with rasterio.open(out / "data.tif") as dataset:
            return dataset.read(1)

    whole = run("whole", (LEFT, TOP - 1200, LEFT + 1200, TOP))
    factor = nadir_factor("B8A", grid(40.0), grid(150.0), grid(9.0), grid(150.0))[0, 0]
    expected = np.floor((values["B8A"].astype(float) - 1000) * np.float32(factor) + 1000.5)
    np.testing.assert_array_equal(whole, expected)
    part = run("part", (LEFT + 200, TOP - 700, LEFT + 900, TOP - 100))
    np.testing.assert_array_equal(part, whole[5:35, 10:45])
    with pytest.raises(InputError, match="B09 has no coefficients"):
        run("none", (LEFT, TOP - 1200, LEFT + 1200, TOP), ("B8A", "B09"))


def test_factors_are_bilinear_between_the_cells(tmp_path) -> None:
    from s2product import LEFT, TOP

    from landcover_cli.core.lattice import Lattice
    from landcover_cli.io.raster import RasterInfo
    from landcover_cli.io.s2_nbar import NadirFactors

    cells = np.random.default_rng(1).uniform(0.9, 1.1, (4, 4)).astype("float32")
    info = RasterInfo("", 4, 4, 1, "float32", "EPSG:32633", 5000.0, (LEFT, TOP - 20_000, LEFT + 20_000, TOP), None, ())
    factors = NadirFactors({"B02": cells}, info)
    part = Lattice("EPSG:32633", 10.0, (LEFT + 7000, TOP - 9000, LEFT + 9000, TOP - 8000))
    stored = np.full(part.shape_yx, 11_000, "uint16")
    found = (factors.apply(stored, "B02", part).astype(float) - 1000) / 10_000
    y, x = (8005 - 2500) / 5000, (7005 - 2500) / 5000
    wy, wx = y - 1, x - 0
    expected = (1 - wy) * ((1 - wx) * cells[1, 0] + wx * cells[1, 1]) + wy * ((1 - wx) * cells[2, 0] + wx * cells[2, 1])
    assert found[0, 0] == pytest.approx(expected, abs=1e-4)
