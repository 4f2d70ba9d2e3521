"""Windowed reading of rasters through GDAL, with errors that name the file and with truncated files found out."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.windows import Window

from landcover_cli.errors import InputError
from landcover_cli.io.tiffcheck import is_tiff, tiff_is_whole

Bounds = tuple[float, float, float, float]

# One thread per unit: units run side by side. 128 MB hold a row of JPEG 2000 tiles of one full-size band.
_ENV: dict[str, Any] = {"GDAL_CACHEMAX": 128, "GDAL_NUM_THREADS": "1", "GDAL_PAM_ENABLED": "YES"}
_REMOTE = ("http://", "https://", "s3://", "/vsi")


@dataclass(frozen=True)
class RasterInfo:
    """What a raster's header says.

    Attributes:
        path: As opened.
        width: Pixels.
        height: Pixels.
        count: Bands.
        dtype: Type of the first band.
        crs: ``EPSG:<code>`` or WKT.
        gsd_m: Pixel width in units of the CRS.
        gsd_y_m: Pixel height; differs from the width in DEMs in degrees at high latitudes.
        bounds_m: (left, bottom, right, top).
        nodata: Value that means nothing; None where the file says none.
        descriptions: One per band; empty where the file says none.
        tags: Metadata of the file.
    """

    path: str
    width: int
    height: int
    count: int
    dtype: str
    crs: str
    gsd_m: float
    bounds_m: Bounds
    nodata: float | None
    descriptions: tuple[str, ...]
    tags: dict[str, str] = field(default_factory=dict)
    gsd_y_m: float = 0.0

    def __post_init__(self) -> None:
        if not self.gsd_y_m:
            object.__setattr__(self, "gsd_y_m", self.gsd_m)


@contextmanager
def gdal_env() -> Iterator[None]:
    """GDAL settings of every reader: bounded cache, one thread."""
    with rasterio.Env(**_ENV):
        yield


@contextmanager
def open_raster(href: str | Path) -> Iterator[rasterio.DatasetReader]:
    """Open a raster for reading.

    Args:
        href: Path, URL, or a path inside a zip as GDAL writes it (``/vsizip/...``).

    Raises:
        InputError: It does not exist, is no raster, or is cut off.
    """
    name = str(href)
    if not name.startswith(_REMOTE):
        if not Path(name).is_file():
            raise InputError(f"raster {name}: no such file", remedy="check the path")
        refuse_truncated(Path(name))
    try:
        dataset = rasterio.open(name)
    except RasterioIOError as error:
        raise InputError(
            f"raster {name} cannot be opened ({_first_line(error)})",
            remedy="check that it is a raster, and whole; download it again",
        ) from None
    with dataset:
        yield dataset


def raster_info(dataset: rasterio.DatasetReader) -> RasterInfo:
    """Header of an open raster.

    Raises:
        InputError: It has no CRS, or is not north-up.
    """
    transform = dataset.transform
    if dataset.crs is None or transform.is_identity:
        raise InputError(
            f"raster {dataset.name} has no georeference",
            remedy="give a file with CRS and geotransform (a sidecar .aux.xml counts; was it lost?)",
        )
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        raise InputError(
            f"raster {dataset.name} is not north-up (geotransform {tuple(transform)[:6]})",
            remedy="warp it first, e.g. with gdalwarp",
        )
    return RasterInfo(
        path=str(dataset.name),
        width=dataset.width,
        height=dataset.height,
        count=dataset.count,
        dtype=str(dataset.dtypes[0]),
        crs=crs_text(dataset.crs),
        gsd_m=float(transform.a),
        bounds_m=tuple(dataset.bounds),
        nodata=None if dataset.nodata is None else float(dataset.nodata),
        descriptions=tuple(text or "" for text in dataset.descriptions),
        tags=dict(dataset.tags()),
        gsd_y_m=float(-transform.e),
    )


def crs_text(crs: Any) -> str:
    """``EPSG:<code>`` where there is one, else WKT."""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())


def same_crs(a: str, b: str) -> bool:
    """Whether two CRS texts mean the same CRS."""
    return a == b or rasterio.crs.CRS.from_user_input(a) == rasterio.crs.CRS.from_user_input(b)


def read_window(
    dataset: rasterio.DatasetReader, band: int, rows: tuple[int, int], cols: tuple[int, int], fill: float
) -> np.ndarray:
    """Read one band over a window in pixels, which may reach beyond the raster.

    Args:
        dataset: Open raster.
        band: 1-based.
        rows: First row, first row after.
        cols: First column, first column after.
        fill: Value outside the raster.

    Returns:
        (rows, cols) in the file's type.

    Raises:
        InputError: The pixels cannot be decoded: the file is cut off or damaged.
    """
    out = np.full((rows[1] - rows[0], cols[1] - cols[0]), fill, dataset.dtypes[band - 1])
    r0, r1 = max(rows[0], 0), min(rows[1], dataset.height)
    c0, c1 = max(cols[0], 0), min(cols[1], dataset.width)
    if r0 < r1 and c0 < c1:
        try:
            part = dataset.read(band, window=Window(c0, r0, c1 - c0, r1 - r0))
        except RasterioError as error:
            raise InputError(
                f"raster {dataset.name}: band {band} cannot be decoded ({_first_line(error)}); "
                "a cut-off download looks like this",
                remedy="download the file again",
            ) from None
        out[r0 - rows[0] : r1 - rows[0], c0 - cols[0] : c1 - cols[0]] = part
    return out


def refuse_truncated(path: Path) -> None:
    """Refuse a JPEG 2000 file or TIFF whose end is missing, without decoding a pixel.

    Readers of JPEG 2000 fill lost tiles with zeros or noise instead of failing, so the container is checked: boxes must
    lie within the file and the codestream must end with its EOC marker (ISO/IEC 15444-1, annexes A and I). Readers of
    TIFF lose tags without a word; see `io.tiffcheck`.

    Raises:
        InputError: The file is shorter than its own structure says.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(16)
            if head[4:8] == b"jP  ":
                whole = _jp2_is_whole(stream, size)
            elif head[:4] == b"\xff\x4f\xff\x51":
                stream.seek(max(size - 2, 0))
                whole = stream.read(2) == b"\xff\xd9"
            elif is_tiff(head):
                whole = tiff_is_whole(stream, size)
            else:
                whole = size > 0
    except OSError as error:
        raise InputError(f"raster {path} cannot be read ({error.strerror})", remedy="check permissions") from None
    if not whole:
        raise InputError(
            f"raster {path} is cut off after {size} bytes: its own structure says it is longer",
            remedy="download the file again",
        )


def _jp2_is_whole(stream: Any, size: int) -> bool:
    """Walk the boxes of a JP2 file: (length, type), length 0 = to the end, 1 = 64-bit length follows."""
    position = 0
    found = False
    while position < size:
        stream.seek(position)
        head = stream.read(16)
        if len(head) < 8:
            return False
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1:
            if len(head) < 16:
                return False
            length = struct.unpack(">Q", head[8:16])[0]
        end = size if length == 0 else position + length
        if end > size or end <= position:
            return False
        if kind == b"jp2c":
            found = True
            stream.seek(end - 2)
            if stream.read(2) != b"\xff\xd9":
                return False
        position = end
    return found


def _first_line(error: BaseException) -> str:
    """GDAL's own words, which rasterio hides in the cause."""
    cause = error.__cause__ or error
    text = str(cause).strip() or str(error)
    return text.splitlines()[0]
