"""Many label rasters of one grid seen as one."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from landcover_cli.core.windows import PixelBox
from landcover_cli.errors import InputError
from landcover_cli.io.labellayers import weights_path
from landcover_cli.io.raster import open_raster, raster_info, read_window, same_crs

__all__ = ["LabelMosaic", "WeightMosaic"]


@dataclass(frozen=True)
class _Piece:
    dataset: Any
    box: PixelBox


class LabelMosaic:
    """Rasters of class indices on one pixel lattice, opened together; a context manager.

    Attributes:
        crs: ``EPSG:<code>`` or WKT.
        gsd_m: Pixel edge in metres.
        nodata: Index that means `no label`.
        dtype: ``uint8`` or ``uint16``.
        boxes: Ground of each raster in pixels from the CRS origin, in the order of their paths.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._stack = ExitStack()
        self._pieces: list[_Piece] = []
        first = None
        try:
            for path in sorted(paths):
                dataset = self._stack.enter_context(open_raster(path))
                info = raster_info(dataset)
                if info.dtype not in {"uint8", "uint16"} or info.nodata is None:
                    raise InputError(
                        f"labels {path}: type {info.dtype}, nodata {info.nodata}; class indices are uint8 or uint16",
                        remedy="make them with `lc labels`",
                    )
                first = first or info
                for name in ("gsd_m", "dtype", "nodata"):
                    mine, theirs = getattr(first, name), getattr(info, name)
                    if mine != theirs:
                        raise InputError(
                            f"labels {first.path} and {path} differ in {name}: {mine} and {theirs}",
                            remedy="make all labels on one grid with one legend",
                        )
                if not same_crs(first.crs, info.crs):
                    raise InputError(
                        f"labels {first.path} and {path} differ in CRS: {first.crs} and {info.crs}",
                        remedy="make all labels on one grid",
                    )
                self._pieces.append(_Piece(dataset, _box(info.bounds_m, info.gsd_m, str(path))))
        except BaseException:
            self._stack.close()
            raise
        if first is None:
            raise InputError("no label raster is given", remedy="run `lc labels` first")
        self.crs, self.gsd_m, self.nodata, self.dtype = first.crs, first.gsd_m, int(first.nodata or 0), first.dtype
        self.boxes = tuple(piece.box for piece in self._pieces)

    def __enter__(self) -> LabelMosaic:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def read(self, box: PixelBox) -> np.ndarray:
        """Class indices of a box, `nodata` where there is none; where rasters overlap the first label counts."""
        out = np.full((box.height, box.width), self.nodata, self.dtype)
        for piece in self._pieces:
            part = box.intersect(piece.box)
            if part.empty:
                continue
            rows, cols = part.slices_in(piece.box)
            found = read_window(piece.dataset, 1, (rows.start, rows.stop), (cols.start, cols.stop), fill=self.nodata)
            view = out[part.slices_in(box)]
            np.copyto(view, found, where=view == self.nodata)
        return out


class WeightMosaic:
    """What labels count, from the files beside label rasters (``<name>.weights.tif``); a context manager.

    Attributes:
        found: Whether any such file is there; without one every label counts 1.
    """

    def __init__(self, labels: Iterable[Path]) -> None:
        self._stack = ExitStack()
        self._pieces: list[tuple[Any, PixelBox]] = []
        try:
            for path in sorted(labels):
                beside, dataset = weights_path(path), self._stack.enter_context(open_raster(path))
                info = raster_info(dataset)
                box = _box(info.bounds_m, info.gsd_m, str(path))
                if not beside.is_file():
                    self._pieces.append((None, box))
                    continue
                weights = self._stack.enter_context(open_raster(beside))
                if raster_info(weights).bounds_m != info.bounds_m or weights.shape != dataset.shape:
                    raise InputError(
                        f"weights {beside} lie on another grid than {path}", remedy="make both anew with `lc labels`"
                    )
                self._pieces.append((weights, box))
        except BaseException:
            self._stack.close()
            raise
        self.found = any(dataset is not None for dataset, _ in self._pieces)

    def __enter__(self) -> WeightMosaic:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def read(self, box: PixelBox) -> np.ndarray:
        """Weights of a box, float32; 1 where no file says otherwise."""
        out = np.ones((box.height, box.width), np.float32)
        # Of rasters that overlap the first counts, as with their labels.
        for dataset, covered in reversed(self._pieces):
            part = box.intersect(covered)
            if part.empty or dataset is None:
                continue
            rows, cols = part.slices_in(covered)
            found = read_window(dataset, 1, (rows.start, rows.stop), (cols.start, cols.stop), fill=np.nan)
            np.copyto(out[part.slices_in(box)], found, where=np.isfinite(found))
        return out


def _box(bounds_m: tuple[float, float, float, float], gsd_m: float, name: str) -> PixelBox:
    """Pixels of a raster on the lattice that starts at the CRS origin.

    Raises:
        InputError: The raster lies between the lattice's pixels.
    """
    if any(abs(edge / gsd_m - round(edge / gsd_m)) > 1e-3 for edge in bounds_m):
        raise InputError(
            f"labels {name}: bounds {bounds_m} are no whole multiples of the pixel of {gsd_m:g} m from the CRS origin",
            remedy="make them with `lc labels` on the cube's grid (--like)",
        )
    left, bottom, right, top = (round(edge / gsd_m) for edge in bounds_m)
    return PixelBox(-top, left, -bottom, right)
