"""Slant to ground range and back, against the processor's own geolocation grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.errors import InputError
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.sar.srgr import ground_to_slant, slant_range_m, slant_to_ground, srgr_table
from landcover_cli.sar.types import S1Annotation, SrgrRecord

NEW = [
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150203T043109_20150203T043134_004454_00574F_6D00.zip",
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20210119T031653_20210119T031718_036201_043ED0_8255.zip",
    "sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE",
    "xarray_sentinel/S1B_IW_GRDH_1SDV_20210401T052623_20210401T052648_026269_032297_ECC8.SAFE",
]
OLD = [
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150203T043109_20150203T043134_004454_00574F_FEC3.zip",
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150222T170725_20150222T170750_004739_005DD8_CEAB.zip",
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150222T170750_20150222T170815_004739_005DD8_3768.zip",
]


def annotation_of(path: Path) -> S1Annotation:
    return open_s1_product(path).annotation("VV")


@pytest.mark.parametrize("name", NEW + OLD)
def test_the_ground_polynomial_returns_the_processors_slant_range(
    name: str, shared_data: Callable[[str], Path]
) -> None:
    annotation = annotation_of(shared_data(f"s1/{name}"))
    grid, table = annotation.geolocation, srgr_table(annotation.srgr)
    # IPF 2.36 made its last row with a record that it does not deliver.
    use = grid.azimuth_time_s <= table.time_s[-1] + 0.5
    assert use.mean() >= 0.9
    ground_m = grid.pixel[use] * annotation.image.range_spacing_m
    slant_m = slant_range_m(grid.slant_range_time_s[use])
    time_s = grid.azimuth_time_s[use]
    got, _ = ground_to_slant(table, ground_m, time_s, mode="nearest")
    np.testing.assert_allclose(got, slant_m, rtol=0, atol=1e-6)
    back, _ = slant_to_ground(table, slant_m, time_s, mode="nearest")
    np.testing.assert_allclose(back, ground_m, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NEW)
def test_the_fitted_polynomial_is_within_a_fiftieth_of_a_pixel(name: str, shared_data: Callable[[str], Path]) -> None:
    annotation = annotation_of(shared_data(f"s1/{name}"))
    grid, table = annotation.geolocation, srgr_table(annotation.srgr)
    slant_m = slant_range_m(grid.slant_range_time_s)
    ground, _ = slant_to_ground(table, slant_m, grid.azimuth_time_s, mode="nearest", polynomial="srgr")
    assert np.abs(ground / annotation.image.range_spacing_m - grid.pixel).max() <= 0.02


@pytest.mark.parametrize("polynomial", ["srgr", "grsr"])
@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("name", [NEW[1], OLD[0]])
def test_there_and_back_is_exact_and_the_slope_is_the_derivative(
    name: str, mode: str, polynomial: str, shared_data: Callable[[str], Path]
) -> None:
    annotation = annotation_of(shared_data(f"s1/{name}"))
    table = srgr_table(annotation.srgr)
    rng = np.random.default_rng(2)
    ground = rng.uniform(0, 250e3, 500)
    time_s = rng.uniform(-3, 28, 500)
    options = {"mode": mode, "polynomial": polynomial}
    slant, slope = ground_to_slant(table, ground, time_s, **options)
    back, inverse = slant_to_ground(table, slant, time_s, **options)
    np.testing.assert_allclose(back, ground, rtol=0, atol=1e-6)
    np.testing.assert_allclose(slope * inverse, 1.0, rtol=1e-9)
    ahead, _ = ground_to_slant(table, ground + 1.0, time_s, **options)
    behind, _ = ground_to_slant(table, ground - 1.0, time_s, **options)
    np.testing.assert_allclose((ahead - behind) / 2, slope, rtol=1e-6)


def record(time_s: float, srgr: list[float], grsr: list[float]) -> SrgrRecord:
    return SrgrRecord(time_s, 5e-3, 8e5, np.array(srgr), 0.0, np.array(grsr))


@given(st.floats(0, 1), st.floats(0, 2e5))
def test_linear_mode_blends_the_two_neighbours(share: float, ground_m: float) -> None:
    table = srgr_table([record(0.0, [0, 2.0], [8e5, 0.5]), record(1.0, [0, 1.6], [8.1e5, 0.6, 1e-8])])
    got, _ = ground_to_slant(table, ground_m, share)
    first, second = 8e5 + 0.5 * ground_m, 8.1e5 + 0.6 * ground_m + 1e-8 * ground_m**2
    assert float(got) == pytest.approx(first + share * (second - first), rel=1e-12)


def test_beyond_the_records_the_nearest_one_holds() -> None:
    table = srgr_table([record(0.0, [0, 2.0], [8e5, 0.5]), record(1.0, [0, 2.0], [8.1e5, 0.5])])
    got, _ = ground_to_slant(table, 0.0, np.array([-5.0, 0.0, 1.0, 9.0]))
    np.testing.assert_allclose(got, [8e5, 8e5, 8.1e5, 8.1e5])
    near, _ = ground_to_slant(table, 0.0, np.array([0.4, 0.6]), mode="nearest")
    np.testing.assert_allclose(near, [8e5, 8.1e5])


def test_no_records_and_records_out_of_order_are_refused() -> None:
    with pytest.raises(InputError, match="0 slant-to-ground records"):
        srgr_table([], product_id="slc")
    with pytest.raises(InputError, match="increasing"):
        srgr_table([record(1.0, [0, 2.0], [8e5, 0.5]), record(0.0, [0, 2.0], [8e5, 0.5])])


def test_a_polynomial_that_cannot_be_inverted_gives_nan() -> None:
    table = srgr_table([record(0.0, [0.0, 2.0], [8e5, 0.0, 1e-6])])
    got, _ = slant_to_ground(table, 7e5, 0.0)
    assert np.isnan(got)
