"""Reading Sentinel-1 products: every form they come in, and every way in which they can be broken."""

from __future__ import annotations

import logging
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from landcover_cli.errors import InputError
from landcover_cli.io import safe_archive
from landcover_cli.io.safe_archive import open_archive, parse_xml
from landcover_cli.io.safe_s1 import open_measurement, open_s1_product

ROME = "sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"
STEM = "s1b-iw-grd-vv-20211223t051122-20211223t051147-030148-039993-001"
SLC = "xarray_sentinel/S1B_IW_SLC__1SDV_20210401T052622_20210401T052650_026269_032297_EFA4.zip"

# name: IPF version, mode, class, direction, track, channels, bursts of the first channel
EXPECTED = {
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150203T043109_20150203T043134_004454_00574F_6D00.zip": (
        (2, 70), "H", "DESCENDING", 7, ("VV", "VH"), ("IW",), 0),
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150203T043109_20150203T043134_004454_00574F_FEC3.zip": (
        (2, 36), "H", "DESCENDING", 7, ("VV", "VH"), ("IW",), 0),
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150222T170725_20150222T170750_004739_005DD8_CEAB.zip": (
        (2, 36), "H", "ASCENDING", 117, ("VV", "VH"), ("IW",), 0),
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150222T170750_20150222T170815_004739_005DD8_3768.zip": (
        (2, 36), "H", "ASCENDING", 117, ("VV", "VH"), ("IW",), 0),
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20210119T031653_20210119T031718_036201_043ED0_8255.zip": (
        (3, 31), "H", "DESCENDING", 79, ("VV", "VH"), ("IW",), 0),
    ROME: ((3, 40), "H", "DESCENDING", 22, ("VV",), ("IW",), 0),
    "sarsen_rome/S1A_IW_SLC__1SDV_20220104T170557_20220104T170624_041314_04E951_F1F1.SAFE": (
        (3, 40), "", "ASCENDING", 117, ("VV",), ("IW1",), 9),
    "xarray_sentinel/S1B_IW_GRDH_1SDV_20210401T052623_20210401T052648_026269_032297_ECC8.SAFE": (
        (3, 31), "H", "DESCENDING", 168, ("VV", "VH"), ("IW",), 0),
    SLC: ((3, 31), "", "DESCENDING", 168, ("VV", "VH"), ("IW1", "IW2"), 9),
    "eo_tools_morocco/SAFE/S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1.SAFE": (
        (3, 61), "", "DESCENDING", 52, ("VV", "VH"), ("IW1",), 9),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_every_product_at_hand_is_read(name: str, shared_data: Callable[[str], Path]) -> None:
    version, resolution, direction, track, polarisations, swaths, bursts = EXPECTED[name]
    product = open_s1_product(shared_data(f"s1/{name}"))
    meta = product.meta
    assert (meta.ipf_version, meta.resolution_class, meta.pass_direction) == (version, resolution, direction)
    assert (meta.relative_orbit, product.polarisations, product.swaths) == (track, polarisations, swaths)
    assert meta.mission == Path(name).name[:3] and meta.mode == "IW" and len(meta.footprint_lonlat) == 4
    assert product.epoch == meta.start
    swath, polarisation = product.channels[0]
    annotation = product.annotation(polarisation, swath)
    lines, pixels = annotation.image.shape_yx
    grid = annotation.geolocation
    assert (grid.line.max(), grid.pixel.max()) == (lines - 1, pixels - 1)
    assert len(annotation.swath_timing.bursts) == bursts
    assert bool(annotation.srgr) == (meta.product_type == "GRD")
    assert abs(annotation.line_times_s()[-1] - annotation.image.last_line_time_s) < 2e-3
    assert not annotation.thermal_noise_removed
    if bursts:
        timing = annotation.swath_timing
        assert timing.lines_per_burst * bursts == lines
        # The bursts overlap: a burst starts before the one before it has ended.
        assert (np.diff(annotation.line_times_s()) < 0).sum() == bursts - 1
        assert set(np.unique(np.sign(timing.bursts[0].first_valid_sample))) <= {-1, 0, 1}


def copied(source: Path, target: Path, name: str = "") -> Path:
    """A writable copy of a product."""
    folder = target / (name or source.name)
    for path in source.rglob("*"):
        if path.is_file():
            (folder / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / path.relative_to(source))
    return folder


@pytest.fixture
def rome(shared_data: Callable[[str], Path], tmp_path: Path) -> Path:
    return copied(shared_data(f"s1/{ROME}"), tmp_path)


def zipped(folder: Path, *, entries: bool) -> Path:
    """The folder as a zip, with or without entries for its folders."""
    path = folder.parent / "product.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in sorted([folder, *folder.rglob("*")]):
            if entries or member.is_file():
                archive.write(member, member.relative_to(folder.parent))
    return path


@pytest.mark.parametrize("form", ["folder", "manifest", "zip", "zip without folder entries"])
def test_all_forms_of_a_product_give_the_same_values(form: str, rome: Path) -> None:
    path = {"folder": rome, "manifest": rome / "manifest.safe"}.get(form)
    channel = open_s1_product(path or zipped(rome, entries=form == "zip")).channel("vv")
    expected = open_s1_product(rome).channel("VV")
    np.testing.assert_array_equal(channel.annotation.orbit.position_m, expected.annotation.orbit.position_m)
    np.testing.assert_array_equal(channel.noise.range_vectors[3].lut, expected.noise.range_vectors[3].lut)
    assert len(channel.noise.azimuth_blocks) == 3 and len(channel.calibration.vectors) == 27
    with open_measurement(channel) as pixels:
        assert pixels.shape_yx == channel.annotation.image.shape_yx and not pixels.is_complex
        assert pixels.read(16700, 26000, 5, 102).shape == (5, 102)
        with pytest.raises(InputError, match="leaves the image"):
            pixels.read(16700, 26000, 5, 103)


@pytest.mark.parametrize("marked", ["*", "*.tiff"])
def test_a_cog_variant_and_another_satellite_are_products_too(marked: str, rome: Path) -> None:
    name = rome.name.replace("S1B_", "S1D_").replace(".SAFE", "_COG.SAFE")
    cog = copied(rome, rome.parent / "cog", name)
    for path in list(cog.rglob(f"*{STEM}*")):
        text = path.name.replace("s1b-", "s1d-")
        path.rename(path.with_name(text.replace("-001.", "-001-cog.") if path.match(marked) else text))
    manifest = cog / "manifest.safe"
    manifest.write_text(manifest.read_text().replace("<safe:number>B<", "<safe:number>D<"))
    product = open_s1_product(cog)
    assert product.meta.mission == "S1D" and product.meta.resolution_class == "H"
    with open_measurement(product.channel("VV")) as pixels:
        assert pixels.read(0, 0, 1, 1).dtype == np.uint16


def test_complex_pixels_come_from_inside_a_zip(shared_data: Callable[[str], Path]) -> None:
    product = open_s1_product(shared_data(f"s1/{SLC}"))
    with pytest.raises(InputError, match="IW1, IW2"):
        product.channel("VH")
    with open_measurement(product.channel("VH", "iw2")) as pixels:
        assert pixels.is_complex and pixels.read(100, 200, 3, 4).dtype == np.complex64
    with pytest.raises(InputError, match=r"annotation.*-iw2-.*-vv-.*manifest lists it"):
        product.channel("VV", "IW2")
    with pytest.raises(InputError, match="has no polarisation HH"):
        product.channel("HH", "IW1")


@pytest.mark.parametrize(
    ("member", "named"),
    [
        (f"annotation/calibration/calibration-{STEM}.xml", "calibration-s1b"),
        (f"annotation/calibration/noise-{STEM}.xml", "noise-s1b"),
        (f"measurement/{STEM}.tiff", "measurement/s1b"),
        (f"annotation/{STEM}.xml", r"annotation/\*\.xml"),
        ("manifest.safe", "no manifest.safe"),
    ],
)
def test_a_missing_file_is_named(member: str, named: str, rome: Path) -> None:
    (rome / member).unlink()
    with pytest.raises(InputError, match=named):
        open_s1_product(rome).channel("VV")


def test_what_is_not_needed_may_be_missing(rome: Path) -> None:
    (rome / f"measurement/{STEM}.tiff").unlink()
    (rome / f"annotation/calibration/noise-{STEM}.xml").unlink()
    channel = open_s1_product(rome).channel("VV", need_measurement=False, need_noise=False)
    assert channel.measurement == "" and channel.noise.range_vectors == ()
    with pytest.raises(InputError, match="is missing"), open_measurement(channel):
        pass


@pytest.mark.parametrize(
    ("member", "old", "new", "message"),
    [
        (f"annotation/{STEM}.xml", "<numberOfLines>16705<", "<numberOfLines>many<", "numberOfLines is 'many'"),
        (f"annotation/{STEM}.xml", "<azimuthTimeInterval>1.49", "<azimuthTimeInterval>-1.49", "s per line"),
        (f"annotation/{STEM}.xml", "slantRangeTime>5.33", "slantRangeTime>nan5.33", "slantRangeTime"),
        (f"annotation/{STEM}.xml", "<orbitList", "<orbits", "not well-formed"),
        (f"annotation/{STEM}.xml", "<time>2021-12-23T05:10:21.029300", "<time>soon", "is no UTC time"),
        (f"annotation/calibration/calibration-{STEM}.xml", ">0 40 80 ", ">0 40 ", "has 654 values for 653"),
        (f"annotation/calibration/calibration-{STEM}.xml", ">0 40 80 ", ">0 90 80 ", "decrease"),
        (f"annotation/calibration/calibration-{STEM}.xml", ">6.638558e+02 ", ">0.0 ", "not positive"),
        (f"annotation/calibration/noise-{STEM}.xml", ">2.375788e+03 ", ">inf ", "not finite"),
        ("manifest.safe", 'name="Sentinel-1 IPF"', 'name="something"', "no version of the Sentinel-1 IPF"),
        ("manifest.safe", ">SENTINEL-1<", ">SENTINEL-2<", "platform 'SENTINEL-2'"),
        ("manifest.safe", "productType>GRD<", "productType>OCN<", "neither GRD nor SLC"),
        ("manifest.safe", '<?xml version="1.0" encoding="UTF-8"?>', '<!DOCTYPE x [<!ENTITY y "z">]>', "document type"),
    ],
)
def test_a_damaged_field_is_named(member: str, old: str, new: str, message: str, rome: Path) -> None:
    path = rome / member
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        open_s1_product(rome).channel("VV")


def rewrite(path: Path, shape: tuple[int, int], dtype: str = "uint16") -> None:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=shape[0],
        width=shape[1],
        count=1,
        dtype=dtype,
        compress="zstd",
        transform=rasterio.Affine(10, 0, 0, 0, -10, 0),
    ) as out:
        out.write(np.random.default_rng(0).integers(1, 999, shape).astype(dtype), 1)


def test_a_measurement_of_another_size_or_type_is_refused(rome: Path) -> None:
    path = rome / f"measurement/{STEM}.tiff"
    channel = open_s1_product(rome).channel("VV")
    rewrite(path, (100, 80))
    with pytest.raises(InputError, match="100x80 pixels, the annotation says 16705x26102"), open_measurement(channel):
        pass
    path.write_bytes(b"no image")
    with pytest.raises(InputError, match="cannot be opened"), open_measurement(channel):
        pass


@pytest.fixture
def small(rome: Path) -> Path:
    """The product with an image of 200 x 300 pixels of random numbers."""
    annotation = rome / f"annotation/{STEM}.xml"
    text = annotation.read_text().replace("<numberOfLines>16705<", "<numberOfLines>200<")
    annotation.write_text(text.replace("<numberOfSamples>26102<", "<numberOfSamples>300<"))
    rewrite(rome / f"measurement/{STEM}.tiff", (200, 300))
    return rome


@pytest.mark.parametrize("share", [0.5, 0.999])
@pytest.mark.parametrize("as_zip", [False, True])
def test_a_truncated_measurement_is_refused(share: float, as_zip: bool, small: Path) -> None:
    path = small / f"measurement/{STEM}.tiff"
    with open_measurement(open_s1_product(small).channel("VV")) as pixels:
        assert pixels.read(0, 0, 200, 300).min() > 0
    # GDAL writes the directory first in this file, so that the file still opens when its end is cut off.
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    product = open_s1_product(zipped(small, entries=False) if as_zip else small)
    with pytest.raises(InputError, match=r"truncated|cannot be opened"), open_measurement(product.channel("VV")):
        pass


def test_pixels_damaged_in_the_middle_are_refused_when_read(small: Path) -> None:
    path = small / f"measurement/{STEM}.tiff"
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)
    with (
        open_measurement(open_s1_product(small).channel("VV")) as pixels,
        pytest.raises(InputError, match="damaged at lines"),
    ):
        pixels.read(0, 0, 200, 300)


def made_zip(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/etc/evil", "C:/evil", "a\\..\\evil"])
def test_a_zip_that_would_leave_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    path = made_zip(tmp_path / "p.zip", **{"A.SAFE/manifest.safe": b"<a/>", name: b"x"})
    with pytest.raises(InputError, match="outside its folder"):
        open_s1_product(path)


def test_a_zip_that_expands_beyond_any_product_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made_zip(tmp_path / "p.zip", **{"A.SAFE/manifest.safe": b"<a/>", "A.SAFE/bomb": bytes(3_000_000)})
    open_archive(path)
    monkeypatch.setattr(safe_archive, "FREE_BYTES", 1_000_000)
    with pytest.raises(InputError, match="more than any real product"):
        open_archive(path)
    monkeypatch.setattr(safe_archive, "MAX_XML_BYTES", 3)
    with pytest.raises(InputError, match="more than any annotation"):
        safe_archive.SafeArchive(path, "A.SAFE", True, {"manifest.safe": 4}).read_xml("manifest.safe")
    with pytest.raises(InputError, match="larger than 3 bytes"):
        parse_xml(b"<abc/>", "x")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"readme.txt": b"hello"}, "0 SAFE folders"),
        ({"A.SAFE/manifest.safe": b"<a/>", "B.SAFE/manifest.safe": b"<a/>"}, "2 SAFE folders"),
        ({"A.SAFE/manifest.safe": b"<a/>"}, "platform 'not stated' is not SENTINEL-1"),
        ({"A.SAFE/manifest.safe": "<a/>".encode("utf-16")}, "not UTF-8"),
    ],
)
def test_a_zip_that_is_no_sentinel_1_product_is_refused(
    members: dict[str, bytes], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        open_s1_product(made_zip(tmp_path / "p.zip", **members))


def test_paths_that_are_no_products_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such Sentinel-1 product"):
        open_s1_product(tmp_path / "absent.SAFE")
    with pytest.raises(InputError, match=r"no manifest\.safe in this folder"):
        open_s1_product(tmp_path)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(b"PK\x03\x04 and then the connection broke")
    with pytest.raises(InputError, match="cut-off download"):
        open_s1_product(cut)


def test_a_file_damaged_inside_a_zip_is_named(small: Path) -> None:
    path = zipped(small, entries=False)
    product = open_s1_product(path)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{small.name}/annotation/calibration/noise-{STEM}.xml")
    data[info.header_offset + 3000 : info.header_offset + 3200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"noise-.*cannot be read"):
        product.channel("VV")


def test_a_medium_resolution_extra_wide_product_is_read(rome: Path) -> None:
    """Derived from an IW product by its names and fields, because no real EW product is at hand."""
    name = rome.name.replace("_IW_GRDH_", "_EW_GRDM_")
    wide = copied(rome, rome.parent / "ew", name)
    for path in list(wide.rglob(f"*{STEM}*")):
        path.rename(path.with_name(path.name.replace("-iw-", "-ew-")))
    for path in [wide / "manifest.safe", *(wide / "annotation").rglob("*.xml")]:
        path.write_text(
            path.read_text()
            .replace("mode>IW<", "mode>EW<")
            .replace("swath>IW", "swath>EW")
            .replace("<rangePixelSpacing>1.0", "<rangePixelSpacing>4.0")
        )
    product = open_s1_product(wide)
    assert (product.meta.mode, product.meta.resolution_class, product.swaths) == ("EW", "M", ("EW",))
    channel = product.channel("VV")
    assert channel.annotation.swath == "EW" and channel.annotation.image.range_spacing_m == 40.0
    assert [b.swath for b in channel.noise.azimuth_blocks] == ["EW1", "EW2", "EW3"]


@pytest.mark.parametrize(
    "table", ["annotation/", "annotation/calibration/calibration-", "annotation/calibration/noise-"]
)
def test_a_file_of_another_polarisation_under_this_name_is_refused(table: str, rome: Path) -> None:
    path = rome / f"{table}{STEM}.xml"
    text = path.read_text()
    assert "<polarisation>VV<" in text
    path.write_text(text.replace("<polarisation>VV<", "<polarisation>VH<"))
    with pytest.raises(InputError, match=rf"{STEM}\.xml: its name says polarisation VV, its header VH"):
        open_s1_product(rome).channel("VV")


def test_a_part_of_a_product_is_not_taken_for_all_of_it(
    rome: Path, shared_data: Callable[[str], Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"annotation/s1b-iw-grd-vh-\S+\.xml is missing, though the manifest lists"):
        open_s1_product(rome).check_whole()
    with pytest.raises(InputError, match=r"annotation/s1b-iw2-slc-vv-\S+\.xml is missing"):
        open_s1_product(shared_data(f"s1/{SLC}")).check_whole()
    monkeypatch.setattr(logging.getLogger("lc"), "propagate", True)
    cut = next(name for name in EXPECTED if "morocco" in name)
    with caplog.at_level(logging.WARNING, logger="lc"):
        open_s1_product(shared_data(f"s1/{cut}")).check_whole()
    assert "no annotation of the sub-swath IW2, IW3" in caplog.text
