"""Simulated pixels under real annotation: what was put in comes out of the chain, whatever the processor's version."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from landcover_cli.demo.sentinel1_annotated import (
    calibration_factor,
    copy_annotation,
    derive_ew,
    derive_polarisation,
    noise_power,
    simulate_under_annotation,
)
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.safe_s1 import open_measurement, open_s1_product
from landcover_cli.sar import noise as chain_noise
from landcover_cli.sar.calibration import calibrate, prepare_radiometry
from landcover_cli.sar.calibration import calibration_factor as chain_factor

PYROSAR = "s1/pyrosar_grd_meta/S1A_IW_GRDH_1SDV_"
GRD_331 = f"{PYROSAR}20210119T031653_20210119T031718_036201_043ED0_8255.zip"
GRD_270 = f"{PYROSAR}20150203T043109_20150203T043134_004454_00574F_6D00.zip"
GRD_236 = f"{PYROSAR}20150203T043109_20150203T043134_004454_00574F_FEC3.zip"
ROME = "s1/sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"
MOROCCO = "s1/eo_tools_morocco/SAFE/S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1.SAFE"
NO_TABLES = "s1/xarray_sentinel/S1B_IW_GRDH_1SDV_20210401T052623_20210401T052648_026269_032297_ECC8.SAFE"


def backscatter_mean(path: Path, polarisation: str, box: tuple[int, int, int, int]) -> float:
    product = open_s1_product(path)
    channel = product.channel(polarisation)
    line0, pixel0, _height, _width = box
    with open_measurement(channel) as measurement:
        numbers = measurement.read(*box)
    radiometry = prepare_radiometry(channel, backscatter="sigma0")
    found = calibrate(numbers, radiometry, first_line=line0, first_pixel=pixel0)
    assert np.isfinite(found).all() or product.meta.product_type == "SLC"
    return float(10 * np.log10(np.nanmean(found, dtype=np.float64)))


@pytest.mark.parametrize("name", [GRD_331, GRD_270, GRD_236, ROME, MOROCCO])
def test_known_backscatter_comes_back(name: str, shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """A million pixels at −7 and −17 dB: the means return within 0.01 dB (0.02 dB for the single look of an SLC)."""
    truth = {"VV": -7.0, "VH": -17.0}
    annotation = open_s1_product(shared_data(name)).annotation("VV")
    lines, pixels = annotation.image.shape_yx
    box = (lines // 2 - 500, pixels // 3 - 520, 1024, 1024)
    path = simulate_under_annotation(
        shared_data(name), tmp_path, sigma0_db=truth, seed=11, window=box, derive_vh=name == ROME
    )
    slc = annotation.meta.product_type == "SLC"
    for polarisation, level in truth.items():
        # Numbers are whole: DN² of a complex pixel is 1/6 too high on the mean, 0.001 dB of the darkest signal here.
        found = backscatter_mean(path, polarisation, box)
        assert found == pytest.approx(level, abs=0.02 if slc else 0.01)


@pytest.mark.parametrize("name", [GRD_331, GRD_270, ROME, MOROCCO])
def test_tables_agree_with_the_chain(name: str, shared_data: Callable[[str], Path]) -> None:
    product = open_s1_product(shared_data(name))
    channel = product.channel("VV", need_measurement=False)
    lines, pixels = channel.annotation.image.shape_yx
    radiometry = prepare_radiometry(channel, backscatter="sigma0")
    model = chain_noise.noise_model(channel.annotation, channel.noise)
    width = min(1500, pixels)
    for line0, pixel0 in ((0, 0), (lines // 2, pixels // 3 - 700), (lines - 40, pixels - width)):
        line, pixel = np.arange(line0, line0 + 40), np.arange(pixel0, pixel0 + width)
        shape = (40, width)
        expected = chain_factor(radiometry, line0, pixel0, shape)
        np.testing.assert_allclose(calibration_factor(channel, line, pixel), expected, rtol=1e-9)
        expected = chain_noise.noise_power(model, line0, pixel0, shape)
        np.testing.assert_allclose(noise_power(channel, line, pixel), expected, rtol=1e-9)


def test_pixels_do_not_depend_on_the_window(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    def write(name: str, window: tuple[int, int, int, int], seed: int = 1) -> np.ndarray:
        path = simulate_under_annotation(
            shared_data(GRD_331), tmp_path / name, sigma0_db=-12.0, seed=seed, window=window
        )
        with rasterio.open(open_s1_product(path).channel("VV").measurement) as image:
            assert image.shape == open_s1_product(path).annotation("VV").image.shape_yx
            return image.read(1, window=((900, 1700), (900, 1700)))

    large = write("a", (1000, 1000, 600, 600))
    small = write("b", (1200, 1300, 100, 50))
    assert np.array_equal(small[300:400, 400:450], large[300:400, 400:450])
    assert small.astype(bool).sum() == 5000 and large.astype(bool).sum() == 360_000
    assert not np.array_equal(write("c", (1000, 1000, 600, 600), seed=2), large)


def test_backscatter_may_be_a_function_of_the_place(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    def halves(line: np.ndarray, pixel: np.ndarray) -> np.ndarray:
        return np.where(pixel < 8000, 0.2, 0.02) + 0 * line

    path = simulate_under_annotation(
        shared_data(ROME), tmp_path, sigma0_db=halves, seed=1, window=(4000, 7700, 300, 600)
    )
    assert backscatter_mean(path, "VV", (4000, 7700, 300, 300)) == pytest.approx(10 * np.log10(0.2), abs=0.05)
    assert backscatter_mean(path, "VV", (4000, 8000, 300, 300)) == pytest.approx(10 * np.log10(0.02), abs=0.05)


def test_what_is_derived_is_marked(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    safe = copy_annotation(shared_data(ROME), tmp_path)
    derive_polarisation(safe)
    renamed = derive_ew(safe)
    assert renamed.name.startswith("S1B_EW_GRDH_1SDV_") and not safe.exists()
    marks = (renamed / "DERIVED.txt").read_text(encoding="utf-8")
    assert "VH is a derived copy of VV" in marks and "no EW product" in marks
    copies = list((renamed / "annotation").rglob("*-vh-*.xml"))
    assert len(copies) == 4 and all("derived copy" in p.read_text(encoding="utf-8") for p in copies)
    product = open_s1_product(renamed)
    assert (product.meta.mode, product.swaths, product.polarisations) == ("EW", ("EW",), ("VV", "VH"))
    channel = product.channel("VH", need_measurement=False)
    assert channel.annotation.polarisation == "VH" and channel.annotation.swath == "EW"
    assert {b.swath for b in channel.noise.azimuth_blocks} == {"EW1", "EW2", "EW3"}
    # A second time changes nothing.
    derive_polarisation(renamed)
    assert (renamed / "DERIVED.txt").read_text(encoding="utf-8") == marks


def test_what_cannot_be_simulated_is_refused(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"calibration-.* is missing"):
        simulate_under_annotation(shared_data(NO_TABLES), tmp_path / "a", sigma0_db=-10, seed=1)
    with pytest.raises(UsageError, match="leaves the image"):
        simulate_under_annotation(shared_data(ROME), tmp_path / "b", sigma0_db=-10, seed=1, window=(0, 26_000, 10, 200))
    with pytest.raises(UsageError, match="no IW GRD"):
        derive_ew(tmp_path / "S1A_IW_SLC__1SDV.SAFE")
    safe = copy_annotation(shared_data(ROME), tmp_path / "c")
    with pytest.raises(InputError, match="no polarisation HH"):
        derive_polarisation(safe, source="HH", target="HV")
