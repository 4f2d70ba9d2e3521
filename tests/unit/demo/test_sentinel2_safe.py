"""One small product: images without loss, metadata as ESA writes it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.demo.reflectance import BANDS, BANDS_10M
from landcover_cli.demo.sentinel2_safe import (
    default_offset,
    product,
    to_dn,
    write_l2a_safe,
    write_reflectance_safe,
)
from landcover_cli.errors import UsageError

WHEN = datetime(2021, 6, 2, 10, 14, 11, tzinfo=UTC)
REAL = {
    "05.09": "S2A_MSIL2A_20230625T234621_N0509_R073_T01WCP_20230626T022158.SAFE",
    "02.14": "esa_S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD_20210122T155500.SAFE",
}


def small(baseline: str, tmp_path: Path) -> tuple[Path, dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(3)
    bands = {
        band: rng.integers(0, 65_535, (24, 36) if band in BANDS_10M else (12, 18), dtype=np.uint16) for band in BANDS
    }
    scl = rng.integers(0, 12, (12, 18), dtype=np.uint8)
    about = product(WHEN, shape_10m=(24, 36), baseline=baseline)
    return write_l2a_safe(tmp_path, about, bands, scl), bands, scl


def outline(root: ET.Element) -> set[tuple[str, tuple[str, ...]]]:
    """Every element as (path of tags, attribute names); namespaces included."""
    found = set()

    def walk(element: ET.Element, path: str) -> None:
        here = f"{path}/{element.tag}"
        found.add((here, tuple(sorted(name for name in element.attrib if "schemaLocation" not in name))))
        for child in element:
            walk(child, here)

    walk(root, "")
    return found


@pytest.mark.parametrize("baseline", ["05.09", "02.14"])
@pytest.mark.parametrize("pattern", ["MTD_MSIL2A.xml", "GRANULE/*/MTD_TL.xml"])
def test_metadata_is_built_like_a_real_product(
    baseline: str, pattern: str, tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    safe, _, _ = small(baseline, tmp_path)
    real = next((shared_data("optical/stactools-sentinel2") / REAL[baseline]).glob(pattern))
    ours = ET.parse(next(safe.glob(pattern))).getroot()
    assert outline(ours) - outline(ET.parse(real).getroot()) == set()


@pytest.mark.parametrize("baseline", ["05.09", "02.14"])
def test_identifiers_have_the_form_of_a_real_product(
    baseline: str, tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    safe, _, _ = small(baseline, tmp_path)
    real = shared_data("optical/stactools-sentinel2") / REAL[baseline] / "MTD_MSIL2A.xml"

    def form(path: Path) -> list[str]:
        root = ET.parse(path).getroot()
        granule = next(root.iter("Granule"))
        image = next(element.text for element in granule if element.text.endswith("B8A_20m"))
        take = next(root.iter("Datatake")).attrib["datatakeIdentifier"]
        texts = [granule.attrib["datastripIdentifier"], granule.attrib["granuleIdentifier"], image, take]
        texts += [next(root.iter(tag)).text for tag in ("PRODUCT_URI", "PRODUCT_START_TIME")]
        return [re.sub(r"2APS|VGS2", "CCCC", re.sub(r"\d\d[A-Z]{3}(?=[/_.])", "TTTTT", re.sub(r"S2[AB]", "S2X", t)))
                for t in texts]  # fmt: skip

    ours = [re.sub(r"\d", "9", text) for text in form(safe / "MTD_MSIL2A.xml")]
    theirs = [re.sub(r"\d", "9", text) for text in form(real)]
    assert ours == theirs


def test_images_hold_the_numbers(tmp_path: Path) -> None:
    safe, bands, scl = small("05.09", tmp_path)
    root = ET.parse(safe / "MTD_MSIL2A.xml").getroot()
    listed = [element.text or "" for element in root.iter("IMAGE_FILE")]
    assert len(listed) == 11
    for stem in listed:
        name, gsd_m = stem.split("_")[-2], int(stem.split("_")[-1].rstrip("m"))
        with rasterio.open(safe / f"{stem}.jp2") as source:
            assert np.array_equal(source.read(1), scl if name == "SCL" else bands[name])
            assert source.transform[:6] == (gsd_m, 0, 345_600, 0, -gsd_m, 5_379_840)
            assert source.crs.to_epsg() == 32633
            assert source.nodata is None


def test_gdal_takes_it_for_a_product(tmp_path: Path) -> None:
    safe, bands, _ = small("05.09", tmp_path)
    with rasterio.Env() as env:
        if "SENTINEL2" not in env.drivers():
            pytest.skip("GDAL without its Sentinel-2 driver")
    with rasterio.open(f"SENTINEL2_L2A:{safe / 'MTD_MSIL2A.xml'}:10m:EPSG_32633") as source:
        numbers = source.read()
    assert {tuple(band.ravel()) for band in numbers} >= {tuple(bands[name].ravel()) for name in BANDS_10M}


def test_manifest_lists_every_file(tmp_path: Path) -> None:
    safe, _, _ = small("05.09", tmp_path)
    root = ET.parse(safe / "manifest.safe").getroot()
    listed = {}
    for stream in root.iter("byteStream"):
        location, checksum = stream.find("fileLocation"), stream.find("checksum")
        assert location is not None
        assert checksum is not None
        listed[location.attrib["href"].removeprefix("./")] = checksum.text
    files = {p.relative_to(safe).as_posix(): p for p in safe.rglob("*") if p.is_file() and p.name != "manifest.safe"}
    assert listed == {name: hashlib.md5(path.read_bytes()).hexdigest() for name, path in files.items()}


def test_offset_follows_the_baseline_unless_told(tmp_path: Path) -> None:
    assert default_offset("03.01") is None
    assert default_offset("04.00") == -1000
    assert default_offset("05.11") == -1000
    assert product(WHEN, shape_10m=(2, 2), baseline="02.14", offset=-1000).offset == -1000
    old, _, _ = small("03.01", tmp_path)
    assert not list(ET.parse(old / "MTD_MSIL2A.xml").getroot().iter("BOA_ADD_OFFSET"))
    new, _, _ = small("04.00", tmp_path)
    entries = list(ET.parse(new / "MTD_MSIL2A.xml").getroot().iter("BOA_ADD_OFFSET"))
    assert [entry.attrib["band_id"] for entry in entries] == [str(index) for index in range(13)]
    assert {entry.text for entry in entries} == {"-1000"}


@given(st.floats(0.0, 1.5), st.sampled_from([None, -1000]))
def test_reflectance_survives_quantisation(value: float, offset: int | None) -> None:
    number = int(to_dn(np.array([value]), offset)[0])
    assert number >= 1
    assert (number + (offset or 0)) / 10_000 == pytest.approx(value, abs=1.01e-4)


def test_outside_the_swath_every_band_is_zero(tmp_path: Path) -> None:
    inside = np.ones((24, 36), bool)
    inside[:, 29:] = False
    scl = np.full((12, 18), 4, np.uint8)
    about = product(WHEN, shape_10m=(1, 1))
    safe = write_reflectance_safe(tmp_path, about, np.full((10, 24, 36), 0.2, np.float32), scl, inside)
    for path in safe.rglob("*_B*_10m.jp2"):
        with rasterio.open(path) as source:
            assert np.array_equal(source.read(1), np.where(inside, 3000, 0))
    for path in safe.rglob("*_B*_20m.jp2"):
        with rasterio.open(path) as source:
            # Column 14 at 20 m holds columns 28 and 29 at 10 m: partly outside is outside.
            assert np.array_equal(np.unique(source.read(1)[:, :14]), [3000])
            assert np.array_equal(np.unique(source.read(1)[:, 14:]), [0])


def test_wrong_shapes_and_names_are_refused(tmp_path: Path) -> None:
    about = product(WHEN, shape_10m=(24, 36))
    scl = np.zeros((12, 18), np.uint8)
    with pytest.raises(UsageError, match=r"B05 has shape \(24, 36\)"):
        write_l2a_safe(tmp_path, about, {"B05": np.ones((24, 36), np.uint16)}, scl)
    with pytest.raises(UsageError, match="'B10'"):
        write_l2a_safe(tmp_path, about, {"B10": np.ones((24, 36), np.uint16)}, scl)
