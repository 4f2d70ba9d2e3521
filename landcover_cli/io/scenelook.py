"""Sentinel-2 scenes composited straight from their files, without observations in between.

The same numbers as by way of `io.preprocess_s2`, but for two things that only a look around would tell: a pixel that is
empty in some band is not clear, its neighbours within 20 m stay what the mask calls them; and of pixels that the mask
calls bad nobody asks whether they are empty, so that `n_obs` is what the mask says. For cloud-optimised files on disk
or on the net; JPEG 2000 is decoded quicker once and whole.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import rasterio

from landcover_cli.core.types import MASK_CLEAR, MASK_NODATA, Scene
from landcover_cli.errors import InputError
from landcover_cli.io.looks import LookReader
from landcover_cli.io.ongrid import Bounds, Lattice, Method, covered, intersect, margin_of, place, relation
from landcover_cli.io.raster import RasterInfo, open_raster, raster_info, same_crs
from landcover_cli.io.tilecache import TileCache, read_tiles
from landcover_cli.optical.masking import Mask
from landcover_cli.optical.offset import harmonise
from landcover_cli.optical.resample import upsample
from landcover_cli.registry import load


@dataclass(frozen=True)
class SceneSource:
    """A look from the files of a scene.

    Attributes:
        scene: From `io.stac_in` or `io.safe_s2`.
        bands: Bands in order.
        mask: Mask plug-in.
        mask_options: Options that were given.
        resampling: How coarser bands come to the lattice.
        add_dn: What is added to the scene's numbers.
    """

    scene: Scene
    bands: tuple[str, ...]
    mask: str
    mask_options: Mapping[str, Any] = field(default_factory=dict)
    resampling: Method = "bilinear"
    add_dn: int = 0

    @property
    def group(self) -> str:
        """Overlapping tiles of one datatake share it."""
        return str(self.scene.metadata.get("datatake") or self.scene.id)

    @property
    def id(self) -> str:
        """Scene id."""
        return self.scene.id

    @property
    def when(self) -> dt.datetime:
        """Instant of the acquisition, UTC."""
        return self.scene.datetime.astimezone(dt.UTC)

    @property
    def files(self) -> int:
        """One per band and layer."""
        return len(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Bands, and rasters that the mask reads."""
        mask = load("mask", self.mask)
        return tuple(dict.fromkeys((*self.bands, *mask.layer_names(self.bands, self.mask_options))))

    @contextmanager
    def open(self, tiles: TileCache) -> Iterator[LookReader]:
        """Open its files."""
        with ExitStack() as stack:
            files = {}
            for name in self.names:
                asset = self.scene.assets[name]
                files[name] = _File(stack.enter_context(open_raster(asset.href)), asset.band, tiles)
            yield SceneLook(self, files, load("mask", self.mask))


class _File:
    """An open raster with its header, which takes as long to ask for as a small window."""

    def __init__(self, dataset: rasterio.DatasetReader, band: int, tiles: TileCache) -> None:
        self.info: RasterInfo = raster_info(dataset)
        self._dataset, self._band, self._tiles = dataset, band, tiles

    def window(self, bounds: Bounds, margin_px: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns under some bounds in the raster's CRS and a margin, cut to the raster."""
        info = self.info
        left, _, _, top = info.bounds_m
        r0 = max(math.floor((top - bounds[3]) / info.gsd_y_m + 1e-6) - margin_px, 0)
        r1 = max(min(math.ceil((top - bounds[1]) / info.gsd_y_m - 1e-6) + margin_px, info.height), r0)
        c0 = max(math.floor((bounds[0] - left) / info.gsd_m + 1e-6) - margin_px, 0)
        c1 = max(min(math.ceil((bounds[2] - left) / info.gsd_m - 1e-6) + margin_px, info.width), c0)
        return (r0, r1), (c0, c1)

    def read(self, rows: tuple[int, int], cols: tuple[int, int], out: np.ndarray | None = None) -> np.ndarray:
        """Pixels of a window, into `out` where it is given."""
        return read_tiles(self._tiles, self.info.path, self._dataset, self._band, rows, cols, out)

    def on(self, lattice: Lattice, method: Method, out: np.ndarray) -> None:
        """The band on a lattice, into `out`."""
        info = self.info
        kind = np.dtype(info.dtype)
        if kind.kind != "u":
            raise InputError(f"raster {info.path} holds {kind}, not unsigned integers", remedy="check it")
        way, factor = relation(info, lattice.crs, lattice.gsd_m)
        margin = margin_of(info, lattice) if way == "warp" else int(way == "up" and factor > 1)
        rows, cols = self.window(bounds_in(lattice, info.crs), margin)
        same = (way, factor) == ("up", 1) and (rows[1] - rows[0], cols[1] - cols[0]) == lattice.shape_yx
        if same and kind == out.dtype:
            self.read(rows, cols, out)
            return
        values = self.read(rows, cols)
        if way == "up" and factor > 1 and method == "bilinear":
            edge = lattice.gsd_m
            top, left = info.bounds_m[3] - rows[0] * info.gsd_m, info.bounds_m[0] + cols[0] * info.gsd_m
            row, col = round((top - lattice.bounds_m[3]) / edge), round((lattice.bounds_m[0] - left) / edge)
            upsample(values, factor, row, col, *lattice.shape_yx, out)
        else:
            out[...] = place(values, info, rows[0], cols[0], lattice, method)


class SceneLook:
    """An opened scene."""

    def __init__(self, source: SceneSource, files: Mapping[str, _File], mask: Mask) -> None:
        self._source, self._files, self._mask = source, files, mask
        self._options = mask.options(source.mask_options)
        self._layers = mask.layer_names(source.bands, source.mask_options)
        self._ground: dict[tuple[str, float], Bounds | None] = {}
        self._last: tuple[Lattice, np.ndarray] | None = None

    def mask(self, lattice: Lattice) -> np.ndarray:
        """Mask codes (y, x)."""
        self._last = None
        ground = self._covered(lattice)
        if ground is None or intersect(ground, lattice.bounds_m) is None:
            return np.zeros(lattice.shape_yx, np.uint8)
        codes = self._codes(lattice)
        if (codes == MASK_CLEAR).any():
            data = self._read(lattice)
            for band in data:
                if not band.min():
                    codes[(band == 0) & (codes == MASK_CLEAR)] = MASK_NODATA
            self._last = (lattice, data)
        return codes

    def data(self, lattice: Lattice) -> np.ndarray:
        """Stored values (band, y, x)."""
        if self._last is None:
            return self._read(lattice)
        held, data = self._last
        if held == lattice:
            return data
        row = round((held.bounds_m[3] - lattice.bounds_m[3]) / lattice.gsd_m)
        col = round((lattice.bounds_m[0] - held.bounds_m[0]) / lattice.gsd_m)
        height, width = lattice.shape_yx
        return np.ascontiguousarray(data[:, row : row + height, col : col + width])

    def done(self) -> None:
        """Let go of the values that `mask` read."""
        self._last = None

    def _covered(self, lattice: Lattice) -> Bounds | None:
        """Ground that every band covers."""
        key = (lattice.crs, lattice.gsd_m)
        if key not in self._ground:
            common: Bounds | None = None
            for n, band in enumerate(self._source.bands):
                own = covered(self._files[band].info, *key)
                common = own if n == 0 else common and intersect(common, own)
            self._ground[key] = common
        return self._ground[key]

    def _codes(self, lattice: Lattice) -> np.ndarray:
        if not self._layers:
            return np.full(lattice.shape_yx, MASK_CLEAR, np.uint8)
        info = self._files[self._layers[0]].info
        reach_m = self._mask.reach_m(self._options)
        # Two pixels more for the bend of edges between two CRS.
        margin = (int(reach_m / info.gsd_m) + 1 if reach_m else 0) + (0 if same_crs(info.crs, lattice.crs) else 2)
        bounds = bounds_in(lattice, info.crs)
        native: dict[str, np.ndarray] = {}
        for name in self._layers:
            rows, cols = self._files[name].window(bounds, margin)
            native[name] = self._files[name].read(rows, cols)
        codes = self._mask.compute(native, info.gsd_m, self._options)
        return place(codes, info, rows[0], cols[0], lattice, "nearest")

    def _read(self, lattice: Lattice) -> np.ndarray:
        data = np.empty((len(self._source.bands), *lattice.shape_yx), np.uint16)
        for n, band in enumerate(self._source.bands):
            self._files[band].on(lattice, self._source.resampling, data[n])
        return harmonise(data, self._source.add_dn)


def bounds_in(lattice: Lattice, crs: str) -> Bounds:
    """Bounds of a lattice in another CRS."""
    if same_crs(lattice.crs, crs):
        return lattice.bounds_m
    from rasterio.warp import transform_bounds

    return cast(Bounds, transform_bounds(lattice.crs, crs, *lattice.bounds_m, densify_pts=21))
