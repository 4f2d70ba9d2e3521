"""An observation: one scene or date on the product grid; a folder of data.tif, mask.tif and observation.json."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from landcover_cli.core.digest import pretty_json
from landcover_cli.errors import InputError
from landcover_cli.io.ongrid import Lattice
from landcover_cli.io.raster import open_raster, raster_info, read_window
from landcover_cli.io.rasterwrite import create_geotiff

Bounds = tuple[float, float, float, float]
DATA, MASK, ABOUT = "data.tif", "mask.tif", "observation.json"


@dataclass(frozen=True)
class Observation:
    """What an observation is, without its pixels.

    Attributes:
        id: Scene id.
        sensor: Name of the sensor plug-in.
        datetime: UTC, ISO 8601.
        bands: Band names in order.
        units: What stored · scale + offset means.
        scale: See `units`.
        offset: See `units`.
        gsd_m: Pixel edge.
        crs: ``EPSG:<code>`` or WKT.
        bounds_m: (left, bottom, right, top) on the lattice of `gsd_m`.
        dtype: ``uint16`` (0 = nothing) or ``float32`` (NaN = nothing).
        group: Observations of one group are one look at the ground: overlapping tiles of one datatake count once.
        facts: Baseline, offset decision and reason, orbit direction, ...
    """

    id: str
    sensor: str
    datetime: str
    bands: tuple[str, ...]
    units: str
    scale: float
    offset: float
    gsd_m: float
    crs: str
    bounds_m: Bounds
    dtype: str
    group: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def when(self) -> dt.datetime:
        """Instant of the acquisition, UTC."""
        return dt.datetime.fromisoformat(self.datetime).astimezone(dt.UTC)

    @property
    def lattice(self) -> Lattice:
        """Pixels of the two rasters."""
        return Lattice(self.crs, self.gsd_m, self.bounds_m)


@contextmanager
def create_observation(
    folder: Path, about: Observation
) -> Iterator[tuple[rasterio.io.DatasetWriter, rasterio.io.DatasetWriter]]:
    """Open the two rasters of a new observation for writing; the description follows when both are closed.

    Args:
        folder: Existing, empty.
        about: The description.
    """
    common: dict[str, Any] = {"bounds_m": about.bounds_m, "gsd_m": about.gsd_m, "crs": about.crs}
    nodata = 0.0 if about.dtype == "uint16" else float("nan")
    with (
        create_geotiff(
            folder / DATA,
            count=len(about.bands),
            dtype=about.dtype,
            nodata=nodata,
            descriptions=about.bands,
            **common,
        ) as data,
        create_geotiff(folder / MASK, count=1, dtype="uint8", nodata=0, descriptions=("mask",), **common) as mask,
    ):
        yield data, mask
    (folder / ABOUT).write_text(pretty_json(asdict(about)), encoding="utf-8")


def read_about(folder: Path) -> Observation:
    """Description of an observation.

    Raises:
        InputError: The folder is no observation.
    """
    try:
        value = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        left, bottom, right, top = value["bounds_m"]
        return Observation(**{**value, "bands": tuple(value["bands"]), "bounds_m": (left, bottom, right, top)})
    except OSError as error:
        raise InputError(
            f"{folder} is no observation ({ABOUT}: {error.strerror or error})",
            remedy="give a folder that `lc preprocess` wrote",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} is no observation: {ABOUT} is damaged ({error})", remedy="run `lc preprocess` again"
        ) from None


class ObservationReader:
    """Reads windows of one observation; holds its two files open."""

    def __init__(self, folder: Path, data: rasterio.DatasetReader, mask: rasterio.DatasetReader) -> None:
        self.about = read_about(folder)
        self._data, self._mask = data, mask
        info = raster_info(data)
        if info.descriptions != self.about.bands:
            raise InputError(
                f"{folder}: {ABOUT} names the bands {', '.join(self.about.bands)}, {DATA} holds "
                f"{', '.join(name or 'a nameless one' for name in info.descriptions)}",
                remedy="run `lc preprocess` again",
            )
        self._left, self._top = info.bounds_m[0], info.bounds_m[3]

    def _window(self, lattice: Lattice) -> tuple[tuple[int, int], tuple[int, int]]:
        height, width = lattice.shape_yx
        row = round((self._top - lattice.bounds_m[3]) / lattice.gsd_m)
        col = round((lattice.bounds_m[0] - self._left) / lattice.gsd_m)
        return (row, row + height), (col, col + width)

    def mask(self, lattice: Lattice) -> np.ndarray:
        """Mask codes on a lattice of the observation's pixel size; 0 outside."""
        return read_window(self._mask, 1, *self._window(lattice), fill=0)

    def data(self, lattice: Lattice) -> np.ndarray:
        """(band, y, x) stored values; nodata outside."""
        rows, cols = self._window(lattice)
        fill = 0 if self.about.dtype == "uint16" else np.nan
        bands = range(1, len(self.about.bands) + 1)
        return np.stack([read_window(self._data, band, rows, cols, fill) for band in bands])


@contextmanager
def open_observation(folder: Path) -> Iterator[ObservationReader]:
    """Open an observation for reading windows.

    Raises:
        InputError: The folder is no observation, or a file is damaged.
    """
    with open_raster(folder / DATA) as data, open_raster(folder / MASK) as mask:
        yield ObservationReader(folder, data, mask)
