"""Comparing a map with a reference, block by block, and the files of an assessment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from rasterio.errors import RasterioError
from rasterio.windows import Window

from landcover_cli.assess.matrix import ErrorMatrix
from landcover_cli.assess.pixelarea import pixel_area_m2
from landcover_cli.assess.summary import Design, Kind, Measured, matrix_csv, summarise
from landcover_cli.core.digest import pretty_json
from landcover_cli.core.grid import GeoBox
from landcover_cli.errors import InputError
from landcover_cli.io.labelraster import codes_on_grid, open_class_raster
from landcover_cli.io.labelsource import LabelSource
from landcover_cli.io.legendfile import read_legend
from landcover_cli.io.rastergrid import grid_like
from landcover_cli.io.vector import read_features, reproject_all
from landcover_cli.labels.crosswalk import ValueMapper
from landcover_cli.labels.legend import Legend
from landcover_cli.labels.rasterise import inside

_BLOCK_PX = 1024
"""Fixed, so that sums of areas have the same last bits everywhere."""
TRAINED_ON = ("train", "validation")

ReadReference = Callable[[GeoBox], np.ndarray]


def legend_of_map(class_map: Path, legend: Path | None = None) -> Legend:
    """The legend of a class map: the given file, else ``legend.json`` beside the map.

    Raises:
        InputError: Neither is there, or it is no legend.
    """
    if not class_map.is_file():
        raise InputError(f"map {class_map}: no such file", remedy="give the class map, e.g. <name>_class.tif")
    beside = class_map.with_name("legend.json")
    if legend is None and not beside.is_file():
        raise InputError(f"map {class_map} has no legend.json beside it", remedy="name its legend with --legend")
    return read_legend(legend or beside)


def read_source(source: LabelSource) -> ReadReference:
    """Reference from labels of any kind, as class indices."""
    return lambda geobox: source.read(geobox)[0]


def read_label_tiles(folders: Sequence[Path], legend: Legend) -> ReadReference:
    """Reference from finished label tiles (``labels.tif`` with ``legend.json``), as indices of the map's legend.

    Raises:
        InputError: A tile's legend has a class that the map's has not.
    """
    mappers: dict[Path, ValueMapper] = {}
    tables: dict[Path, np.ndarray] = {}
    for folder in folders:
        own = read_legend(folder / "legend.json")
        mappers[folder] = ValueMapper(legend, what=f"labels {folder / 'legend.json'}")
        tables[folder] = mappers[folder].indices(np.array(own.codes, np.int64), np.ones(len(own.codes), bool))

    def read(geobox: GeoBox) -> np.ndarray:
        out = np.full(tuple(geobox.shape), legend.nodata, legend.dtype)
        for folder in folders:
            with open_class_raster(folder / "labels.tif") as raster:
                left, bottom, right, top = raster.bounds()
                box = geobox.boundingbox
                if left >= box.right or right <= box.left or bottom >= box.top or top <= box.bottom:
                    continue
                codes, valid = codes_on_grid(raster, geobox)
            out[valid] = tables[folder][codes[valid]]
        return out

    return read


def trained_ground(index: Path, crs: str) -> list[Any]:
    """Footprints of training and validation patches (``index.parquet``), in a CRS.

    Raises:
        InputError: Unreadable, or without a column `split`.
    """
    features = read_features(index, attribute="split", what="patch index")
    used = [
        shape
        for shape, split in zip(features.geometries, features.values, strict=True)
        if shape is not None and str(split) in TRAINED_ON
    ]
    return reproject_all(used, features.crs, crs, f"patch index {index}")


def measure(
    class_map: Path,
    legend: Legend,
    reference: ReadReference,
    *,
    kind: Kind = "pixels",
    excluded: Sequence[Any] = (),
    progress: Callable[[float, float, str], None] = lambda done, total, text: None,
) -> Measured:
    """Compare a map with a reference, a block of 1024 pixels at a time.

    Args:
        class_map: Raster of class indices.
        legend: Its legend.
        reference: Gives the reference's class indices on a part of the map's grid.
        kind: What a unit of the reference is.
        excluded: Polygons in the map's CRS; reference units in them are left out.
        progress: Called after each block.

    Raises:
        InputError: The map is damaged or holds an index that the legend has not; no reference unit lies in the map.
    """
    geobox = grid_like(class_map)
    matrix = ErrorMatrix(len(legend.classes))
    pixels, area = np.zeros(matrix.n_classes, np.int64), np.zeros(matrix.n_classes)
    left_out = 0
    bounds = shapely.bounds(np.array(list(excluded), object)).reshape(-1, 4)
    blocks = [(r, c) for r in range(0, geobox.shape[0], _BLOCK_PX) for c in range(0, geobox.shape[1], _BLOCK_PX)]
    with _open_map(class_map) as raster:
        for done, (row, col) in enumerate(blocks):
            # GeoBox slices do not end at the edge by themselves.
            part = geobox[row : min(row + _BLOCK_PX, geobox.shape[0]), col : min(col + _BLOCK_PX, geobox.shape[1])]
            mapped = _read_map(raster, class_map, legend, Window(col, row, part.shape[1], part.shape[0]))
            row_area_m2 = pixel_area_m2(part)
            for index, count in _rows_per_class(mapped, matrix.n_classes):
                pixels[index] += int(count.sum())
                area[index] += float((count * row_area_m2).sum())
            truth = reference(part)
            box = part.boundingbox
            near = (bounds[:, 0] < box.right) & (bounds[:, 2] > box.left)
            near &= (bounds[:, 1] < box.top) & (bounds[:, 3] > box.bottom)
            if near.any():
                ground = inside(shapely.GeometryCollection([excluded[int(i)] for i in np.flatnonzero(near)]), part)
                left_out += int((ground & (truth < matrix.n_classes)).sum())
                truth = np.where(ground, legend.nodata, truth)
            matrix.feed(mapped, truth)
            progress(done + 1, len(blocks), "assess")
    if matrix.counts.sum() == 0:
        raise _nothing_to_compare(class_map, matrix, left_out)
    return Measured(matrix, pixels, area, left_out, kind)


def _rows_per_class(mapped: np.ndarray, n_classes: int) -> list[tuple[int, np.ndarray]]:
    """Pixels per row, of every class in a block."""
    found = np.unique(mapped)
    return [(int(index), (mapped == index).sum(1)) for index in found if index < n_classes]


def _open_map(path: Path) -> Any:
    try:
        return rasterio.open(path)
    except RasterioError as error:
        raise InputError(f"map {path} is not readable: {error}", remedy="check the path") from None


def _read_map(raster: Any, path: Path, legend: Legend, window: Window) -> np.ndarray:
    """Class indices of a window; the legend's nodata where there is no class."""
    try:
        values: np.ndarray = raster.read(1, window=window)
    except RasterioError as error:
        raise InputError(f"map {path} is damaged: {error.__cause__ or error}", remedy="make it again") from None
    if values.dtype.kind not in "ui":
        raise InputError(f"map {path} holds {values.dtype}, no class indices", remedy="give the class map")
    none = values == raster.nodata if raster.nodata is not None else np.zeros(values.shape, bool)
    wrong = ~none & ((values < 0) | (values >= len(legend.classes)))
    if wrong.any():
        raise InputError(
            f"map {path} holds index {int(values[wrong][0])}, but legend {legend.id!r} has "
            f"{len(legend.classes)} classes",
            remedy="give the map's own legend.json; a raster of legend codes is brought to indices with `lc labels`",
        )
    return np.where(none, legend.nodata, values).astype(legend.dtype)


def _nothing_to_compare(class_map: Path, matrix: ErrorMatrix, left_out: int) -> InputError:
    unmapped = int(matrix.unmapped.sum())
    why = "the reference has none there"
    if left_out or unmapped:
        why = f"{left_out} lie in training or validation patches, {unmapped} where the map has no class"
    return InputError(
        f"map {class_map.name}: no reference pixel to compare with: {why}",
        remedy="give a reference on other ground (assess.source, --reference), or allow training ground "
        "(assess.exclude_training: false) knowing that the figures then flatter the map",
    )


def write_assessment(folder: Path, measured: Measured, legend: Legend, design: Design) -> dict[str, Any]:
    """Write ``assessment.json`` and ``error_matrix.csv``; returns the document.

    Raises:
        InputError: A sample was announced, but a mapped class has none.
    """
    classes = [item.to_dict() for item in legend.classes]
    document = summarise(measured, classes, design)
    document["legend"] = {"id": legend.id, "version": legend.version}
    (folder / "assessment.json").write_text(pretty_json(document), encoding="utf-8")
    (folder / "error_matrix.csv").write_text(matrix_csv(measured.matrix, classes), encoding="utf-8")
    return document
