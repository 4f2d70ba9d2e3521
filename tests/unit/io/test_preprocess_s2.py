"""A scene on the grid against numpy, and independent of how the area was cut."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from s2product import GSD, LEFT, SIXTY, TOP, bands, write_l1c, write_safe

from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.errors import InputError
from landcover_cli.io import preprocess_s2 as module
from landcover_cli.io import s2_mask
from landcover_cli.io.observation import open_observation, read_about
from landcover_cli.io.preprocess_s2 import S2Settings, preprocess_s2
from landcover_cli.io.safe_s2 import read_safe_s2
from landcover_cli.optical.masks.fmask import MASK as FMASK
from landcover_cli.optical.masks.none import MASK as NO_MASK
from landcover_cli.optical.masks.scl import MASK

SIZE = 120
WHOLE = (LEFT, TOP - 10 * SIZE, LEFT + 10 * SIZE, TOP)


def settings(**changes) -> S2Settings:
    values = {"crs": "EPSG:32633", "gsd_m": 10.0, "area_m": WHOLE, "bands": ("B02", "B11"), "mask": MASK}
    return S2Settings(**{**values, **changes})


def run(safe, out, **changes):
    out.mkdir()
    about = preprocess_s2(read_safe_s2(safe), settings(**changes), out)
    assert read_about(out) == about
    with rasterio.open(out / "data.tif") as data, rasterio.open(out / "mask.tif") as mask:
        return about, data.read(), mask.read(1)


def test_bands_offset_and_mask(tmp_path):
    values = bands(SIZE, low=1400)
    values["SCL"][20:26, 20:26] = 9
    about, data, mask = run(write_safe(tmp_path, values), tmp_path / "o")
    np.testing.assert_array_equal(data[0], values["B02"])
    b11 = values["B11"].astype(int)
    # Inside, 20 m values come by weights 0.75 and 0.25.
    expected = (9 * b11[5, 7] + 3 * b11[5, 8] + 3 * b11[6, 7] + b11[6, 8] + 8) // 16
    assert data[1][11, 15] == expected
    assert about.bands == ("B02", "B11")
    assert about.facts["offset"]["added_dn"] == 0
    ys, xs = np.mgrid[0:60, 0:60]
    distance = np.hypot(np.clip(np.maximum(20 - ys, ys - 25), 0, None), np.clip(np.maximum(20 - xs, xs - 25), 0, None))
    bad = np.repeat(np.repeat(distance * 20 <= 160, 2, 0), 2, 1)
    # Opening with a disc of one pixel takes the corners of the square, and nothing else.
    corners = [(20, 20), (20, 25), (25, 20), (25, 25)]
    assert (mask == MASK_BAD)[2 * 12, 2 * 22]
    assert ((mask == MASK_BAD) <= bad).all()
    assert (bad & (mask != MASK_BAD)).sum() < 4 * 4 * 20, corners


def test_old_numbers_are_raised_and_nodata_stays(tmp_path):
    values = bands(SIZE, low=300)
    values["B02"][:, :31] = 0
    _, data, mask = run(write_safe(tmp_path, values, baseline="02.14", offset=None), tmp_path / "o")
    np.testing.assert_array_equal(data[0][:, 31:], values["B02"][:, 31:] + 1000)
    assert not data[0][:, :31].any()
    # Nothing counts as observed within 20 m of an empty pixel.
    assert (mask[:, :33] == MASK_NODATA).all()
    assert (mask[:, 33:] == MASK_CLEAR).all()


def test_pixels_that_disprove_the_metadata_stop_the_scene(tmp_path):
    safe = write_safe(tmp_path, bands(SIZE, low=300))
    with pytest.raises(InputError, match=safe.stem):
        run(safe, tmp_path / "o")
    _, data, _ = run(safe, tmp_path / "p", offset="applied")
    assert data[0].min() >= 1300


def test_bright_pixels_only_warn(tmp_path, caplog):
    safe = write_safe(tmp_path, bands(SIZE, low=2500), baseline="02.14", offset=None)
    logging.getLogger("lc").propagate = True
    with caplog.at_level(logging.WARNING, logger="lc"):
        run(safe, tmp_path / "o")
    assert "as if the offset were still in the pixels" in caplog.text


@pytest.mark.parametrize("grid", ["same zone", "other zone", "misaligned", "coarser"])
def test_a_part_is_the_part_of_the_whole(tmp_path, grid, monkeypatch):
    values = bands(SIZE, low=1400)
    rng = np.random.default_rng(4)
    values["SCL"][rng.integers(0, 60, 40), rng.integers(0, 60, 40)] = 3
    values["SCL"][10:20, 40:50] = 8
    values["B11"][40:45, 5:30] = 0
    safe = write_safe(tmp_path, values)
    crs, gsd = {
        "other zone": ("EPSG:32632", 10.0),
        "misaligned": ("EPSG:32633", 7.0),
        "coarser": ("EPSG:32633", 20.0),
    }.get(grid, ("EPSG:32633", 10.0))
    area = WHOLE
    if crs != "EPSG:32633":
        area = rasterio.warp.transform_bounds("EPSG:32633", crs, *WHOLE)
    about, data, mask = run(safe, tmp_path / "whole", crs=crs, gsd_m=gsd, area_m=area)
    left, bottom, right, top = about.bounds_m
    cut = (left + 30 * gsd, bottom + 10 * gsd, right - 5 * gsd, top - 17 * gsd)
    monkeypatch.setattr(module, "STRIP_PX", 16)
    monkeypatch.setattr(s2_mask, "STRIP_PX", 16)
    part, some, codes = run(safe, tmp_path / "part", crs=crs, gsd_m=gsd, area_m=cut)
    assert part.bounds_m == cut
    y, x = slice(17, data.shape[1] - 10), slice(30, data.shape[2] - 5)
    np.testing.assert_array_equal(some, data[:, y, x])
    np.testing.assert_array_equal(codes, mask[y, x])


def test_a_scene_beside_the_area_gives_an_empty_observation(tmp_path):
    safe = write_safe(tmp_path, bands(40))
    _, data, mask = run(safe, tmp_path / "o", area_m=(LEFT - 400, TOP, LEFT - 200, TOP + 100))
    assert data.shape == (2, 10, 20)
    assert not data.any()
    assert not mask.any()


def test_a_missing_band_and_a_cut_off_file_are_named(tmp_path):
    safe = write_safe(tmp_path, bands(SIZE, low=1400), skip=("B12",))
    with pytest.raises(InputError, match="band B12 is missing"):
        run(safe, tmp_path / "o", bands=("B02", "B12"))
    jp2 = next(safe.rglob("*_B11_20m.jp2"))
    jp2.write_bytes(jp2.read_bytes()[:-500])
    with pytest.raises(InputError, match=r"B11_20m\.jp2 is cut off"):
        run(safe, tmp_path / "p")


def test_the_same_scene_gives_the_same_bytes(tmp_path):
    safe = write_safe(tmp_path, bands(40, low=1400))
    for name in ("a", "b"):
        run(safe, tmp_path / name, mask=NO_MASK)
    for name in ("data.tif", "mask.tif", "observation.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_windows_of_an_observation(tmp_path):
    values = bands(40, low=1400)
    about, data, _ = run(write_safe(tmp_path, values), tmp_path / "o")
    with open_observation(tmp_path / "o") as reader:
        window = replace(about.lattice, bounds_m=(LEFT - 30.0, TOP - 100.0, LEFT + 50.0, TOP + 20.0))
        found, codes = reader.data(window), reader.mask(window)
    assert found.shape == (2, 12, 8)
    np.testing.assert_array_equal(found[:, 2:, 3:], data[:, :10, :5])
    assert not found[:, :2].any()
    assert not codes[:, :3].any()
    with pytest.raises(InputError, match="no observation"):
        read_about(tmp_path)


# --- Level-1C ---------------------------------------------------------------------------------------------------------


def sky(size: int) -> dict[str, np.ndarray]:
    """Thirteen bands: land, a white cloud, and its shadow 30 pixels of 20 m to the north-west."""
    n = size // 2
    land, white = (
        (0.12, 0.10, 0.09, 0.07, 0.15, 0.25, 0.30, 0.36, 0.36, 0.1, 0.002, 0.18, 0.09),
        (0.5,) * 10 + (0.004, 0.42, 0.35),
    )
    names = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
    noise = np.random.default_rng(3).normal(0, 0.002, (n, n))
    out = {}
    for name, ground, cloud in zip(names, land, white, strict=True):
        rho = ground + noise
        rho[40:60, 30:60] *= 0.4
        rho[70:90, 60:90] = cloud + noise[70:90, 60:90] * (1 if name == "B10" else 10)
        gsd = GSD.get(name, 60 if name in SIXTY else 20)
        full = np.kron(rho, np.ones((2, 2)))
        step = gsd // 10
        out[name] = (full[: size // step * step, : size // step * step][::step, ::step] * 1e4 + 1000).astype("uint16")
    return out


def test_fmask_of_a_level_1c_product(tmp_path):
    # Both drift by 30 pixels of 20 m: 600 m west at tan 45° · h, sun in the south-east.
    safe = write_l1c(tmp_path, sky(240), sun=(45.0, 135.0))
    scene = read_safe_s2(safe, None)
    assert (scene.sensor, scene.metadata["level"]) == ("sentinel2_l1c", "L1C")
    out = tmp_path / "o"
    out.mkdir()
    options = {"cloud_m": 0.0, "shadow_m": 0.0}
    area = (LEFT, TOP - 2400, LEFT + 2400, TOP)
    given = settings(bands=("B10", "B08"), mask=FMASK, mask_options=options, area_m=area)
    about = preprocess_s2(scene, given, out)
    assert about.sensor == "sentinel2_l1c"
    assert about.facts["offset"] == {"added_dn": 0, "source": "safe", "reason": "RADIO_ADD_OFFSET is -1000"}
    with rasterio.open(out / "mask.tif") as dataset:
        mask = dataset.read(1)
    inner = np.zeros(mask.shape, bool)
    inner[142:178, 122:178] = True  # the cloud less the corners that the majority takes
    inner[82:118, 62:118] = True  # its shadow
    assert (mask[inner] == MASK_BAD).all()
    near = np.zeros(mask.shape, bool)
    near[138:182, 118:182] = near[78:122, 58:122] = True
    assert (mask[~near] == MASK_CLEAR).all()


def test_fmask_of_a_part_is_the_part_of_the_whole(tmp_path):
    scene = read_safe_s2(write_l1c(tmp_path, sky(240), sun=(45.0, 135.0)), "L1C")
    codes = []
    left, top = LEFT + 600, TOP - 700
    for name, area in (("whole", WHOLE), ("part", (left, top - 400, left + 500, top))):
        out = tmp_path / name
        out.mkdir()
        preprocess_s2(scene, settings(bands=("B02",), mask=FMASK, area_m=area), out)
        with rasterio.open(out / "mask.tif") as dataset:
            codes.append(dataset.read(1))
    np.testing.assert_array_equal(codes[1], codes[0][70:110, 60:110])


def test_a_real_level_1c_zip(shared_data, tmp_path):
    folder = shared_data("optical/eo-datasets3")
    scene = read_safe_s2(folder / "S2A_MSIL1C_20180629T000241_N0206_R030_T56JMM_20180629T012042.zip", "L1C")
    assert scene.metadata["radio_add_offset"] == 0
    out = tmp_path / "o"
    out.mkdir()
    with rasterio.open(scene.assets["B02"].href) as dataset:
        bounds, crs, low = dataset.bounds, str(dataset.crs), dataset.read(1)
    about = preprocess_s2(scene, S2Settings(crs, 250.0, tuple(bounds), ("B02", "B10"), FMASK), out)
    assert about.facts["offset"]["added_dn"] == 1000
    with rasterio.open(out / "data.tif") as data, rasterio.open(out / "mask.tif") as mask:
        seen = mask.read(1) != MASK_NODATA
        assert 0.2 < seen.mean() <= 1.0
        assert data.read(1)[seen].min() >= 1000
        assert low.max() > 0
