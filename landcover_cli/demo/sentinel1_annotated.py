"""Simulated pixels of known backscatter under the annotation of a real Sentinel-1 product.

Full-resolution pixels with annotation are rarely at hand, annotation alone often is. What is written here are pixels
whose truth is known, on the real geometry and with the real calibration and noise tables, of any version of the
processor. The tables are evaluated here in their own, plain way, so that they check `landcover_cli.sar`.

Channels that a product lacks can be derived from one that it has. Such products are marked: by a file ``DERIVED.txt``
and by a comment in every derived XML.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.windows import Window

from landcover_cli.demo.noise import stream
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.safe_archive import open_archive
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.sar.types import FloatArray, NoiseAzimuthBlock, NoiseRangeVector, S1Channel

# Backscatter in dB, one for all or by polarisation; or a function of line [n, 1] and pixel [1, m] → linear power.
Sigma0 = float | Mapping[str, float] | Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[Any]]
# First line, first pixel, lines, pixels.
ImageWindow = tuple[int, int, int, int]

LOOKS = 4.4
_TILE_PX = 512
_MIDDLE_PX = 1024


def simulate_under_annotation(
    product: Path,
    out: Path,
    *,
    sigma0_db: Sigma0,
    seed: int,
    window: ImageWindow | Literal["middle", "all"] = "middle",
    derive_vh: bool = False,
    as_ew: bool = False,
) -> Path:
    """Copy a product's annotation and put simulated pixels under it.

    Args:
        product: SAFE folder or zip; its own measurement, if any, is left behind.
        out: Folder in which the new SAFE folder appears.
        sigma0_db: Backscatter.
        seed: Seed of the speckle.
        window: Where there are pixels: a rectangle, the 1,024 × 1,024 in the middle, or the whole image. Elsewhere the
            image is 0, no data, and takes no room in the file.
        derive_vh: Make VH a copy of VV where the product has VV alone.
        as_ew: Rename an IW product to EW: an extra-wide swath in name and in the names of its sub-swaths alone.

    Returns:
        The SAFE folder.

    Raises:
        InputError: The product is not readable, or lacks calibration or noise tables.
        UsageError: The window leaves the image.
    """
    safe = copy_annotation(product, out)
    if derive_vh:
        derive_polarisation(safe)
    if as_ew:
        safe = derive_ew(safe)
    simulate_measurements(safe, sigma0_db=sigma0_db, seed=seed, window=window)
    return safe


def copy_annotation(product: Path, out: Path) -> Path:
    """Copy a SAFE folder or unpack a zip, all but its measurement.

    Args:
        product: The product.
        out: Folder in which the SAFE folder appears.

    Returns:
        The SAFE folder.

    Raises:
        InputError: It is no SAFE product.
    """
    archive = open_archive(product)
    safe = out / archive.root
    for member in archive.sizes:
        if member.startswith("measurement/"):
            continue
        target = safe / member
        target.parent.mkdir(parents=True, exist_ok=True)
        if archive.is_zip:
            with zipfile.ZipFile(archive.path) as opened:
                target.write_bytes(opened.read(f"{archive.root}/{member}"))
        else:
            target.write_bytes((archive.path / member).read_bytes())
    (safe / "measurement").mkdir(parents=True, exist_ok=True)
    return safe


def _mark(safe: Path, text: str) -> None:
    path = safe / "DERIVED.txt"
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(f"{old}{text}\n", encoding="utf-8")


def derive_polarisation(safe: Path, *, source: str = "VV", target: str = "VH") -> None:
    """Add a polarisation whose annotation, calibration and noise are copies of another's, and mark it so.

    Args:
        safe: A SAFE folder that may be changed.
        source: The polarisation that is there.
        target: The one to add; nothing happens if it is there.

    Raises:
        InputError: `source` is not there.
    """
    files = [p for p in sorted((safe / "annotation").rglob("*.xml")) if f"-{source.lower()}-" in p.name]
    if any(f"-{target.lower()}-" in p.name for p in (safe / "annotation").glob("*.xml")):
        return
    if not files:
        raise InputError(f"{safe.name}: has no polarisation {source}", remedy="derive from one that is present")
    note = f"{target} is a derived copy of {source}; no such channel was read from a real product."
    for path in files:
        text = path.read_text(encoding="utf-8")
        text = text.replace(f"<polarisation>{source}</polarisation>", f"<polarisation>{target}</polarisation>")
        head, body = text.split("?>", 1)
        name = path.name.replace(f"-{source.lower()}-", f"-{target.lower()}-").replace("-001.xml", "-002.xml")
        (path.parent / name).write_text(f"{head}?>\n<!-- {note} -->{body}", encoding="utf-8")
    _mark(safe, note)


def derive_ew(safe: Path) -> Path:
    """Rename an IW product to EW, and mark it so; a stand-in, not seen on a real product.

    Args:
        safe: A SAFE folder that may be changed.

    Returns:
        The folder under its new name.

    Raises:
        UsageError: It is no IW GRD product.
    """
    if "_IW_GRD" not in safe.name:
        raise UsageError(f"{safe.name} is no IW GRD product", remedy="derive EW from one")
    for path in sorted(safe.rglob("*")):
        if path.suffix not in (".xml", ".safe"):
            continue
        text = path.read_text(encoding="utf-8")
        for tag in ("mode", "swath"):
            text = text.replace(f"<{tag}>IW", f"<{tag}>EW").replace(f"<s1sarl1:{tag}>IW", f"<s1sarl1:{tag}>EW")
        text = text.replace("-iw-grd-", "-ew-grd-").replace("iwgrd", "ewgrd")
        path.write_text(text, encoding="utf-8")
        path.rename(path.with_name(path.name.replace("-iw-grd-", "-ew-grd-")))
    renamed = safe.with_name(safe.name.replace("_IW_", "_EW_"))
    _mark(safe, "The mode EW is derived from IW by names alone; no EW product was read.")
    shutil.move(safe, renamed)
    return renamed


def simulate_measurements(
    safe: Path,
    *,
    sigma0_db: Sigma0,
    seed: int,
    window: ImageWindow | Literal["middle", "all"] = "middle",
) -> None:
    """Write a measurement for every channel of a SAFE folder; arguments as in `simulate_under_annotation`.

    Raises:
        InputError: A channel lacks calibration or noise tables.
        UsageError: The window leaves the image.
    """
    product = open_s1_product(safe)
    for swath, polarisation in product.channels:
        channel = product.channel(polarisation, swath, need_measurement=False)
        stem = next(
            p.stem
            for p in (safe / "annotation").glob("*.xml")
            if f"-{swath.lower()}-" in p.name and f"-{polarisation.lower()}-" in p.name
        )
        _write(safe / "measurement" / f"{stem}.tiff", channel, sigma0_db, seed, window)


def _box(shape_yx: tuple[int, int], window: ImageWindow | Literal["middle", "all"]) -> ImageWindow:
    lines, pixels = shape_yx
    if window == "all":
        return 0, 0, lines, pixels
    if window == "middle":
        height, width = min(lines, _MIDDLE_PX), min(pixels, _MIDDLE_PX)
        return (lines - height) // 2, (pixels - width) // 2, height, width
    line0, pixel0, height, width = window
    if min(line0, pixel0) < 0 or min(height, width) < 1 or line0 + height > lines or pixel0 + width > pixels:
        raise UsageError(f"window {window} leaves the image of {lines} × {pixels}", remedy="choose one inside")
    return line0, pixel0, height, width


def _tiles(box: ImageWindow) -> Iterator[ImageWindow]:
    """The parts of a box within the file's tiles."""
    line0, pixel0, height, width = box
    for y in range(line0 // _TILE_PX * _TILE_PX, line0 + height, _TILE_PX):
        for x in range(pixel0 // _TILE_PX * _TILE_PX, pixel0 + width, _TILE_PX):
            top, left = max(y, line0), max(x, pixel0)
            yield top, left, min(y + _TILE_PX, line0 + height) - top, min(x + _TILE_PX, pixel0 + width) - left


def _write(
    path: Path,
    channel: S1Channel,
    sigma0_db: Sigma0,
    seed: int,
    window: ImageWindow | Literal["middle", "all"],
) -> None:
    annotation = channel.annotation
    shape = annotation.image.shape_yx
    box = _box(shape, window)
    slc = annotation.meta.product_type == "SLC"
    ties = annotation.geolocation
    columns = (ties.line, ties.pixel, ties.lon_deg, ties.lat_deg, ties.height_m)
    points = [GroundControlPoint(*(float(v) for v in point)) for point in zip(*columns, strict=True)]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=shape[0],
        width=shape[1],
        count=1,
        dtype="complex_int16" if slc else "uint16",
        gcps=points,
        crs="EPSG:4326",
        compress="deflate",
        zlevel=1,
        tiled=True,
        blockxsize=_TILE_PX,
        blockysize=_TILE_PX,
        SPARSE_OK=True,
        BIGTIFF="IF_SAFER",
    ) as target:
        for part in _tiles(box):
            line0, pixel0, height, width = part
            line = np.arange(line0, line0 + height)
            pixel = np.arange(pixel0, pixel0 + width)
            power = _sigma0(sigma0_db, annotation.polarisation, line, pixel)
            power = power * calibration_factor(channel, line, pixel) ** 2 + noise_power(channel, line, pixel)
            # A tile draws from a stream of its own: no pixel depends on the window.
            tile = (line0 // _TILE_PX, pixel0 // _TILE_PX)
            rng = stream(seed, "annotated", annotation.swath, annotation.polarisation, *tile)
            within = (
                slice(line0 % _TILE_PX, line0 % _TILE_PX + height),
                slice(pixel0 % _TILE_PX, pixel0 % _TILE_PX + width),
            )
            values = _slc(channel, power, line, pixel, rng, within) if slc else _grd(power, rng, within)
            target.write(values, 1, window=Window(pixel0, line0, width, height))


def _sigma0(
    sigma0_db: Sigma0, polarisation: str, line: NDArray[np.int64], pixel: NDArray[np.int64]
) -> NDArray[np.float64]:
    if callable(sigma0_db):
        return np.broadcast_to(sigma0_db(line[:, None], pixel[None, :]), (len(line), len(pixel)))
    value = sigma0_db[polarisation] if isinstance(sigma0_db, Mapping) else sigma0_db
    return np.full((len(line), len(pixel)), 10.0 ** (value / 10.0))


def _grd(power: FloatArray, rng: np.random.Generator, within: tuple[slice, slice]) -> NDArray[np.uint16]:
    speckle = rng.standard_gamma(LOOKS, (_TILE_PX, _TILE_PX))[within] / LOOKS
    return np.asarray(np.clip(np.rint(np.sqrt(power * speckle)), 1, 65_535), np.uint16)


def _slc(
    channel: S1Channel,
    power: FloatArray,
    line: NDArray[np.int64],
    pixel: NDArray[np.int64],
    rng: np.random.Generator,
    within: tuple[slice, slice],
) -> NDArray[np.complex64]:
    field = rng.standard_normal((2, _TILE_PX, _TILE_PX))[:, *within] * np.sqrt(0.5 * power)
    timing = channel.annotation.swath_timing
    first = np.concatenate([b.first_valid_sample for b in timing.bursts])[line][:, None]
    last = np.concatenate([b.last_valid_sample for b in timing.bursts])[line][:, None]
    valid = (first >= 0) & (pixel >= first) & (pixel <= last)
    return np.asarray(np.where(valid, np.rint(field[0]) + 1j * np.rint(field[1]), 0), np.complex64)


def _between(nodes: FloatArray, at: float) -> list[tuple[int, float]]:
    """(index, weight) of the one or two nodes around a position; the nearest one outside."""
    if len(nodes) == 1 or at <= nodes[0]:
        return [(0, 1.0)]
    if at >= nodes[-1]:
        return [(len(nodes) - 1, 1.0)]
    high = int(np.searchsorted(nodes, at, side="right"))
    share = (at - nodes[high - 1]) / (nodes[high] - nodes[high - 1])
    return [(high - 1, 1.0 - share), (high, share)]


def calibration_factor(channel: S1Channel, line: NDArray[np.int64], pixel: NDArray[np.int64]) -> FloatArray:
    """Factors of sigma nought at lines × pixels: linear in pixel, then in azimuth time."""
    vectors = channel.calibration.vectors
    times = np.array([v.azimuth_time_s for v in vectors])
    line_time = channel.annotation.line_times_s()[line]
    rows: dict[int, FloatArray] = {}
    out = np.zeros((len(line), len(pixel)))
    for row, time in enumerate(line_time):
        for k, weight in _between(times, float(time)):
            if k not in rows:
                rows[k] = np.interp(pixel, vectors[k].pixel, vectors[k].sigma0)
            out[row] += weight * rows[k]
    return out


def noise_power(channel: S1Channel, line: NDArray[np.int64], pixel: NDArray[np.int64]) -> FloatArray:
    """Noise power at lines × pixels, on the scale of DN²: of any version of the processor."""
    annotation, noise = channel.annotation, channel.noise
    line_time = annotation.line_times_s()[line]
    vectors = list(noise.range_vectors)
    out = np.zeros((len(line), len(pixel)))
    if annotation.swath_timing.bursts:
        bursts = annotation.swath_timing.bursts
        for row, number in enumerate(line // annotation.swath_timing.lines_per_burst):
            start = bursts[number].azimuth_time_s
            nearest = min(vectors, key=lambda v: abs(v.azimuth_time_s - start))
            out[row] = np.interp(pixel, nearest.pixel, nearest.lut)
    elif not noise.azimuth_blocks:
        out = _interpolate(vectors, line_time, pixel)
    for block in noise.azimuth_blocks:
        rows = np.flatnonzero((line >= block.first_line) & (line <= block.last_line))
        cols = np.flatnonzero((pixel >= block.first_pixel) & (pixel <= block.last_pixel))
        if not len(rows) or not len(cols):
            continue
        here = np.ix_(rows, cols)
        if not annotation.swath_timing.bursts:
            out[here] = _interpolate(_inside(vectors, block), line_time[rows], pixel[cols])
        out[here] *= np.interp(line[rows], block.line, block.lut)[:, None]
    return out


def _inside(vectors: list[NoiseRangeVector], block: NoiseAzimuthBlock) -> list[NoiseRangeVector]:
    found = [v for v in vectors if block.first_line <= v.line <= block.last_line]
    return found or [min(vectors, key=lambda v: abs(v.line - 0.5 * (block.first_line + block.last_line)))]


def _interpolate(vectors: list[NoiseRangeVector], time_s: FloatArray, pixel: NDArray[np.int64]) -> FloatArray:
    times = np.array([v.azimuth_time_s for v in vectors])
    out = np.zeros((len(time_s), len(pixel)))
    rows: dict[int, FloatArray] = {}
    for row, time in enumerate(time_s):
        for k, weight in _between(times, float(time)):
            if k not in rows:
                rows[k] = np.interp(pixel, vectors[k].pixel, vectors[k].lut)
            out[row] += weight * rows[k]
    return out
