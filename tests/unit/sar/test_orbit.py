"""Orbit interpolation against an analytic orbit and against itself on every real annotation at hand.

Tolerances between the two interpolators, per axis: 1 mm on precise orbits, 10 mm on other annotations from IPF 2.70
on, 25 mm at IPF 2.36 (METHODS: agreement of Hermite and least squares; the vectors themselves are no better).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from landcover_cli.errors import InputError
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.sar.orbit import (
    crop_orbit,
    even_times,
    fit_hermite,
    fit_polynomial,
    interpolate_orbit,
)
from landcover_cli.sar.types import OrbitStateVectors

EPOCH = np.datetime64("2021-01-01T00:00:00", "ns")
RADIUS_M, RATE, EARTH = 7.07e6, 2 * np.pi / 5924.0, 7.2921e-5

PRODUCTS = [
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150203T043109_20150203T043134_004454_00574F_6D00.zip",
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150203T043109_20150203T043134_004454_00574F_FEC3.zip",
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150222T170725_20150222T170750_004739_005DD8_CEAB.zip",
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150222T170750_20150222T170815_004739_005DD8_3768.zip",
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20210119T031653_20210119T031718_036201_043ED0_8255.zip",
    "sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE",
    "sarsen_rome/S1A_IW_SLC__1SDV_20220104T170557_20220104T170624_041314_04E951_F1F1.SAFE",
    "xarray_sentinel/S1B_IW_GRDH_1SDV_20210401T052623_20210401T052648_026269_032297_ECC8.SAFE",
    "xarray_sentinel/S1B_IW_SLC__1SDV_20210401T052622_20210401T052650_026269_032297_EFA4.zip",
    "eo_tools_morocco/SAFE/S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1.SAFE",
]


def truth(time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A circular polar orbit seen from the rotating Earth, differentiated by hand through complex numbers."""
    # In the equatorial plane: w = r cos(nt) e^{-iΩt}; along the axis: z = r sin(nt).
    n, omega, t = RATE, EARTH, np.asarray(time_s)
    spin = np.exp(-1j * omega * t)
    w0 = RADIUS_M * np.cos(n * t)
    w1 = -RADIUS_M * n * np.sin(n * t)
    w2 = -(n**2) * w0
    w = w0 * spin
    dw = (w1 - 1j * omega * w0) * spin
    ddw = (w2 - 2j * omega * w1 - omega**2 * w0) * spin
    z, dz = RADIUS_M * np.sin(n * t), RADIUS_M * n * np.cos(n * t)
    return tuple(  # type: ignore[return-value]
        np.stack([a.real, a.imag, b], axis=-1) for a, b in ((w, z), (dw, dz), (ddw, -(n**2) * z))
    )


def orbit(step_s: float = 10.0, count: int = 17, start_s: float = -65.0) -> OrbitStateVectors:
    time_s = start_s + step_s * np.arange(count)
    position, velocity, _ = truth(time_s)
    return OrbitStateVectors(EPOCH, time_s, position, velocity, "analytic")


@pytest.mark.parametrize("fit", [fit_hermite, fit_polynomial])
def test_both_interpolators_follow_an_analytic_orbit(fit: Callable) -> None:
    time_s = np.linspace(-5, 30, 701)
    for got, expected, tolerance in zip(fit(orbit()).state(time_s), truth(time_s), (1e-6, 1e-6, 1e-5), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


def test_hermite_passes_through_every_vector_with_its_velocity() -> None:
    vectors = orbit(count=6)
    position, velocity, _ = fit_hermite(vectors).state(vectors.time_s)
    np.testing.assert_allclose(position, vectors.position_m, rtol=0, atol=1e-7)
    np.testing.assert_allclose(velocity, vectors.velocity_ms, rtol=0, atol=1e-7)


def test_velocity_and_acceleration_are_the_derivatives_of_the_position() -> None:
    interpolator = fit_hermite(orbit())
    t, h = np.linspace(0.1, 24.9, 57), 1e-2
    position, velocity, acceleration = interpolator.state(t)
    after, v_after, _ = interpolator.state(t + h)
    before, v_before, _ = interpolator.state(t - h)
    np.testing.assert_allclose((after - before) / (2 * h), velocity, rtol=0, atol=2e-6)
    np.testing.assert_allclose((v_after - v_before) / (2 * h), acceleration, rtol=0, atol=2e-6)
    assert position.shape == (57, 3)


def test_a_scalar_time_gives_one_vector() -> None:
    assert fit_hermite(orbit()).state(3.0)[0].shape == (3,)


def test_rounded_times_are_made_even_again_and_uneven_ones_are_left() -> None:
    exact = orbit()
    rng = np.random.default_rng(1)
    rounded = replace(exact, time_s=exact.time_s + rng.choice([-5e-7, 5e-7], len(exact.time_s)))
    assert np.ptp(np.diff(even_times(rounded).time_s)) < 1e-12
    assert np.abs(even_times(rounded).time_s - exact.time_s).max() < 5e-7
    uneven = replace(exact, time_s=exact.time_s + np.linspace(0, 1e-3, len(exact.time_s)) ** 2 * 10)
    assert even_times(uneven) is uneven


def test_cropping_keeps_what_the_margin_needs_and_at_least_four() -> None:
    day = orbit(count=2000, start_s=-10000.0)
    cropped = crop_orbit(day, 0.0, 25.0, margin_s=60.0)
    assert cropped.time_s[0] <= -60.0 and cropped.time_s[-1] >= 85.0 and len(cropped.time_s) < 20
    assert len(crop_orbit(day, day.time_s[-1], day.time_s[-1], margin_s=1.0).time_s) == 4


def test_an_orbit_of_another_time_is_refused_with_what_is_missing() -> None:
    with pytest.raises(InputError, match=r"misses 0\.0 s before and 4905\.0 s after"):
        interpolate_orbit(orbit(), 4975.0, 5000.0)
    with pytest.raises(InputError, match="four are needed"):
        fit_hermite(orbit(count=3))
    with pytest.raises(InputError, match="degree 4"):
        fit_polynomial(orbit(), degree=4)


@pytest.mark.parametrize("name", PRODUCTS)
def test_interpolators_agree_on_real_annotations(name: str, shared_data: Callable[[str], Path]) -> None:
    product = open_s1_product(shared_data(f"s1/{name}"))
    swath, polarisation = product.channels[0]
    annotation = product.annotation(polarisation, swath)
    first, last = annotation.image.first_line_time_s, annotation.image.last_line_time_s
    time_s = np.linspace(first, last, 1001)
    hermite = interpolate_orbit(annotation.orbit, first, last).state(time_s)[0]
    squares = interpolate_orbit(annotation.orbit, first, last, method="polynomial").state(time_s)[0]
    tolerance_m = 1e-3 if annotation.orbit_source == "Auxiliary" else 10e-3
    if product.meta.ipf_version < (2, 70):
        tolerance_m = 25e-3
    assert np.abs(hermite - squares).max() <= tolerance_m
