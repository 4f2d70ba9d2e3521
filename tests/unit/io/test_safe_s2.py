"""Level-2A products: made ones whole and broken, real metadata of seven baselines."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from s2product import bands, write_safe, zipped

from landcover_cli.errors import InputError
from landcover_cli.io.raster import open_raster
from landcover_cli.io.safe_s2 import read_safe_s2, require_bands


def test_folder_and_zip_say_the_same(tmp_path):
    values = bands(40)
    safe = write_safe(tmp_path, values)
    for path in (safe, zipped(safe)):
        scene = read_safe_s2(path)
        assert scene.id == safe.stem
        assert scene.datetime.isoformat() == "2021-06-05T10:00:31.024000+00:00"
        assert scene.metadata["boa_add_offset"] == -1000
        assert scene.metadata["tile"] == "33TXX"
        assert scene.metadata["cloud_percent"] == 12.5
        assert scene.metadata["orbit_direction"] == "descending"
        assert set(scene.assets) == set(values)
        for band in ("B02", "B8A", "SCL"):
            with open_raster(scene.assets[band].href) as dataset:
                np.testing.assert_array_equal(dataset.read(1), values[band])


def test_bands_are_taken_from_the_metadata_and_not_from_the_folder(tmp_path):
    safe = write_safe(tmp_path, bands(40))
    first = next(safe.rglob("*_B02_10m.jp2"))
    shutil.copy(first, first.with_name("T33TXX_copy_B03_5m.jp2"))
    assert "copy" not in read_safe_s2(safe).assets["B03"].href


def test_a_missing_band_is_named(tmp_path):
    scene = read_safe_s2(write_safe(tmp_path, bands(40), skip=("B8A",)))
    with pytest.raises(InputError, match="my product: band B8A is missing"):
        require_bands(scene, ("B02", "B8A"), "my product")


def test_a_product_without_imagery_is_refused(tmp_path):
    values = bands(40)
    safe = write_safe(tmp_path, values, skip=tuple(values))
    with pytest.raises(InputError, match="SAFE without imagery"):
        read_safe_s2(safe)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"level": "Level-1C"}, "Level-1C"),
        ({"tile": "33TXX"}, None),
    ],
)
def test_level_1c_is_refused(tmp_path, change, match):
    safe = write_safe(tmp_path, bands(40), **change)
    if match:
        with pytest.raises(InputError, match=match):
            read_safe_s2(safe)
    else:
        read_safe_s2(safe)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("10000</BOA_Q", "1000</BOA_Q", "BOA_QUANTIFICATION_VALUE"),
        ('id="3">-1000', 'id="3">-900', "differs between bands"),
        ("EXT_POS_LIST", "OTHER", "no footprint"),
        ("2021-06-05T10:00:31.024Z", "yesterday", "PRODUCT_START_TIME"),
        ("</n1:Level-2A_User_Product>", "", "not well-formed"),
    ],
)
def test_damaged_metadata_are_named(tmp_path, old, new, match):
    safe = write_safe(tmp_path, bands(20))
    mtd = safe / "MTD_MSIL2A.xml"
    text = mtd.read_text()
    assert old in text
    mtd.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=match):
        read_safe_s2(safe)


def test_a_cut_off_zip_and_an_empty_folder_are_refused(tmp_path):
    whole = zipped(write_safe(tmp_path, bands(20)))
    whole.write_bytes(whole.read_bytes()[:-200])
    (tmp_path / "empty.SAFE").mkdir()
    for path in (whole, tmp_path / "empty.SAFE", tmp_path / "absent.SAFE"):
        with pytest.raises(InputError, match=path.stem):
            read_safe_s2(path)


def test_real_metadata_of_all_baselines(tmp_path, shared_data):
    """Copies of real metadata with empty files where the images were."""
    found = {}
    for folder in sorted(shared_data("optical/stactools-sentinel2").iterdir()):
        mtd = next((p for p in folder.glob("MTD_MSIL2*.xml")), None) if folder.is_dir() else None
        if mtd is None:
            continue
        with pytest.raises(InputError, match="SAFE without imagery"):
            read_safe_s2(folder)
        copy = tmp_path / folder.name
        copy.mkdir()
        shutil.copy(mtd, copy / mtd.name)
        text = mtd.read_text()
        for part in text.split("<IMAGE_FILE>")[1:]:
            path = copy / f"{part.split('<')[0]}.jp2"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        scene = read_safe_s2(copy)
        found.setdefault(scene.metadata["baseline"], []).append(scene)
        assert {"B02", "B8A", "B12", "SCL", "B01", "B09"} <= set(scene.assets)
        assert scene.assets["B02"].metadata["gsd_m"] == 10
        assert scene.assets["B11"].metadata["gsd_m"] == 20
        assert scene.footprint["coordinates"][0][0] == scene.footprint["coordinates"][0][-1]
    assert set(found) == {"02.12", "02.14", "04.00", "05.09"}
    for baseline, scenes in found.items():
        expected = -1000 if baseline >= "04" else 0
        assert {scene.metadata["boa_add_offset"] for scene in scenes} == {expected}


def test_real_metadata_of_level_1c(tmp_path, shared_data):
    """As above, of the other level: both products are older than the offset."""
    seen = []
    for mtd in sorted(shared_data("optical/stactools-sentinel2").glob("*/MTD_MSIL1C.xml")):
        copy = tmp_path / mtd.parent.name
        for part in mtd.read_text().split("<IMAGE_FILE>")[1:]:
            path = copy / f"{part.split('<')[0]}.jp2"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        shutil.copy(mtd, copy / mtd.name)
        scene = read_safe_s2(copy, "L1C")
        assert len(scene.assets) == 13
        assert scene.sensor == "sentinel2_l1c"
        assert scene.metadata["radio_add_offset"] == 0
        seen.append(scene.metadata["baseline"])
        with pytest.raises(InputError, match="'Level-1C', not Level-2A"):
            read_safe_s2(copy)
    assert sorted(seen) == ["02.09", "03.01"]


def test_real_zips_of_level_1c(shared_data):
    paths = sorted(shared_data("optical/eo-datasets3").glob("S2A_MSIL1C_*.zip"))
    scenes = [read_safe_s2(path, "L1C") for path in paths]
    assert [scene.metadata["baseline"] for scene in scenes] == ["02.06", "02.09", "03.01"]
    assert all(scene.metadata["radio_add_offset"] == 0 and len(scene.assets) == 13 for scene in scenes)


def test_quality_masks_are_layers_of_their_files(tmp_path):
    safe = write_safe(tmp_path, bands(40))
    folder = next((safe / "GRANULE").iterdir()) / "QI_DATA"
    folder.mkdir()
    for name in ("MSK_CLASSI_B00", "MSK_QUALIT_B02", "MSK_DETFOO_B02"):
        (folder / f"{name}.jp2").touch()
    assets = read_safe_s2(safe).assets
    assert assets["CLASSI_3"].band == 3 and assets["CLASSI_3"].href.endswith("MSK_CLASSI_B00.jp2")
    assert assets["QUALIT_B02_8"].band == 8
    assert not [name for name in assets if "DETFOO" in name]
