"""Landsat products: made ones whole and broken, and the five real ones at hand."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.errors import InputError
from landcover_cli.io.landsat import read_landsat
from landcover_cli.io.preprocess_landsat import preprocess_landsat, to_stored
from landcover_cli.io.preprocess_s2 import S2Settings
from landcover_cli.io.raster import gdal_env, open_raster
from landcover_cli.optical.masks.qa_pixel import MASK

ID = "LC09_L2SP_191027_20220610_20220612_02_T1"
LEFT, TOP, SIZE = 600_000, 5_100_000, 40


def facts(**changes: str) -> dict[str, dict[str, str]]:
    level2 = {f"REFLECTANCE_MULT_BAND_{k}": "2.75e-05" for k in range(1, 8)}
    level2 |= {f"REFLECTANCE_ADD_BAND_{k}": "-0.2" for k in range(1, 8)}
    content = {f"FILE_NAME_BAND_{k}": f"{ID}_SR_B{k}.TIF" for k in range(1, 8)}
    content |= {
        "LANDSAT_PRODUCT_ID": ID,
        "PROCESSING_LEVEL": "L2SP",
        "COLLECTION_NUMBER": "02",
        "FILE_NAME_QUALITY_L1_PIXEL": f"{ID}_QA_PIXEL.TIF",
        "FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION": f"{ID}_QA_RADSAT.TIF",
        "SPACECRAFT_ID": "LANDSAT_9",
        "DATE_ACQUIRED": "2022-06-10",
        "SCENE_CENTER_TIME": "09:50:12.1234567Z",
        "CLOUD_COVER": "12.5",
        "WRS_PATH": "191",
        "WRS_ROW": "27",
    }
    for corner, lon, lat in (("UL", 16.3, 46.0), ("UR", 16.4, 46.0), ("LL", 16.3, 45.9), ("LR", 16.4, 45.9)):
        content |= {f"CORNER_{corner}_LON_PRODUCT": str(lon), f"CORNER_{corner}_LAT_PRODUCT": str(lat)}
    level1 = {"PROCESSING_LEVEL": "L1TP", "REFLECTANCE_MULT_BAND_1": "2.0e-05", "FILE_NAME_BAND_1": "other.TIF"}
    return {"PRODUCT_CONTENTS": content | changes, "LEVEL2_PARAMETERS": level2, "LEVEL1_RECORD": level1}


def write_mtl(folder: Path, kind: str, groups: dict[str, dict[str, str]]) -> None:
    path = folder / f"{ID}_MTL.{kind}"
    if kind == "json":
        path.write_text(json.dumps({"LANDSAT_METADATA_FILE": groups}))
    elif kind == "xml":
        parts = "".join(
            f"<{group}>{''.join(f'<{k}>{v}</{k}>' for k, v in values.items())}</{group}>"
            for group, values in groups.items()
        )
        path.write_text(f"<LANDSAT_METADATA_FILE>{parts}</LANDSAT_METADATA_FILE>")
    else:
        lines = [
            f"GROUP = {g}\n" + "\n".join(f'    {k} = "{v}"' for k, v in values.items()) for g, values in groups.items()
        ]
        path.write_text("\n".join([*lines, "END"]))


def write_landsat(folder: Path, kind: str = "xml", **changes: str) -> Path:
    root = folder / ID
    root.mkdir(parents=True)
    rng = np.random.default_rng(1)
    rasters = {f"SR_B{k}": rng.integers(7000, 30000, (SIZE, SIZE)).astype("uint16") for k in range(1, 8)}
    quality = np.full((SIZE, SIZE), 21824, "uint16")  # clear, low confidences
    quality[:, :3] = 1
    for k in range(1, 6):
        quality[10, 10 + k] = 1 << k
    saturated = np.zeros((SIZE, SIZE), "uint16")
    saturated[20, 20] = 4
    for k in range(1, 8):
        rasters[f"SR_B{k}"][:, :3] = 0
    rasters |= {"QA_PIXEL": quality, "QA_RADSAT": saturated}
    for name, values in rasters.items():
        profile = {"driver": "GTiff", "height": SIZE, "width": SIZE, "count": 1, "dtype": "uint16"}
        where = {"crs": "EPSG:32633", "transform": Affine(30, 0, LEFT, 0, -30, TOP)}
        with rasterio.open(root / f"{ID}_{name}.TIF", "w", **profile, **where) as dataset:
            dataset.write(values, 1)
    write_mtl(root, kind, facts(**changes))
    return root


def settings(**changes) -> S2Settings:
    area = (LEFT, TOP - 30 * SIZE, LEFT + 30 * SIZE, TOP)
    return S2Settings(
        **{"crs": "EPSG:32633", "gsd_m": 30.0, "area_m": area, "bands": ("B4", "B5"), "mask": MASK, **changes}
    )


def test_every_form_of_the_metadata_says_the_same(tmp_path) -> None:
    scenes = [read_landsat(write_landsat(tmp_path / kind, kind)) for kind in ("xml", "json", "txt")]
    for scene in scenes:
        assert (scene.id, scene.sensor) == (ID, "landsat8")
        assert scene.datetime.isoformat() == "2022-06-10T09:50:12.123456+00:00"
        assert scene.metadata == {"platform": "LANDSAT_9", "cloud_percent": 12.5, "path_row": "191027"}
        assert set(scene.assets) == {"B1", "B2", "B3", "B4", "B5", "B6", "B7", "QA_PIXEL", "QA_RADSAT"}
        # Level 1's own numbers stand further down and do not count.
        assert scene.assets["B1"].metadata == {"scale": 2.75e-5, "offset": -0.2}
        assert scene.footprint == scenes[0].footprint


def test_a_tar_is_read_in_place(tmp_path) -> None:
    root = write_landsat(tmp_path)
    with tarfile.open(tmp_path / "product.tar", "w") as archive:
        for path in sorted(root.iterdir()):
            archive.add(path, path.name)
    scene = read_landsat(tmp_path / "product.tar")
    with gdal_env(), open_raster(scene.assets["B4"].href) as a, rasterio.open(root / f"{ID}_SR_B4.TIF") as b:
        np.testing.assert_array_equal(a.read(), b.read())


def test_reflectance_comes_back_and_bits_are_bad(tmp_path) -> None:
    scene = read_landsat(write_landsat(tmp_path))
    out = tmp_path / "o"
    out.mkdir()
    about = preprocess_landsat(scene, settings(), out)
    assert (about.sensor, about.scale, about.offset) == ("landsat8", 1e-4, -0.1)
    assert about.facts["platform"] == "LANDSAT_9"
    with rasterio.open(scene.assets["B5"].href) as dataset:
        dn = dataset.read(1)
    with rasterio.open(out / "data.tif") as data, rasterio.open(out / "mask.tif") as mask:
        stored, codes = data.read(2), mask.read(1)
    expected = dn * 2.75e-5 - 0.2
    seen = dn > 0
    # Half a step, and no less than the smallest number that is not nodata.
    np.testing.assert_allclose((stored * 1e-4 - 0.1)[seen], np.maximum(expected, -0.0999)[seen], atol=0.5001e-4)
    assert not stored[~seen].any()
    assert (codes[:, :3] == MASK_NODATA).all()
    assert (codes[10, 11:16] == MASK_BAD).all() and codes[20, 20] == MASK_BAD
    assert (codes == MASK_BAD).sum() == 6
    assert (codes[:, 3:] != MASK_NODATA).all()


def test_numbers_are_rounded_to_the_nearest_and_never_become_nodata() -> None:
    dn = np.array([0, 1, 3636, 3640, 7273, 43636, 65535], "uint16")
    expected = np.clip(np.round((dn * 2.75e-5 - 0.1) / 1e-4), 1, None)
    np.testing.assert_array_equal(to_stored(dn, 2.75e-5, -0.2), np.where(dn == 0, 0, expected))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"PROCESSING_LEVEL": "L1TP"}, "level 'L1TP' of collection '02'"),
        ({"COLLECTION_NUMBER": "01"}, "collection '01'"),
        ({"SPACECRAFT_ID": "LANDSAT_5"}, "'LANDSAT_5', not Landsat 8 or 9"),
        ({"SCENE_CENTER_TIME": "noon"}, "date and time"),
        ({"CORNER_UL_LON_PRODUCT": "west"}, "CORNER_UL_LON_PRODUCT is 'west'"),
        ({"LANDSAT_PRODUCT_ID": "../up"}, "names no product"),
    ],
)
def test_what_is_no_such_product_is_refused(tmp_path, changes, match) -> None:
    with pytest.raises(InputError, match=match):
        read_landsat(write_landsat(tmp_path, **changes))


def test_broken_products_are_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no \*_MTL\.xml"):
        read_landsat(tmp_path)
    with pytest.raises(InputError, match="no readable tar"):
        read_landsat(tmp_path / "nothing.tar")
    root = write_landsat(tmp_path, "json")
    (root / f"{ID}_MTL.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        read_landsat(root)
    write_mtl(root, "xml", facts())
    for path in root.glob("*.TIF"):
        path.unlink()
    with pytest.raises(InputError, match="none of the product's rasters"):
        read_landsat(root)


def test_from_the_command_line(tmp_path) -> None:
    root = write_landsat(tmp_path)

    def lc(*args: object) -> list[dict[str, object]]:
        result = CliRunner().invoke(app, ["preprocess", "landsat", *map(str, args), "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        found: list[dict[str, object]] = json.loads(result.stdout)
        return found

    shown = lc(root, "--out", tmp_path / "o", "--dry-run")
    assert shown[0]["bands"] == [f"B{k}" for k in range(1, 8)] and not (tmp_path / "o").exists()
    lc(root, "--out", tmp_path / "o", "--bands", "B4", "--mask-option", "keep_cirrus=true")
    with rasterio.open(tmp_path / "o" / ID / "mask.tif") as dataset:
        assert dataset.read(1)[10, 12] == MASK_CLEAR
    (root / f"{ID}_QA_RADSAT.TIF").unlink()
    with pytest.raises(InputError, match="QA_RADSAT is missing"):
        lc(root, "--out", tmp_path / "p")
    assert not (tmp_path / "p").exists()
    lc(root, "--out", tmp_path / "p", "--mask-option", "saturation=false")


REAL = {
    "stactools-landsat/assets": "LC08_L2SP_005009_20150710_20200908_02_T2",
    "stactools-landsat/assets2": "LC08_L2SR_099120_20191129_20201016_02_T2",
    "stactools-landsat/assets3": "LC08_L2SP_008059_20191201_20200825_02_T1",
    "stactools-landsat/assets4": "LC08_L2SP_017036_20130419_20200913_02_T2",
    "eo-datasets3/LC08_L2SP_098084_20210503_20210508_02_T1": "LC08_L2SP_098084_20210503_20210508_02_T1",
}


@pytest.mark.parametrize(("folder", "name"), REAL.items())
def test_real_scenes(shared_data, tmp_path, folder, name) -> None:
    scene = read_landsat(shared_data("optical") / folder)
    assert scene.id == name
    with rasterio.open(scene.assets["QA_PIXEL"].href) as dataset:
        bounds, crs, quality = tuple(dataset.bounds), str(dataset.crs), dataset.read(1)
    saturation = "QA_RADSAT" in scene.assets
    given = settings(
        crs=crs, gsd_m=500.0, area_m=bounds, mask_options={"saturation": saturation, "keep_snow": True}, bands=("B4",)
    )
    out = tmp_path / "o"
    out.mkdir()
    preprocess_landsat(scene, given, out)
    with rasterio.open(out / "data.tif") as data, rasterio.open(out / "mask.tif") as mask:
        codes, red = mask.read(1), data.read(1)
    cloudy = ((quality & 0b011110) != 0)[(quality & 1) == 0].mean()
    assert (codes == MASK_BAD).sum() / (codes != MASK_NODATA).sum() == pytest.approx(cloudy, abs=0.03)
    assert 0 < (np.median(red[codes != MASK_NODATA]) * 1e-4 - 0.1) < 1.2
