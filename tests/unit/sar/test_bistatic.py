"""The bistatic residual against its formula, on real annotation, and through geocoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from landcover_cli.errors import InputError
from landcover_cli.io.s1_residual import with_residual
from landcover_cli.io.safe_s1 import S1Product, open_s1_product
from landcover_cli.sar.bistatic import middle_of_grd, residual_of_grd, residual_of_slc
from landcover_cli.sar.geocoding import RadarModel, ground_position, locate, radar_model
from landcover_cli.sar.orbit import interpolate_orbit
from landcover_cli.sar.types import (
    SPEED_OF_LIGHT_MS,
    CalibrationVectors,
    NoiseVectors,
    PulseTiming,
    S1Annotation,
    S1Channel,
)

FOLDER = "s1/xarray_sentinel"
# What the annotation of all IW products at hand says, and what half of it means.
PULSES = {"IW1": (9, 1717.128973878037), "IW2": (8, 1451.62711219399), "IW3": (10, 1685.817302492702)}


@pytest.fixture(scope="module")
def grd(shared_data: Callable[[str], Path]) -> S1Product:
    return open_s1_product(next(shared_data(FOLDER).glob("*GRDH*.SAFE")))


@pytest.fixture(scope="module")
def slc(shared_data: Callable[[str], Path]) -> S1Product:
    """The same pass, IW1 and IW2 in VH."""
    return open_s1_product(next(shared_data(FOLDER).glob("*SLC*.zip")))


def model_of(annotation: S1Annotation) -> RadarModel:
    image = annotation.image
    orbit = interpolate_orbit(annotation.orbit, image.first_line_time_s, image.last_line_time_s)
    return radar_model(annotation, orbit)


def grd_residual(annotation: S1Annotation):
    model = model_of(annotation)
    line, *ends = middle_of_grd(annotation)
    return residual_of_grd(annotation, float(model.slant_range_m(np.full(2, line), np.array(ends)).mean()))


def test_what_the_annotation_says_is_read(grd: S1Product) -> None:
    annotation = grd.annotation("VV")
    assert {p.swath: (p.rank, p.prf_hz) for p in annotation.pulses} == PULSES
    assert annotation.bistatic_applied


def test_the_formula_at_places_of_every_sub_swath(grd: S1Product) -> None:
    annotation = grd.annotation("VV")
    model, residual = model_of(annotation), grd_residual(annotation)
    line, *ends = middle_of_grd(annotation)
    tau_mid = 2.0 * model.slant_range_m(np.full(2, line), np.array(ends)).mean() / SPEED_OF_LIGHT_MS
    for bounds in annotation.swath_merge.bounds:
        rank, prf = PULSES[bounds.swath]
        pixel = np.array([bounds.first_pixel, bounds.first_pixel + 777.25, bounds.last_pixel], dtype=np.float64)
        at = np.full(3, 5000.0)
        slant = model.slant_range_m(at, pixel)
        tau = 2.0 * slant / SPEED_OF_LIGHT_MS
        expected = tau / 2.0 + tau_mid / 2.0 - rank / prf
        np.testing.assert_allclose(residual.seconds(at, pixel, slant), expected, rtol=0, atol=1e-15)
        assert (expected > -1e-5).all() and (expected < 6e-4).all()


def test_grd_and_slc_of_one_pass_agree(grd: S1Product, slc: S1Product) -> None:
    """Mid-swath of the merged image is that of the sub-swath to 2 µs; the residual of a place to 6 mm."""
    own = [slc.annotation("VH", swath) for swath in ("IW1", "IW2")]
    residual = residual_of_slc(own, [20_000.0])
    image = own[1].image
    tau_mid = image.slant_range_time_s + 0.5 * (image.shape_yx[1] - 1) / image.range_sampling_rate_hz
    for k, name in enumerate(("IW1", "IW2")):
        rank, prf = PULSES[name]
        assert residual.delay_s[k] == pytest.approx(0.5 * tau_mid - rank / prf, abs=1e-15)
    merged = grd_residual(grd.annotation("VH"))
    np.testing.assert_allclose(residual.delay_s, merged.delay_s[:2], rtol=0, atol=1e-6)
    slant = np.full(2, 860_000.0)
    jump = np.diff(residual.seconds(np.zeros(2), np.array([19_999.9, 20_000.0]), slant))[0]
    assert jump == pytest.approx(PULSES["IW1"][0] / PULSES["IW1"][1] - PULSES["IW2"][0] / PULSES["IW2"][1], abs=1e-12)


def test_lines_move_by_the_residual_and_back(grd: S1Product) -> None:
    annotation = grd.annotation("VV")
    plain = model_of(annotation)
    moved = replace(plain, bistatic=grd_residual(annotation))
    line, pixel = np.array([1000.0, 8000.0, 16_000.0]), np.array([3000.0, 13_000.0, 22_000.0])
    place = ground_position(plain, line, pixel, 100.0)
    before, after = locate(plain, place), locate(moved, place)
    shift = moved.bistatic.seconds(before.line, before.pixel, before.slant_m) / plain.line_interval_s
    np.testing.assert_allclose(before.line - after.line, shift, atol=1e-9)
    assert np.array_equal(before.pixel, after.pixel) and np.array_equal(before.time_s, after.time_s)
    # 0 to 0.5 ms of lines 1.5 ms apart.
    assert (shift > 0.0).all() and (shift < 0.4).all()
    back = locate(moved, ground_position(moved, line, pixel, 100.0))
    np.testing.assert_allclose(back.line, line, atol=1e-5)
    # The two directions of the range polynomials differ by some mm.
    np.testing.assert_allclose(back.pixel, pixel, atol=1e-2)


def test_borders_follow_the_lines() -> None:
    from landcover_cli.sar.bistatic import BistaticResidual

    borders = ((np.array([0.0, 100.0]), np.array([50.0, 60.0])),)
    residual = BistaticResidual((0.0, 1.0), borders)
    line = np.array([-5.0, 99.0, 100.0, 500.0, np.nan])
    found = residual.seconds(line, np.full(5, 55.0), np.array([0.0, 0.0, 0.0, 0.0, np.nan]))
    np.testing.assert_array_equal(found, [1.0, 1.0, 0.0, 0.0, np.nan])


def test_what_the_annotation_lacks_is_refused(grd: S1Product, slc: S1Product) -> None:
    annotation = grd.annotation("VV")
    with pytest.raises(InputError, match="did not apply its bistatic correction"):
        middle_of_grd(replace(annotation, bistatic_applied=False))
    with pytest.raises(InputError, match="says nothing of the pulses of IW1"):
        residual_of_grd(replace(annotation, pulses=()), 850_000.0)
    twice = (*annotation.pulses, PulseTiming("IW1", 1700.0, 9))
    with pytest.raises(InputError, match="says several things of the pulses of IW1"):
        residual_of_grd(replace(annotation, pulses=twice), 850_000.0)
    with pytest.raises(InputError, match="known for IW and EW, not for SM"):
        middle_of_grd(replace(annotation, meta=replace(annotation.meta, mode="SM")))
    with pytest.raises(InputError, match="does not say where IW2 lies"):
        middle_of_grd(replace(annotation, swath_merge=replace(annotation.swath_merge, bounds=())))
    with pytest.raises(InputError, match="holds no IW2"):
        residual_of_slc([slc.annotation("VH", "IW1")], [])


def test_a_product_that_was_read_gets_its_model(grd: S1Product) -> None:
    annotation = grd.annotation("VV")
    channel = S1Channel(annotation, CalibrationVectors(1.0, ()), NoiseVectors((), ()), "")
    model = with_residual(model_of(annotation), annotation, [[channel]], (1, 4))
    np.testing.assert_array_equal(model.bistatic.delay_s, grd_residual(annotation).delay_s)
