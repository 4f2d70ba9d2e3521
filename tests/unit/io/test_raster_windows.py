"""Windowed reading, and files that end too early."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from s2product import write_jp2

from landcover_cli.errors import InputError
from landcover_cli.io.raster import open_raster, raster_info, read_window
from landcover_cli.io.rasterwrite import create_geotiff


def tiff(path, values, **options):
    profile = {
        "driver": "GTiff",
        "height": values.shape[0],
        "width": values.shape[1],
        "count": 1,
        "dtype": values.dtype,
    }
    profile |= {"crs": "EPSG:32633", "transform": Affine(10, 0, 600000, 0, -10, 5000000)}
    with rasterio.open(path, "w", **{**profile, **options}) as dataset:
        dataset.write(values, 1)
    return path


VALUES = np.random.default_rng(0).integers(1, 60000, (300, 400)).astype("uint16")


def test_a_window_may_reach_beyond_the_raster(tmp_path):
    with open_raster(tiff(tmp_path / "a.tif", VALUES)) as dataset:
        found = read_window(dataset, 1, (-2, 5), (395, 403), 0)
        assert (read_window(dataset, 1, (-9, -2), (0, 4), 7) == 7).all()
    assert (found[:2] == 0).all()
    assert (found[:, 5:] == 0).all()
    np.testing.assert_array_equal(found[2:, :5], VALUES[:5, 395:])


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_a_truncated_jp2_is_found_before_a_pixel_is_decoded(tmp_path, share):
    write_jp2(tmp_path / "a.jp2", VALUES, 10)
    whole = (tmp_path / "a.jp2").read_bytes()
    (tmp_path / "b.jp2").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"b\.jp2 is cut off"), open_raster(tmp_path / "b.jp2"):
        pass
    with open_raster(tmp_path / "a.jp2") as dataset:
        np.testing.assert_array_equal(dataset.read(1), VALUES)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("options", [{}, {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "zstd"}])
def test_a_truncated_tiff_is_named(tmp_path, share, options):
    whole = tiff(tmp_path / "a.tif", VALUES, **options).read_bytes()
    (tmp_path / "b.tif").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"b\.tif"), open_raster(tmp_path / "b.tif") as dataset:
        read_window(dataset, 1, (0, 300), (0, 400), 0)


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", b"\x00" * 4000])
def test_what_is_no_raster_is_named(tmp_path, content):
    (tmp_path / "x.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.tif"), open_raster(tmp_path / "x.tif"):
        pass
    with pytest.raises(InputError, match="no such file"), open_raster(tmp_path / "y.tif"):
        pass


def test_a_raster_without_georeference_is_refused(tmp_path):
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        tiff(tmp_path / "a.tif", VALUES, crs=None, transform=None)
    with open_raster(tmp_path / "a.tif") as dataset, pytest.raises(InputError, match="no georeference"):
        raster_info(dataset)


def test_the_writer_gives_the_same_bytes_for_the_same_pixels(tmp_path):
    for name in ("a.tif", "b.tif"):
        with create_geotiff(
            tmp_path / name,
            bounds_m=(600000, 4997000, 604000, 5000000),
            gsd_m=10,
            crs="EPSG:32633",
            count=2,
            dtype="uint16",
            nodata=0,
            descriptions=("B02", "B03"),
        ) as dataset:
            for band in (1, 2):
                dataset.write(VALUES, band)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.descriptions == ("B02", "B03")
        np.testing.assert_array_equal(dataset.read(2), VALUES)
