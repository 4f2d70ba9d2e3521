"""Hyperspectral cubes as ENVI or GeoTIFF files: bands, wavelengths, bad bands, scale and nodata. No pixel is read here.

Where the facts come from, the first that says it: what the user gives; the ENVI header; the tags of the file and of its
bands (GDAL's IMAGERY domain, ``wavelength``, ``fwhm``, ``bbl``); a wavelength in a band's description.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio

from landcover_cli.errors import InputError
from landcover_cli.io.envi import envi_pair, numbers, read_envi_header, refuse_short_envi
from landcover_cli.io.raster import gdal_env, open_raster, raster_info

_MICRO = re.compile(r"^\s*(micro|um|µm)", re.IGNORECASE)
_NANO = re.compile(r"^\s*(nano|nm)", re.IGNORECASE)
_IN_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*(nm|nanometers?|um|µm|micrometers?)\b", re.IGNORECASE)
_DAY = re.compile(
    r"(?<!\d)((?:19|20)\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?:T(\d\d)-?:?(\d\d)-?:?(\d\d))?(?!\d)"
)


@dataclass(frozen=True)
class CubeBand:
    """One band.

    Attributes:
        index: 1-based place in the file.
        name: By its wavelength, or its place.
        wavelength_nm: Centre; None where nothing says it.
        fwhm_nm: Width; None likewise.
        good: False where the file's bad-band list says so.
        gain: Reflectance per number; None where nothing says it.
        offset: Reflectance of the number 0.
    """

    index: int
    name: str
    wavelength_nm: float | None
    fwhm_nm: float | None
    good: bool
    gain: float | None
    offset: float


@dataclass(frozen=True)
class HyperCube:
    """A cube file, described.

    Attributes:
        path: What rasterio opens.
        id: The file's stem.
        bands: In the file's order.
        nodata: Value that means nothing; None where nothing says it.
        when: Time of the acquisition, UTC; None where nothing says it.
        crs: Of the pixels.
        bounds_m: (left, bottom, right, top) in it.
        gsd_m: Pixel edge.
        dtype: Type of the numbers.
    """

    path: Path
    id: str
    bands: tuple[CubeBand, ...]
    nodata: float | None
    when: dt.datetime | None
    crs: str
    bounds_m: tuple[float, float, float, float]
    gsd_m: float
    dtype: str


def read_cube(path: Path) -> HyperCube:
    """Describe a cube.

    Args:
        path: ENVI header or data file, or a GeoTIFF.

    Raises:
        InputError: Unreadable, cut short, not north-up, or lists that do not fit the bands.
    """
    pair = envi_pair(path)
    header: dict[str, str] = {}
    if pair is not None:
        header = read_envi_header(pair[0])
        refuse_short_envi(header, pair[1])
    data = pair[1] if pair else path
    with gdal_env(), open_raster(data) as dataset:
        info = raster_info(dataset)
        if not header:
            header = _tags(dataset)
        bands = _bands(dataset, header, path)
        nodata = _ignored(header, dataset, path)
    return HyperCube(
        path=data,
        id=re.sub(r"[^A-Za-z0-9._+@=-]", "_", data.stem),
        bands=bands,
        nodata=nodata,
        when=_time(header, path),
        crs=info.crs,
        bounds_m=info.bounds_m,
        gsd_m=info.gsd_m,
        dtype=info.dtype,
    )


def _tags(dataset: rasterio.DatasetReader) -> dict[str, str]:
    """Tags of a file by the keys of an ENVI header."""
    found: dict[str, str] = {}
    for domain in ("ENVI", None):
        tags = dataset.tags(ns=domain) if domain else dataset.tags()
        for key, value in tags.items():
            found.setdefault(key.lower().replace("_", " "), str(value).strip().strip("{}[]").strip())
    return found


def _bands(dataset: rasterio.DatasetReader, header: Mapping[str, str], path: Path) -> tuple[CubeBand, ...]:
    count = dataset.count
    wavelengths = _wavelengths(dataset, header, path)
    widths = _widths(dataset, header, path)
    flags = numbers(header, "bbl", count, path)
    factor = _one(header, "reflectance scale factor", path)
    if factor == 0:
        raise InputError(f"{path}: reflectance scale factor is 0", remedy="give --scale")
    gains = numbers(header, "data gain values", count, path) or _stated(dataset.scales, 1.0)
    offsets = numbers(header, "data offset values", count, path) or _stated(dataset.offsets, 0.0)
    bands, seen = [], set()
    for k in range(count):
        wavelength = wavelengths[k]
        name = f"{wavelength:.1f}nm" if wavelength is not None else f"b{k + 1:03d}"
        # Detectors overlap; two bands of one wavelength are told apart by their place.
        name = name if name not in seen else f"{name}_b{k + 1:03d}"
        seen.add(name)
        gain = gains[k] if gains else (1.0 / factor if factor else None)
        good = flags is None or flags[k] != 0
        bands.append(CubeBand(k + 1, name, wavelength, widths[k], good, gain, offsets[k] if offsets else 0.0))
    return tuple(bands)


def _stated(values: tuple[float, ...], neutral: float) -> tuple[float, ...] | None:
    """Scales or offsets of a file; None where it states none."""
    return tuple(float(v) for v in values) if any(v != neutral for v in values) else None


def _wavelengths(dataset: rasterio.DatasetReader, header: Mapping[str, str], path: Path) -> list[float | None]:
    listed = numbers(header, "wavelength", dataset.count, path)
    if listed is not None:
        unit = header.get("wavelength units", "")
        # Without a unit, numbers below 100 are micrometres: the optical range is 0.3 to 15 of them.
        micro = bool(_MICRO.match(unit)) or (not _NANO.match(unit) and max(listed) < 100)
        return [value * 1000 if micro else value for value in listed]
    found: list[float | None] = []
    for k in range(1, dataset.count + 1):
        central = dataset.tags(k, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM")
        if central is not None:
            found.append(_float(central, path) * 1000)
            continue
        own = dataset.tags(k)
        text = own.get("wavelength") or own.get("WAVELENGTH") or dataset.descriptions[k - 1] or ""
        match = _IN_TEXT.search(text)
        if match:
            value = float(match[1])
            found.append(value * 1000 if match[2].lower() in {"um", "µm"} or "micro" in match[2].lower() else value)
        else:
            found.append(_float(text, path) if re.fullmatch(r"\d+(\.\d+)?", text) and float(text) > 300 else None)
    return found


def _widths(dataset: rasterio.DatasetReader, header: Mapping[str, str], path: Path) -> list[float | None]:
    listed = numbers(header, "fwhm", dataset.count, path)
    if listed is not None:
        unit = header.get("wavelength units", "")
        micro = bool(_MICRO.match(unit)) or (not _NANO.match(unit) and max(listed) < 1)
        return [value * 1000 if micro else value for value in listed]
    own = [dataset.tags(k, ns="IMAGERY").get("FWHM_UM") for k in range(1, dataset.count + 1)]
    return [None if text is None else _float(text, path) * 1000 for text in own]


def _ignored(header: Mapping[str, str], dataset: rasterio.DatasetReader, path: Path) -> float | None:
    stated = _one(header, "data ignore value", path)
    return stated if stated is not None else (None if dataset.nodata is None else float(dataset.nodata))


def _time(header: Mapping[str, str], path: Path) -> dt.datetime | None:
    keys = ("acquisition time", "acquisition date", "acquisition datetime", "tifftag datetime")
    for text in (*(header.get(key, "").replace(":", "-", 2) for key in keys), path.stem):
        match = _DAY.search(text.replace(" ", "T", 1))
        if match:
            hour, minute, second = (int(part or 0) for part in match.groups()[3:])
            return dt.datetime(int(match[1]), int(match[2]), int(match[3]), hour, minute, second, tzinfo=dt.UTC)
    return None


def _one(header: Mapping[str, str], key: str, path: Path) -> float | None:
    return _float(header[key], path) if header.get(key) else None


def _float(text: Any, path: Path) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        raise InputError(f"{path}: {text!r} is no number", remedy="mend the header or the tags") from None
