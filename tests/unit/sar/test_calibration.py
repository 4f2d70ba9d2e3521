"""Calibration and denoising: slow oracle, equal bits for any window, simulated backscatter under real annotation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.errors import UsageError
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.sar.calibration import (
    calibrate,
    calibrate_complex,
    calibrated_noise,
    calibration_factor,
    prepare_radiometry,
)
from landcover_cli.sar.noise import noise_power
from landcover_cli.sar.types import S1Channel

GRD_331 = "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20210119T031653_20210119T031718_036201_043ED0_8255.zip"
GRD_270 = "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150203T043109_20150203T043134_004454_00574F_6D00.zip"
GRD_236 = "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150222T170725_20150222T170750_004739_005DD8_CEAB.zip"
ROME = "sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"
MOROCCO = "eo_tools_morocco/SAFE/S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1.SAFE"
ALPS_SLC = "xarray_sentinel/S1B_IW_SLC__1SDV_20210401T052622_20210401T052650_026269_032297_EFA4.zip"


@pytest.fixture
def channel(shared_data: Callable[[str], Path]) -> Callable[..., S1Channel]:
    def load(name: str, swath: str = "IW", polarisation: str = "VV") -> S1Channel:
        product = open_s1_product(shared_data(f"s1/{name}"))
        return product.channel(polarisation, swath, need_measurement=False)

    return load


def slow_factor(channel: S1Channel, kind: str, line: int, pixel: int) -> float:
    """A of one pixel, written from the definition."""
    annotation = channel.annotation
    image, timing = annotation.image, annotation.swath_timing
    start, row = image.first_line_time_s, line
    if timing.bursts:
        start = timing.bursts[line // timing.lines_per_burst].azimuth_time_s
        row = line % timing.lines_per_burst
    vectors = channel.calibration.vectors
    values = [float(np.interp(pixel, v.pixel, getattr(v, kind))) for v in vectors]
    time_s = start + row * image.azimuth_time_interval_s
    return float(np.interp(time_s, [v.azimuth_time_s for v in vectors], values))


@pytest.mark.parametrize("kind", ["sigma0", "beta0", "gamma0"])
@pytest.mark.parametrize(
    ("name", "swath"),
    [(GRD_331, "IW"), (GRD_270, "IW"), (GRD_236, "IW"), (ROME, "IW"), (MOROCCO, "IW1"), (ALPS_SLC, "IW1")],
)
def test_backscatter_equals_the_slow_oracle(
    name: str, swath: str, kind: str, channel: Callable[..., S1Channel]
) -> None:
    loaded = channel(name, swath)
    lines, pixels = loaded.annotation.image.shape_yx
    radiometry = prepare_radiometry(loaded, backscatter=kind)
    rng = np.random.default_rng(3)
    for line in (0, lines - 1, *rng.integers(0, lines, 3)):
        dn = rng.integers(1, 2000, (1, pixels)).astype(np.uint16)
        got = calibrate(dn, radiometry, first_line=int(line), first_pixel=0)[0]
        noise = np.zeros(pixels)
        if radiometry.noise is not None:
            noise = noise_power(radiometry.noise, int(line), 0, (1, pixels))[0]
        for pixel in (0, pixels - 1, *rng.integers(0, pixels, 25)):
            factor = slow_factor(loaded, kind, int(line), int(pixel))
            expected = (float(dn[0, pixel]) ** 2 - noise[pixel]) / factor**2
            # 1e-6 relative to the power before subtraction, beyond which float32 holds no digits of a small difference.
            assert abs(got[pixel] - expected) <= 1e-6 * max(abs(expected), dn[0, pixel] ** 2 / factor**2)


@given(y=st.integers(0, 90), x=st.integers(0, 110), height=st.integers(1, 30), width=st.integers(1, 40))
def test_any_window_gives_the_same_bits(
    y: int, x: int, height: int, width: int, shared_data: Callable[[str], Path]
) -> None:
    radiometry, dn, whole = _scene(shared_data)
    part = dn[y : y + height, x : x + width]
    got = calibrate(part, radiometry, first_line=1300 + y, first_pixel=8700 + x)
    np.testing.assert_array_equal(got, whole[y : y + height, x : x + width])


_CACHE: dict[str, tuple] = {}


def _scene(shared_data: Callable[[str], Path]) -> tuple:
    if "scene" not in _CACHE:
        product = open_s1_product(shared_data(f"s1/{GRD_331}"))
        radiometry = prepare_radiometry(product.channel("VH", need_measurement=False))
        # Across a calibration vector (line 1348) and the border of two sub-swaths (pixel 8743).
        dn = np.random.default_rng(0).integers(0, 300, (120, 150)).astype(np.uint16)
        _CACHE["scene"] = (radiometry, dn, calibrate(dn, radiometry, first_line=1300, first_pixel=8700))
    return _CACHE["scene"]


def test_zero_is_nodata_and_negatives_are_kept(shared_data: Callable[[str], Path]) -> None:
    _, dn, whole = _scene(shared_data)
    np.testing.assert_array_equal(np.isnan(whole), dn == 0)
    assert (whole[dn > 0] < 0).any() and whole.dtype == np.float32


@pytest.mark.parametrize("level_db", [-17.0, -7.0])
@pytest.mark.parametrize(
    ("name", "swath", "polarisation"),
    [
        (GRD_331, "IW", "VV"),
        (GRD_331, "IW", "VH"),
        (GRD_270, "IW", "VV"),
        (GRD_236, "IW", "VV"),
        (ROME, "IW", "VV"),
        (MOROCCO, "IW1", "VV"),
        (ALPS_SLC, "IW2", "VH"),
    ],
)
def test_simulated_backscatter_comes_back(
    name: str, swath: str, polarisation: str, level_db: float, channel: Callable[..., S1Channel]
) -> None:
    """Speckled signal plus speckled noise, rounded to digital numbers: the mean returns within 0.01 dB."""
    loaded = channel(name, swath, polarisation)
    radiometry = prepare_radiometry(loaded, backscatter="sigma0")
    shape, line, pixel = (1200, 2000), 4000, 7900
    factor = calibration_factor(radiometry, line, pixel, shape)
    noise = np.zeros(shape)
    if radiometry.noise is not None:
        noise = noise_power(radiometry.noise, line, pixel, shape)
    sigma0 = 10 ** (level_db / 10)
    rng = np.random.default_rng(11)
    looks = 4.4 if loaded.annotation.meta.product_type == "GRD" else 1.0
    power = (sigma0 * factor**2 + noise) * rng.gamma(looks, 1 / looks, shape)
    if looks > 1:
        dn = np.rint(np.sqrt(power)).astype(np.uint16)
    else:
        phase = rng.uniform(0, 2 * np.pi, shape)
        dn = (np.rint(np.sqrt(power) * np.cos(phase)) + 1j * np.rint(np.sqrt(power) * np.sin(phase))).astype(
            np.complex64
        )
    got = calibrate(dn, radiometry, first_line=line, first_pixel=pixel)
    # A number that rounds to zero is nodata; the true mean counts it as no power.
    mean = np.nansum(got, dtype=np.float64) / got.size
    assert got.size >= 1e6
    assert abs(10 * np.log10(mean) - level_db) <= 0.01


def test_pure_noise_averages_to_nothing(channel: Callable[..., S1Channel]) -> None:
    loaded = channel(GRD_331, polarisation="VH")
    radiometry = prepare_radiometry(loaded)
    shape = (1000, 1000)
    noise = noise_power(radiometry.noise, 0, 0, shape)
    dn = np.rint(np.sqrt(noise * np.random.default_rng(4).gamma(4.4, 1 / 4.4, shape))).astype(np.uint16)
    got = calibrate(dn, radiometry, first_line=0, first_pixel=0)
    floor = calibrated_noise(radiometry, first_line=0, first_pixel=0, shape_yx=shape)
    assert abs(np.nanmean(got)) < 2e-3 * floor.mean()
    assert 0.45 < (got < 0).mean() < 0.65


def test_complex_amplitudes_square_to_backscatter(channel: Callable[..., S1Channel]) -> None:
    loaded = channel(MOROCCO, "IW1")
    radiometry = prepare_radiometry(loaded, backscatter="beta0", denoise="off")
    assert radiometry.noise_state == "kept"
    rng = np.random.default_rng(8)
    slc = (rng.normal(0, 90, (40, 50)) + 1j * rng.normal(0, 90, (40, 50))).astype(np.complex64)
    slc[0, 0] = 0
    amplitude = calibrate_complex(slc, radiometry, first_line=1500, first_pixel=400)
    power = calibrate(slc, radiometry, first_line=1500, first_pixel=400)
    np.testing.assert_allclose(np.abs(amplitude[1:]) ** 2, power[1:], rtol=1e-6)
    assert amplitude[0, 0] == 0 and np.isnan(power[0, 0])
    assert not calibrated_noise(radiometry, first_line=0, first_pixel=0, shape_yx=(2, 2)).any()
    denoised = prepare_radiometry(loaded, backscatter="beta0")
    floor = calibrated_noise(denoised, first_line=1500, first_pixel=400, shape_yx=(40, 50))
    both = calibrate(slc, denoised, first_line=1500, first_pixel=400)
    np.testing.assert_allclose((power - floor)[1:], both[1:], rtol=1e-5, atol=1e-7)


def test_a_noise_rectangle_that_starts_in_the_window_takes_the_factors_of_its_own_lines(
    channel: Callable[..., S1Channel],
) -> None:
    loaded = channel(GRD_331)
    # Factors that change along the track, unlike in the products at hand, and a rectangle from line 650 on.
    vectors = tuple(
        replace(v, sigma0=v.sigma0 * (1 + 0.1 * i)) for i, v in enumerate(loaded.calibration.vectors)
    )  # fmt: skip
    upper, lower = (replace(loaded.noise.azimuth_blocks[0], first_line=a, last_line=b, first_pixel=0, last_pixel=99)
                    for a, b in ((0, 649), (650, 16853)))  # fmt: skip
    changed = replace(
        loaded,
        calibration=replace(loaded.calibration, vectors=vectors),
        noise=replace(loaded.noise, azimuth_blocks=(upper, lower)),
    )
    radiometry = prepare_radiometry(changed, backscatter="sigma0")
    dn = np.full((400, 120), 500, dtype=np.uint16)
    got = calibrate(dn, radiometry, first_line=600, first_pixel=0)
    factor = calibration_factor(radiometry, 600, 0, dn.shape)
    noise = noise_power(radiometry.noise, 600, 0, dn.shape)
    np.testing.assert_allclose(got, (500.0**2 - noise) / factor**2, rtol=1e-6)
    assert factor[0, 0] != factor[300, 0]


def test_columns_of_another_memory_order_give_the_same(shared_data: Callable[[str], Path]) -> None:
    radiometry, dn, whole = _scene(shared_data)
    got = calibrate(np.asfortranarray(dn), radiometry, first_line=1300, first_pixel=8700)
    np.testing.assert_array_equal(got, whole)


def test_noise_that_the_processor_removed_stays_removed(channel: Callable[..., S1Channel]) -> None:
    loaded = channel(GRD_331)
    done = replace(loaded, annotation=replace(loaded.annotation, thermal_noise_removed=True))
    assert prepare_radiometry(done).noise is None
    assert prepare_radiometry(done, denoise="force").noise is not None
    with pytest.raises(UsageError, match="'sigma1' is unknown"):
        prepare_radiometry(loaded, backscatter="sigma1")  # type: ignore[arg-type]
