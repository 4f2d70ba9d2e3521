"""Cloud-optimised GeoTIFFs: from a tiled GeoTIFF in scratch to the file that is delivered.

Opening a COG for writing would hold the whole raster in memory; copying a tiled GeoTIFF with GDAL's COG driver holds a
few rows of blocks, and its bytes do not depend on the number of threads.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.windows import Window

from landcover_cli.errors import InputError, StorageError
from landcover_cli.io.rasterwrite import gdal_errors, write_error
from landcover_cli.io.tilewriter import BLOCK_PX

_GDAL_ERRORS = gdal_errors()


def write_cog(
    source: Path,
    target: Path,
    *,
    categorical: bool,
    compress: Literal["DEFLATE", "ZSTD"] = "DEFLATE",
    threads: int = 1,
    own_overviews: bool = False,
) -> None:
    """Copy a raster to a COG: 512 px blocks, overviews by factors of two down to one block, everything it says kept.

    The target appears whole or not at all, and only after its pixels were read back and found equal.

    Args:
        source: Tiled GeoTIFF with nodata, colours, tags, band names and scales as they are to be delivered.
        target: The COG; replaced if it exists.
        categorical: Overviews by `mode` (a class is never averaged); else by `average`.
        compress: Lossless compression.
        threads: Threads for compression; changes no byte.
        own_overviews: Take the overviews of the source instead of making them; they must go by factors of two.

    Raises:
        StorageError: The folder cannot be written, or the disk is full; nothing is left behind.
    """
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        scratch.mkdir(parents=True)
        # GDAL puts temporary overviews beside its target; the scratch folder takes them along when it goes.
        finished = scratch / target.name
        rasterio.shutil.copy(
            str(source),
            str(finished),
            driver="COG",
            BLOCKSIZE=BLOCK_PX,
            COMPRESS=compress,
            LEVEL=9 if compress == "ZSTD" else 6,
            PREDICTOR="NO" if categorical else "YES",
            OVERVIEW_RESAMPLING="MODE" if categorical else "AVERAGE",
            OVERVIEWS="FORCE_USE_EXISTING" if own_overviews else "IGNORE_EXISTING",
            BIGTIFF="IF_SAFER",
            NUM_THREADS=max(1, threads),
        )
        _check_same(source, finished)
        finished.replace(target)
    except _GDAL_ERRORS as error:
        raise write_error(target, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_same(source: Path, copy: Path) -> None:
    """Read both strip by strip: a full disk may cut a file short without a word from GDAL."""
    with rasterio.open(source) as a, rasterio.open(copy) as b:
        for row in range(0, a.height, BLOCK_PX):
            window = Window(0, row, a.width, min(BLOCK_PX, a.height - row))  # type: ignore[no-untyped-call, unused-ignore]
            for band in a.indexes:
                if not np.array_equal(a.read(band, window=window), b.read(band, window=window), equal_nan=True):
                    raise StorageError(
                        f"cannot write {copy.name}: what was written differs from what was read back",
                        remedy="check the disk",
                    )


def check_cog(path: Path) -> None:
    """Validate a COG strictly, as ``rio cogeo validate --strict`` does.

    Raises:
        InputError: With every complaint.
    """
    from rio_cogeo.cogeo import cog_validate

    valid, errors, warnings = cog_validate(str(path), strict=True, quiet=True)
    if not valid:
        raise InputError(f"{path.name} is no valid COG: {'; '.join([*errors, *warnings])}", remedy="write it again")
