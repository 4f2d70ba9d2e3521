"""One period of a cube as a Cloud-Optimized GeoTIFF."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rasterio.windows import Window

from landcover_cli.errors import InputError
from landcover_cli.io.atomic import storage_error
from landcover_cli.io.cog import write_cog
from landcover_cli.io.composite import blocks
from landcover_cli.io.cubestore import CubeSeries
from landcover_cli.io.ongrid import Lattice
from landcover_cli.io.rasterwrite import create_geotiff


def export_period(cube: Path | Iterable[Path], label: str, target: Path) -> None:
    """Write one period of a cube as COG: stored values, with scale and offset in the file.

    Args:
        cube: A ``cube.zarr``, or its pieces.
        label: Period as the cube names it (``2021-03``).
        target: The COG; it appears whole or not at all.

    Raises:
        InputError: The cube is damaged or has no such period.
        StorageError: The target cannot be written.
    """
    series = CubeSeries.open([cube] if isinstance(cube, Path) else cube)
    labels = [period.label for period in series.periods]
    if label not in labels:
        raise InputError(f"the cube has no period {label!r}", remedy=f"one of {', '.join(labels) or 'none'}")
    t = labels.index(label)
    nodata = 0.0 if series.dtype.kind == "u" else float("nan")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(target, error) from error
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
        plain = Path(scratch) / "period.tif"
        with create_geotiff(
            plain,
            bounds_m=series.bounds_m,
            gsd_m=series.gsd_m,
            crs=series.crs,
            count=len(series.bands),
            dtype=str(series.dtype),
            nodata=nodata,
            descriptions=series.bands,
            tags={"period": label, "source": series.source, "units": series.units},
        ) as dataset:
            dataset.scales = [series.scale] * len(series.bands)
            dataset.offsets = [series.offset] * len(series.bands)
            for y0, x0, block in blocks(Lattice(series.crs, series.gsd_m, series.bounds_m)):
                window = series.read(block.bounds_m, t)
                data = np.where(window.valid_tyx[0], window.data_tbyx[0], np.asarray(nodata, series.dtype))
                height, width = block.shape_yx
                dataset.write(data, window=Window(x0, y0, width, height))
        write_cog(plain, target, categorical=False)
