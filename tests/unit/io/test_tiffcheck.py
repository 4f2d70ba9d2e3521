"""A TIFF is whole, or it is refused: wherever it is cut."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from landcover_cli.errors import InputError
from landcover_cli.io.raster import refuse_truncated
from landcover_cli.io.tiffcheck import is_tiff, tiff_is_whole


def _tiff(path: Path, **options: object) -> bytes:
    values = np.random.default_rng(1).integers(1, 1000, (2, 70, 90)).astype("uint16")
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=90,
        height=70,
        count=2,
        dtype="uint16",
        crs="EPSG:32633",
        transform=Affine(10, 0, 500000, 0, -10, 5000000),
        nodata=65535,
        **options,
    ) as dataset:
        dataset.write(values)
        dataset.update_tags(NOTE="a text that lies somewhere behind")
    return path.read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"},
        {"BIGTIFF": "YES", "compress": "zstd"},
        {"ENDIANNESS": "BIG"},
        {"interleave": "band", "SPARSE_OK": True},
    ],
    ids=["strips", "tiles", "big", "big-endian", "planes"],
)
def test_a_cut_anywhere_is_seen(tmp_path: Path, options: dict[str, object]) -> None:
    blob = _tiff(tmp_path / "a.tif", **options)
    assert is_tiff(blob[:16])
    assert tiff_is_whole(io.BytesIO(blob), len(blob))
    # GDAL pads to an even length; a byte of padding is no loss.
    for keep in [0, 4, 8, 15, 16, *range(100, len(blob) - 2, 97), len(blob) - 10, len(blob) - 2]:
        assert not tiff_is_whole(io.BytesIO(blob[:keep]), keep), keep


def test_a_cog_with_overviews_is_whole_and_a_cut_one_is_not(tmp_path: Path) -> None:
    _tiff(tmp_path / "a.tif")
    rasterio.shutil.copy(str(tmp_path / "a.tif"), str(tmp_path / "cog.tif"), driver="COG", BLOCKSIZE=32)
    refuse_truncated(tmp_path / "cog.tif")
    blob = (tmp_path / "cog.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(blob[:-10])
    with pytest.raises(InputError, match="cut off after"):
        refuse_truncated(tmp_path / "cut.tif")


def test_a_sparse_file_and_a_directory_that_names_itself_end(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=64,
        height=64,
        count=1,
        dtype="uint8",
        transform=Affine(10, 0, 0, 0, -10, 0),
        SPARSE_OK=True,
    ):
        pass
    blob = path.read_bytes()
    assert tiff_is_whole(io.BytesIO(blob), len(blob))
    loop = b"II*\0\x08\0\0\0" + b"\0\0" + b"\x08\0\0\0" + b"\0" * 8
    assert tiff_is_whole(io.BytesIO(loop), len(loop))
