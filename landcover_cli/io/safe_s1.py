"""Sentinel-1 Level-1 products: SAFE folders, zips and COG variants, read in place.

`open_s1_product` lists and checks the product; `S1Product.channel` reads one polarisation of one swath;
`open_measurement` reads its pixels by window.
"""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.windows import Window

from landcover_cli.errors import InputError
from landcover_cli.io.safe_archive import SafeArchive, open_archive
from landcover_cli.io.safe_s1_xml import parse_annotation, parse_calibration, parse_manifest, parse_noise
from landcover_cli.sar.types import NoiseVectors, ProductMeta, S1Annotation, S1Channel

_log = logging.getLogger("lc")

# s1a-iw-grd-vv-20210119t031653-20210119t031718-036201-043ed0-001, s1a-iw1-slc-vh-…, s1a-s3-grd-hh-…
_STEM = re.compile(r"^s1[a-z]-([a-z]{2}\d?|[sn]\d)-(?:grd|slc)-(vv|vh|hh|hv)-", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class S1Product:
    """One Sentinel-1 product, listed and checked, nothing of its channels read yet.

    Attributes:
        path: Where it lies.
        meta: What holds for the whole product.
        epoch: Reference of every time in seconds: the start of the product, datetime64[ns], UTC.
        archive: Its files.
        channels: (swath, polarisation) of every annotation present, sorted; swath is "IW" for a GRD, "IW1" for an SLC.
        declared: (swath, polarisation) of every annotation that the manifest lists, sorted.
        listed: Names of these annotations, in the same order.
    """

    path: Path
    meta: ProductMeta
    epoch: np.datetime64
    archive: SafeArchive
    channels: tuple[tuple[str, str], ...]
    declared: tuple[tuple[str, str], ...]
    listed: tuple[str, ...] = ()

    @property
    def polarisations(self) -> tuple[str, ...]:
        """Polarisations present, co-polar first."""
        return tuple(sorted({p for _, p in self.channels}, key=lambda p: (p[0] != p[1], p)))

    @property
    def swaths(self) -> tuple[str, ...]:
        """Swaths present, sorted."""
        return tuple(sorted({s for s, _ in self.channels}))

    def annotation(self, polarisation: str, swath: str | None = None) -> S1Annotation:
        """Read the annotation of one channel.

        Args:
            polarisation: "VV", "VH", "HH" or "HV".
            swath: Swath name; needed only where the product has several.

        Returns:
            The annotation.

        Raises:
            InputError: The channel is absent, or its annotation is missing or damaged.
        """
        stem = self._stem(polarisation, swath)
        member = self._member("annotation", stem, "", ".xml")
        return parse_annotation(self._read(member, stem), f"{self.archive.root}/{member}", self.meta, self.epoch)

    def channel(
        self, polarisation: str, swath: str | None = None, *, need_measurement: bool = True, need_noise: bool = True
    ) -> S1Channel:
        """Read everything of one channel but its pixels.

        Args:
            polarisation: "VV", "VH", "HH" or "HV".
            swath: Swath name; needed only where the product has several.
            need_measurement: Whether a missing measurement is an error; if not, its path is "".
            need_noise: Whether missing noise vectors are an error; if not, they are empty.

        Returns:
            The channel.

        Raises:
            InputError: The channel is absent, or one of its files is missing (named) or damaged.
        """
        stem = self._stem(polarisation, swath)
        root = self.archive.root
        calibration = self._member("annotation/calibration", stem, "calibration-", ".xml")
        noise = NoiseVectors(range_vectors=(), azimuth_blocks=())
        if need_noise or self._find("annotation/calibration", stem, "noise-", ".xml"):
            member = self._member("annotation/calibration", stem, "noise-", ".xml")
            noise = parse_noise(self._read(member, stem), f"{root}/{member}", self.epoch)
        measurement = ""
        if need_measurement or self._find("measurement", stem, "", ".tiff"):
            measurement = self.archive.gdal_path(self._member("measurement", stem, "", ".tiff"))
        return S1Channel(
            annotation=self.annotation(polarisation, swath),
            calibration=parse_calibration(self._read(calibration, stem), f"{root}/{calibration}", self.epoch),
            noise=noise,
            measurement=measurement,
        )

    def check_whole(self) -> None:
        """Refuse to take a part of the product for all of it; of use where nobody named polarisations.

        A sub-swath that is absent with all of its files is only warned of: products are cut to sub-swaths on purpose.

        Raises:
            InputError: The annotation of a polarisation is missing, though the manifest lists it in a swath that is
                there.
        """
        for (swath, polarisation), name in zip(self.declared, self.listed, strict=True):
            if swath in self.swaths and (swath, polarisation) not in self.channels:
                raise InputError(
                    f"{self.meta.product_id}: annotation/{name} is missing, though the manifest lists it",
                    remedy=f"download the product again, or ask for {', '.join(self.polarisations)} alone "
                    "(--polarisation)",
                )
        absent = sorted({swath for swath, _ in self.declared} - set(self.swaths))
        if absent:
            _log.warning(
                "%s: no annotation of the sub-swath %s, though the manifest lists it: made without",
                self.meta.product_id,
                ", ".join(absent),
            )

    def _read(self, member: str, stem: str) -> ET.Element:
        """A file of one channel, whose header must be of the channel that the name says."""
        root = self.archive.read_xml(member)
        match = _STEM.match(stem)
        assert match is not None
        for field, named in (("swath", match.group(1).upper()), ("polarisation", match.group(2).upper())):
            found = (root.findtext(f"adsHeader/{field}") or named).strip().upper()
            if found != named:
                raise InputError(
                    f"{self.archive.root}/{member}: its name says {field} {named}, its header {found}",
                    remedy="download the product again",
                )
        return root

    def _stem(self, polarisation: str, swath: str | None) -> str:
        polarisation = polarisation.upper()
        if swath is None:
            if len(self.swaths) > 1:
                raise InputError(
                    f"{self.meta.product_id}: has the swaths {', '.join(self.swaths)}; name one of them",
                    remedy=f"ask for swath {self.swaths[0]}, for example",
                )
            swath = self.swaths[0]
        stems = _channel_stems(self.archive)
        stem = stems.get((swath.upper(), polarisation))
        if stem is not None:
            return stem
        present = ", ".join(f"{s} {p}" for s, p in self.channels)
        if (swath.upper(), polarisation) in self.declared:
            raise InputError(
                f"{self.meta.product_id}: annotation/*-{swath.lower()}-*-{polarisation.lower()}-*.xml is missing, "
                f"though the manifest lists it; present: {present}",
                remedy="download the product again",
            )
        raise InputError(
            f"{self.meta.product_id}: has no polarisation {polarisation} in swath {swath}; present: {present}",
            remedy="ask for one that is present",
        )

    def _find(self, folder: str, stem: str, prefix: str, suffix: str) -> str | None:
        wanted = {f"{folder}/{prefix}{_plain(stem)}{s}" for s in (suffix, suffix.removesuffix("f"))}
        for member in self.archive.sizes:
            path = PurePosixPath(member)
            if f"{path.parent}/{_plain(path.stem)}{path.suffix.lower()}" in wanted:
                return member
        return None

    def _member(self, folder: str, stem: str, prefix: str, suffix: str) -> str:
        member = self._find(folder, stem, prefix, suffix)
        if member is None:
            raise InputError(
                f"{self.meta.product_id}: {folder}/{prefix}{stem}{suffix} is missing",
                remedy="download the whole product; the tables and pixels of every channel are needed",
            )
        return member


def _plain(stem: str) -> str:
    """The stem in lower case without the mark of the COG variant, by which annotation, tables and pixels match."""
    return stem.lower().removesuffix("-cog")


def _channel_stems(archive: SafeArchive) -> dict[tuple[str, str], str]:
    stems = {}
    for member in archive.sizes:
        path = PurePosixPath(member)
        match = _STEM.match(path.name)
        if str(path.parent) == "annotation" and path.suffix.lower() == ".xml" and match:
            stems[match.group(1).upper(), match.group(2).upper()] = path.stem
    return stems


def open_s1_product(path: Path | str) -> S1Product:
    """List and check a Sentinel-1 Level-1 product.

    Args:
        path: The .SAFE folder (or its manifest.safe), or a zip that holds one.

    Returns:
        The product; its channels are read on demand.

    Raises:
        InputError: It is missing, no Sentinel-1 GRD or SLC product, an archive that must not be trusted, or holds no
            annotation.
    """
    archive = open_archive(Path(path))
    manifest = archive.read_xml("manifest.safe")
    product_id = archive.root.removesuffix(".SAFE").removesuffix(".safe")
    meta = parse_manifest(manifest, product_id)
    channels = tuple(sorted(_channel_stems(archive)))
    if not channels:
        raise InputError(
            f"{product_id}: annotation/*.xml is missing", remedy="download the whole product, with its annotation"
        )
    declared = {}
    for element in manifest.iter():
        name = PurePosixPath(element.get("href", "")).name
        match = _STEM.match(name)
        if match and name.lower().endswith(".xml"):
            declared[match.group(1).upper(), match.group(2).upper()] = name
    return S1Product(
        path=Path(path),
        meta=meta,
        epoch=meta.start,
        archive=archive,
        channels=channels,
        declared=tuple(sorted(declared)),
        listed=tuple(declared[channel] for channel in sorted(declared)),
    )


class Measurement:
    """Pixels of one channel, read by window; made by `open_measurement`.

    Attributes:
        shape_yx: Lines and samples, equal to the annotation's.
        block_yx: Block size of the file, along which reading is cheapest.
        is_complex: Whether the pixels are complex (SLC).
    """

    def __init__(self, dataset: Any, name: str) -> None:
        self._dataset = dataset
        self._name = name
        self.shape_yx: tuple[int, int] = (dataset.height, dataset.width)
        block_y, block_x = dataset.block_shapes[0]
        self.block_yx: tuple[int, int] = (block_y, block_x)
        self.is_complex: bool = dataset.dtypes[0].startswith("complex")

    def read(self, first_line: int, first_pixel: int, lines: int, pixels: int) -> NDArray[Any]:
        """Read one window that lies inside the image.

        Args:
            first_line: First line.
            first_pixel: First sample.
            lines: Number of lines, at least 1.
            pixels: Number of samples, at least 1.

        Returns:
            [lines, pixels] uint16 for GRD, complex64 for SLC.

        Raises:
            InputError: The window leaves the image, or the file is damaged there.
        """
        height, width = self.shape_yx
        inside_y = 0 <= first_line < first_line + lines <= height
        if not (inside_y and 0 <= first_pixel < first_pixel + pixels <= width):
            raise InputError(
                f"{self._name}: window {lines}x{pixels} at line {first_line}, sample {first_pixel} "
                f"leaves the image of {height}x{width}",
                remedy="clip the window to the image",
            )
        try:
            return self._dataset.read(1, window=Window(first_pixel, first_line, pixels, lines))
        except RasterioError as error:
            raise InputError(
                f"{self._name}: damaged at lines {first_line} to {first_line + lines - 1} ({error})",
                remedy="download the product again",
            ) from error


@contextmanager
def open_measurement(channel: S1Channel) -> Iterator[Measurement]:
    """Open the pixels of a channel.

    One handle must not be shared between threads; open one per thread.

    Args:
        channel: A channel whose measurement is present.

    Yields:
        The pixels.

    Raises:
        InputError: The file is missing, no image, of another size than the annotation, of an unknown type, or
            truncated.
    """
    name = f"{channel.annotation.meta.product_id}: measurement/{PurePosixPath(channel.measurement).name}"
    if not channel.measurement:
        raise InputError(f"{name} is missing", remedy="download the whole product")
    try:
        dataset = rasterio.open(channel.measurement)
    except RasterioIOError as error:
        raise InputError(f"{name} cannot be opened ({error})", remedy="download the product again") from error
    with dataset:
        _check_measurement(dataset, name, channel)
        yield Measurement(dataset, name)


def _check_measurement(dataset: Any, name: str, channel: S1Channel) -> None:
    expected = channel.annotation.image.shape_yx
    if dataset.shape != expected:
        raise InputError(
            f"{name} has {dataset.shape[0]}x{dataset.shape[1]} pixels, the annotation says {expected[0]}x{expected[1]}",
            remedy="download the product again",
        )
    kind = "complex" if channel.annotation.meta.product_type == "SLC" else "uint16"
    if not dataset.dtypes[0].startswith(kind):
        raise InputError(f"{name} holds {dataset.dtypes[0]}, not {kind}", remedy="download the product again")
    state = Path(_outer_file(channel.measurement)).stat()
    key = channel.measurement, state.st_mtime_ns, state.st_size
    if key in _whole:
        return
    needed, size = _bytes_needed(dataset), _file_size(channel.measurement)
    if needed > size:
        raise InputError(
            f"{name} is truncated: its pixels reach to byte {needed}, the file has {size}",
            remedy="download the product again",
        )
    # A measurement is opened once per strip; a striped file's block table has 16,000 entries.
    _whole.add(key)


_whole: set[tuple[str, int, int]] = set()


def _bytes_needed(dataset: Any) -> int:
    """Last byte that the full-resolution blocks occupy, from the TIFF's own block table; sparse blocks have none."""
    block_y, block_x = dataset.block_shapes[0]
    rows, cols = -(-dataset.height // block_y), -(-dataset.width // block_x)
    needed = 0
    for row in range(rows):
        for col in range(cols):
            offset = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", 1)
            length = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", 1)
            if offset and length:
                needed = max(needed, int(offset) + int(length))
    return needed


def _outer_file(path: str) -> str:
    """The file itself, or the zip that holds it."""
    return path.removeprefix("/vsizip/{").split("}/", 1)[0] if path.startswith("/vsizip/") else path


def _file_size(path: str) -> int:
    if not path.startswith("/vsizip/"):
        return Path(path).stat().st_size
    archive, member = path.removeprefix("/vsizip/{").split("}/", 1)
    with zipfile.ZipFile(archive) as opened:
        return opened.getinfo(member).file_size
