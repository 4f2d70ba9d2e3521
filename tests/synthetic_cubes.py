"""Small cubes and labels with a signal that a network can learn, for tests of patches and training."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import rasterio

from landcover_cli.core.types import split_periods
from landcover_cli.core.windows import PixelBox
from landcover_cli.io.cubestore import CubeSpec, make_cube, write_cube
from landcover_cli.labels.legend import Legend, LegendClass

CRS = "EPSG:32633"
GSD_M = 10.0
BOX = PixelBox(-1024, 512, -928, 608)
LEGEND = Legend("test", "1", tuple(LegendClass(10 * i + 1, f"class {i}", f"#{i}0{i}0{i}0") for i in range(3)))


@dataclass(frozen=True)
class Ground:
    """Files over one box of ground; labels cover its left two thirds."""

    box: PixelBox
    classes_yx: np.ndarray
    labels: Path
    cubes: dict[str, tuple[Path, ...]]


def make_ground(folder: Path, box: PixelBox = BOX, seed: int = 0) -> Ground:
    """Write two series and an image of one ground: class 1 peaks early, class 2 late, class 0 not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 3, (box.height // 8, box.width // 8))
    classes = np.kron(coarse, np.ones((8, 8), int))
    labels = np.where(np.arange(box.width) < box.width * 2 // 3, classes, 255).astype(np.uint8)
    write_labels(folder / "labels.tif", labels, box)
    cubes = {
        "s2": (series(folder / "s2.zarr", "s2", ("B04", "B08"), classes, box, rng),),
        "s1": (series(folder / "s1.zarr", "s1", ("VV", "VH"), classes, box, rng),),
        "dem": (image(folder / "dem.zarr", box, rng),),
    }
    return Ground(box, classes, folder / "labels.tif", cubes)


def write_labels(path: Path, labels_yx: np.ndarray, box: PixelBox, crs: str = CRS) -> Path:
    """A label raster as `lc labels` writes it."""
    left, _, _, top = box.bounds_m(GSD_M)
    profile = {
        "driver": "GTiff", "dtype": labels_yx.dtype, "count": 1, "height": box.height, "width": box.width,
        "crs": crs, "transform": rasterio.Affine(GSD_M, 0, left, 0, -GSD_M, top), "nodata": 255,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as sink:
        sink.write(labels_yx, 1)
    return path


def series(
    path: Path, source: str, bands: tuple[str, ...], classes: np.ndarray, box: PixelBox, rng: np.random.Generator
) -> Path:
    """Six months; a fifth of the pixels of each date is invalid."""
    periods = split_periods(date(2021, 3, 1), date(2021, 9, 1), "month")
    shape = (len(periods), *classes.shape)
    month = np.arange(len(periods))[:, None, None]
    signal = np.where(classes == 0, 0.0, np.exp(-0.5 * (month - np.where(classes == 1, 1, 4)) ** 2))
    noisy = 0.3 + 0.5 * signal[:, None] + 0.05 * rng.standard_normal((shape[0], len(bands), *shape[1:]))
    valid = rng.random(shape) < 0.8
    if source == "s2":
        data, units, scale, offset = np.clip(noisy * 10000 + 1000, 1, 65535), "reflectance_dn", 1e-4, -0.1
        data = np.where(valid[:, None], data, 0).astype("uint16")
    else:
        data, units, scale, offset = np.where(valid[:, None], 10 ** (noisy - 1), np.nan), "gamma0_linear", 1.0, 0.0
        data = data.astype("float32")
    spec = CubeSpec(
        source, source, "series", bands, units, scale, offset, GSD_M, CRS, box.bounds_m(GSD_M), periods, str(data.dtype)
    )
    count = valid.astype("uint16")
    write_cube(path, make_cube(spec, data, valid, count, count))
    return path


def image(path: Path, box: PixelBox, rng: np.random.Generator) -> Path:
    """Heights at 20 m, everywhere valid."""
    data = rng.normal(500, 50, (1, 1, box.height // 2, box.width // 2)).astype("float32")
    valid = np.ones((1, *data.shape[2:]), bool)
    spec = CubeSpec("dem", "", "image", ("elevation",), "m", 1.0, 0.0, 20.0, CRS, box.bounds_m(GSD_M), (), "float32")
    write_cube(path, make_cube(spec, data, valid, valid.astype("uint16"), valid.astype("uint16")))
    return path
