"""A disk that is full at any byte: a raster is whole, or the write says so."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from landcover_cli.core.grid import GeoBox
from landcover_cli.core.windows import PixelBox
from landcover_cli.errors import StorageError
from landcover_cli.io.cog import write_cog
from landcover_cli.io.labelsource import LabelFacts, write_labels
from landcover_cli.io.rasterwrite import create_geotiff
from landcover_cli.io.tilewriter import Layer, TileWriter
from landcover_cli.labels.legend import parse_legend

VALUES = np.random.default_rng(3).integers(1, 250, (2, 96, 96)).astype("uint8")


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process may grow beyond a size; GDAL and the system see what they see on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def plain(path: Path) -> None:
    with create_geotiff(
        path,
        bounds_m=(0, 0, 960, 960),
        gsd_m=10,
        crs="EPSG:32633",
        count=2,
        dtype="uint8",
        nodata=0,
        descriptions=("a", "b"),
    ) as dataset:
        for row in range(0, 96, 32):
            dataset.write(VALUES[:, row : row + 32], window=Window(0, row, 96, 32))


def tile(path: Path) -> None:
    layer = Layer("uint8", 0, ("a", "b"))
    with TileWriter(path, PixelBox(0, 0, 96, 96), 10.0, "EPSG:32633", layer) as writer:
        writer.write(PixelBox(0, 0, 96, 96), VALUES)


def cog(path: Path) -> None:
    source = path.with_name("source.tif")
    if not source.exists():
        pytest.fail("made before the room is taken")
    write_cog(source, path, categorical=False)


def labels(path: Path) -> None:
    entries = [{"code": n, "name": f"class {n}", "color": "#102030"} for n in range(250)]
    legend = parse_legend({"id": "many", "version": "1", "classes": entries}, "many")
    none = LabelFacts((0,) * 250)
    grid = GeoBox((96, 96), Affine(10, 0, 0, 0, -10, 960), "EPSG:32633")
    write_labels(path, grid, legend, lambda part: (VALUES[0, : part.shape[0], : part.shape[1]], none))


@pytest.mark.parametrize("write", [plain, tile, cog, labels])
def test_a_raster_is_whole_or_the_write_is_refused(tmp_path: Path, write: Callable[[Path], None]) -> None:
    plain(tmp_path / "source.tif")
    write(tmp_path / "free.tif")
    size = (tmp_path / "free.tif").stat().st_size
    refused = 0
    for room in [0, 1, 8, 200, 1000, *range(2000, size, 997), size - 2, size - 1]:
        path = tmp_path / f"{room}.tif"
        try:
            with room_for(room):
                write(path)
        except StorageError as error:
            refused += 1
            assert str(path) in error.problem
            assert error.remedy
        else:
            with rasterio.open(path) as dataset:
                np.testing.assert_array_equal(dataset.read(), VALUES[: dataset.count])
    assert refused > 8
    write(tmp_path / "again.tif")
    assert (tmp_path / "again.tif").read_bytes() == (tmp_path / "free.tif").read_bytes()
