"""Labels of any kind (polygons, points, class rasters, any legend) as class indices on a grid."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import shapely

from landcover_cli.core.grid import GeoBox
from landcover_cli.core.types import Period
from landcover_cli.errors import InputError
from landcover_cli.io.atomic import atomic_file
from landcover_cli.io.labelraster import codes_on_grid, open_class_raster
from landcover_cli.io.rasterwrite import whole_raster
from landcover_cli.io.vector import Features, attributes, read_features, reproject, reproject_all
from landcover_cli.labels.crosswalk import Crosswalk, ValueMapper
from landcover_cli.labels.legend import Legend
from landcover_cli.labels.rasterise import Rule, burn, inside

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_VECTOR = {".geojson", ".json", ".gpkg", ".parquet", ".geoparquet", ".pq", ".shp", ".fgb", ".kml", ".gml", ".sqlite"}
_ATTRIBUTES = ("code", "class", "label", "class_id", "class_code", "lc")
_BLOCK_PX = 1024


@dataclass(frozen=True)
class LabelFacts:
    """What became of the labels of one grid.

    Attributes:
        class_px: Pixels per class index.
        skipped: Features near the grid without a value.
        contradictory_px: Pixels without a label because points in them disagree.
        repaired: Polygons that crossed themselves.
        out_of_date: Features near the grid that do not hold for the period.
        ignored: Features near the grid whose value means `no label`.
        too_small: Polygons within the grid that hold no pixel centre and so label nothing.
    """

    class_px: tuple[int, ...]
    skipped: int = 0
    contradictory_px: int = 0
    repaired: int = 0
    out_of_date: int = 0
    ignored: int = 0
    too_small: int = 0

    @property
    def total_px(self) -> int:
        """Pixels with a label."""
        return sum(self.class_px)

    def merge(self, other: LabelFacts) -> LabelFacts:
        """Facts of two grids without common ground. Features on both are counted twice."""
        return LabelFacts(
            tuple(a + b for a, b in zip(self.class_px, other.class_px, strict=True)),
            self.skipped + other.skipped,
            self.contradictory_px + other.contradictory_px,
            self.repaired + other.repaired,
            self.out_of_date + other.out_of_date,
            self.ignored + other.ignored,
            self.too_small + other.too_small,
        )

    def to_dict(self, legend: Legend) -> dict[str, Any]:
        """JSON-able form, with the legend's codes."""
        facts: dict[str, Any] = {
            "labelled_px": self.total_px,
            "classes": [
                {"code": item.code, "name": item.name, "px": px}
                for item, px in zip(legend.classes, self.class_px, strict=True)
            ],
            "skipped_features": self.skipped,
            "contradictory_px": self.contradictory_px,
            "repaired_polygons": self.repaired,
        }
        rare = {
            "out_of_date_features": self.out_of_date,
            "ignored_features": self.ignored,
            "polygons_without_a_pixel": self.too_small,
        }
        return facts | {name: count for name, count in rare.items() if count}

    def warnings(self) -> list[str]:
        """What was left out, in words: nothing is lost without being said."""
        found = [
            (self.contradictory_px, "pixels got no label because points in them disagree"),
            (self.repaired, "label polygons cross themselves and were taken apart"),
            (self.out_of_date, "label features do not hold for the period and were left out"),
            (self.skipped, "label features have no value and were left out"),
            (self.too_small, "label polygons hold no pixel centre and label nothing: rule all_touched would take them"),
            (self.ignored, "label features have a value that means `no label`"),
        ]
        return [f"{count} {text}" for count, text in found if count]


@dataclass(frozen=True)
class LabelSource:
    """Labels and how to read them.

    Attributes:
        path: Polygons or points (GeoJSON, GeoPackage, GeoParquet, Shapefile), or a class raster (GeoTIFF, NetCDF).
        legend: Legend of the result.
        crosswalk: From the labels' codes to the legend's; None where they are the same.
        attribute: Attribute of vector labels with the code or the name; default: the only one, or ``code``, ``class``
            or ``label``.
        layer: Layer of a GeoPackage, variable of a NetCDF, band of a raster; default: the only one.
        ignore: Codes that mean `no label`.
        rule: Which pixels a polygon labels.
        what: Name of the kind of file, for messages.
        weight: What a label of this source counts in training, above 0.
        weight_attribute: Attribute of vector labels that `weight` is multiplied by.
        valid_from: Attribute of vector labels with the first day that they hold for; no value: from ever.
        valid_to: Attribute with the last day; no value: for ever.
        period: Days that are mapped, ``[start, end)``; features that hold for none of them are left out.
    """

    path: Path
    legend: Legend
    crosswalk: Crosswalk | None = None
    attribute: str | None = None
    layer: str | None = None
    ignore: tuple[int, ...] = field(default=())
    rule: Rule = "centre"
    what: str = "labels"
    weight: float = 1.0
    weight_attribute: str | None = None
    valid_from: str | None = None
    valid_to: str | None = None
    period: Period | None = None

    @property
    def weighted(self) -> bool:
        """Whether any of its labels may count other than 1."""
        return self.weight != 1.0 or self.weight_attribute is not None

    @property
    def is_vector(self) -> bool:
        """Whether the labels are features (by the file's name)."""
        return self.path.suffix.lower() in _VECTOR

    def is_points(self) -> bool:
        """Whether the labels are points, all of them.

        Raises:
            InputError: Unreadable.
        """
        if not self.is_vector:
            return False
        features = _features(self.path, self.layer, None, None, None, self.what)
        shapes = [shape for shape in features.geometries if shape is not None and not shape.is_empty]
        return bool(shapes) and all(shape.geom_type in {"Point", "MultiPoint"} for shape in shapes)

    @property
    def _mapper(self) -> ValueMapper:
        return ValueMapper(self.legend, self.crosswalk, self.ignore, f"{self.what} {self.path}")

    def read(self, geobox: GeoBox, within: BaseGeometry | None = None) -> tuple[np.ndarray, LabelFacts]:
        """Class indices on a grid (the legend's dtype; its nodata where there is no label), and what became of them.

        Args:
            geobox: The grid.
            within: Area in the grid's CRS; pixels with their centre outside get no label.

        Raises:
            InputError: Unreadable, no CRS, values that neither legend nor crosswalk has (all are listed).
        """
        index_yx, _, facts = self.read_weighted(geobox, within)
        return index_yx, facts

    def read_weighted(
        self, geobox: GeoBox, within: BaseGeometry | None = None
    ) -> tuple[np.ndarray, np.ndarray | None, LabelFacts]:
        """As `read`, with what each label counts (float32; None where all count 1) in the middle.

        Raises:
            InputError: As `read`; a weight that is no number from 0 up; a day that is none.
        """
        weight_yx = None
        if self.is_vector:
            index_yx, weight_yx, facts = self._read_vector(geobox)
        else:
            self._refuse_attributes_of_a_raster()
            with open_class_raster(self.path, self.layer, self.what) as raster:
                index_yx = self._mapper.indices(*codes_on_grid(raster, geobox))
            facts = LabelFacts(())
        if self.weighted:
            weight_yx = (np.ones(index_yx.shape, np.float32) if weight_yx is None else weight_yx) * self.weight
            weight_yx = weight_yx.astype(np.float32)
        if within is not None:
            index_yx[~inside(within, geobox)] = self.legend.nodata
        return index_yx, weight_yx, replace(facts, class_px=self._count(index_yx))

    def _refuse_attributes_of_a_raster(self) -> None:
        named = self.weight_attribute or self.valid_from or self.valid_to
        if named is not None:
            raise InputError(
                f"{self.what} {self.path} is a raster and has no attribute {named!r}",
                remedy="weights and dates by attribute need polygons or points; a raster has one `weight`",
            )

    def bounds_on(self, crs: str) -> tuple[float, float, float, float] | None:
        """(left, bottom, right, top) of all labels in a CRS; None where there is none.

        Raises:
            InputError: Unreadable.
        """
        if not self.is_vector:
            with open_class_raster(self.path, self.layer, self.what) as raster:
                box = shapely.box(*raster.bounds())
                bounds = reproject(box, raster.crs.to_wkt(), crs, f"{self.what} {self.path}").bounds
        else:
            features = _features(self.path, self.layer, None, None, None, self.what)
            shapes = [shape for shape in features.geometries if shape is not None and not shape.is_empty]
            if not shapes:
                return None
            box = shapely.box(*shapely.total_bounds(shapes))
            bounds = reproject(box, features.crs, crs, f"{self.what} {self.path}").bounds
        return (float(bounds[0]), float(bounds[1]), float(bounds[2]), float(bounds[3]))

    def _count(self, index_yx: np.ndarray) -> tuple[int, ...]:
        counts = np.bincount(index_yx.ravel(), minlength=len(self.legend.classes))[: len(self.legend.classes)]
        return tuple(int(count) for count in counts)

    def _read_vector(self, geobox: GeoBox) -> tuple[np.ndarray, np.ndarray | None, LabelFacts]:
        name = f"{self.what} {self.path}"
        crs = str(geobox.crs)
        box = geobox.boundingbox
        bounds = (box.left, box.bottom, box.right, box.top)
        features = _features(self.path, self.layer, self._chosen_attribute(), bounds, crs, self.what)
        frame = shapely.box(*bounds)
        around = reproject(frame, crs, features.crs, name)
        # A little wider: the frame's image is a polygon with straight edges.
        margin = 1e-3 * max(around.bounds[2] - around.bounds[0], around.bounds[3] - around.bounds[1])
        near = np.add(around.bounds, [-margin, -margin, margin, margin])
        placed = [i for i, shape in enumerate(features.geometries) if shape is not None and not shape.is_empty]
        left, bottom, right, top = shapely.bounds(np.array([features.geometries[i] for i in placed], object)).T
        close = (left <= near[2]) & (right >= near[0]) & (bottom <= near[3]) & (top >= near[1])
        found = [i for i, meets in zip(placed, close, strict=True) if meets]
        said = [i for i in found if features.values[i] is not None]
        held = self._holding(bounds, crs, len(features.values)) if said else None
        chosen = said if held is None else [i for i in said if held[i]]
        shapes = [features.geometries[i] for i in chosen]
        values = [_plain_value(features.values[i]) for i in chosen]
        indices = self._indices(values)
        labelled = [position for position, index in enumerate(indices) if index != self.legend.nodata]
        weights = None
        if self.weight_attribute is not None:
            every = self._weights(bounds, crs, len(features.values))
            weights = [every[chosen[position]] for position in labelled]
        burnt = burn(
            reproject_all([shapes[position] for position in labelled], features.crs, crs, name),
            [indices[position] for position in labelled],
            geobox,
            nodata=self.legend.nodata,
            dtype=self.legend.dtype,
            rule=self.rule,
            weights=weights,
            what=name,
        )
        facts = LabelFacts(
            (),
            skipped=len(found) - len(said),
            contradictory_px=burnt.contradictory_px,
            repaired=burnt.repaired,
            out_of_date=len(said) - len(chosen),
            ignored=len(chosen) - len(labelled),
            too_small=burnt.too_small,
        )
        return burnt.index_yx, burnt.weight_yx, facts

    def _column(self, name: str, bounds: tuple[float, float, float, float], crs: str, count: int) -> list[Any]:
        values = _features(self.path, self.layer, name, bounds, crs, self.what).values
        if len(values) != count:
            raise InputError(f"{self.what} {self.path} changed while it was read", remedy="run the command again")
        return values

    def _holding(self, bounds: tuple[float, float, float, float], crs: str, count: int) -> list[bool] | None:
        """Which features hold for a day of the period; None where that is not asked."""
        if self.period is None or (self.valid_from is None and self.valid_to is None):
            return None
        holding = [True] * count
        if self.valid_from is not None:
            first = [self._day(value) for value in self._column(self.valid_from, bounds, crs, count)]
            holding = [ok and (day is None or day < self.period.end) for ok, day in zip(holding, first, strict=True)]
        if self.valid_to is not None:
            last = [self._day(value) for value in self._column(self.valid_to, bounds, crs, count)]
            holding = [ok and (day is None or day >= self.period.start) for ok, day in zip(holding, last, strict=True)]
        return holding

    def _day(self, value: Any) -> date | None:
        if value is None or not str(value).strip():
            return None
        try:
            return date.fromisoformat(str(value).strip().replace("/", "-")[:10])
        except ValueError:
            raise InputError(
                f"{self.what} {self.path}: {reprlib.repr(value)} is no day", remedy="write days as 2021-05-31"
            ) from None

    def _weights(self, bounds: tuple[float, float, float, float], crs: str, count: int) -> list[float]:
        """Weight of every feature; 1 where it has none."""
        name = str(self.weight_attribute)
        found = []
        for value in self._column(name, bounds, crs, count):
            try:
                weight = 1.0 if value is None else float(value)
            except (TypeError, ValueError):
                weight = -1.0
            if not 0 <= weight < float("inf"):
                raise InputError(
                    f"{self.what} {self.path}: attribute {name!r} holds {reprlib.repr(value)}, which is no weight",
                    remedy="weights are numbers from 0 up; 0 keeps the label out of training",
                )
            found.append(weight)
        return found

    def _indices(self, values: list[Any]) -> list[int]:
        mapper = self._mapper
        table = {value: mapper.index(value) for value in dict.fromkeys(values)}
        mapper.refuse_unknown(sorted((value for value, index in table.items() if index is None), key=str))
        return [index for value in values if (index := table[value]) is not None]

    def _chosen_attribute(self) -> str:
        if self.attribute is not None:
            return self.attribute
        known = attributes(self.path, layer=self.layer, what=self.what)
        candidates = [name for name in known if name.lower() in _ATTRIBUTES]
        if len(known) == 1 or len(candidates) == 1:
            return candidates[0] if candidates else known[0]
        listed = ", ".join(repr(name) for name in known) or "none"
        raise InputError(
            f"{self.what} {self.path}: which attribute holds the class?",
            remedy=f"name it (labels.attribute, --attribute); its attributes: {listed}",
        )


def _plain_value(value: Any) -> int | str:
    """A code or a name; columns with gaps come as floats."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else str(value)


def _features(
    path: Path,
    layer: str | None,
    attribute: str | None,
    bounds: tuple[float, float, float, float] | None,
    bounds_crs: str | None,
    what: str,
) -> Features:
    """Features of a file; formats without a spatial index are read once and kept."""
    if path.suffix.lower() in {".geojson", ".json", ".parquet", ".geoparquet", ".pq"} and path.exists():
        stat = path.stat()
        return _whole_file(path, attribute, what, stat.st_mtime_ns, stat.st_size)
    return read_features(path, layer=layer, attribute=attribute, bounds=bounds, bounds_crs=bounds_crs, what=what)


@lru_cache(maxsize=8)
def _whole_file(path: Path, attribute: str | None, what: str, mtime_ns: int, size: int) -> Features:
    return read_features(path, attribute=attribute, what=what)


def write_labels(
    target: Path,
    geobox: GeoBox,
    legend: Legend,
    read: Callable[[GeoBox], tuple[np.ndarray, LabelFacts]],
    progress: Callable[[float, float, str], None] = lambda done, total, text: None,
) -> LabelFacts:
    """Write class indices of a grid as a tiled GeoTIFF with the legend's colours, block by block.

    Args:
        target: File to write; it is not renamed into place (see `write_labels_whole`).
        geobox: The grid.
        legend: The legend; its id and version go into the tags.
        read: Gives indices and facts of a part of the grid.
        progress: Called after each block.

    Returns:
        The facts of all parts together.
    """
    facts = LabelFacts((0,) * len(legend.classes))
    blocks = list(label_blocks(geobox.shape[0], geobox.shape[1]))
    with whole_raster(target), rasterio.open(target, "w", **_profile(geobox, legend)) as sink:
        sink.update_tags(LC_LEGEND_ID=legend.id, LC_LEGEND_VERSION=legend.version)
        sink.write_colormap(1, {index: (*item.rgb, 255) for index, item in enumerate(legend.classes)})
        for done, (row, col, height, width) in enumerate(blocks):
            index_yx, part = read(geobox[row : row + height, col : col + width])
            facts = facts.merge(part)
            sink.write(index_yx, 1, window=rasterio.windows.Window(col, row, width, height))
            progress(done + 1, len(blocks), "labels")
    return facts


def write_labels_whole(
    target: Path,
    source: LabelSource,
    geobox: GeoBox,
    progress: Callable[[float, float, str], None] = lambda done, total, text: None,
) -> LabelFacts:
    """Labels of a source on a grid as one GeoTIFF that appears whole or not at all.

    Raises:
        InputError: As `LabelSource.read`; or not a single pixel of the grid has a label.
    """
    with atomic_file(target) as scratch:
        facts = write_labels(scratch, geobox, source.legend, source.read, progress)
        if facts.total_px == 0:
            raise no_label_pixel(source, geobox)
    return facts


def no_label_pixel(source: LabelSource, geobox: GeoBox) -> InputError:
    """The error of labels that miss the grid; says where both are."""
    box = geobox.boundingbox
    there = source.bounds_on(str(geobox.crs))
    where = "the file holds none" if there is None else "they span " + _shown_bounds(there)
    return InputError(
        f"{source.what} {source.path}: no label pixel in {_shown_bounds((box.left, box.bottom, box.right, box.top))} "
        f"({geobox.crs}); {where}",
        remedy="check the CRS of the labels and the area",
    )


def _shown_bounds(bounds: tuple[float, float, float, float]) -> str:
    left, bottom, right, top = bounds
    return f"x {left:.1f} … {right:.1f}, y {bottom:.1f} … {top:.1f}"


def label_blocks(height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """(row, column, height, width) of the blocks that labels are made in, in order."""
    for row in range(0, height, _BLOCK_PX):
        for col in range(0, width, _BLOCK_PX):
            yield row, col, min(_BLOCK_PX, height - row), min(_BLOCK_PX, width - col)


def _profile(geobox: GeoBox, legend: Legend) -> dict[str, Any]:
    height, width = geobox.shape
    return {
        "driver": "GTiff",
        "dtype": legend.dtype,
        "count": 1,
        "height": height,
        "width": width,
        "crs": str(geobox.crs),
        "transform": geobox.affine,
        "nodata": legend.nodata,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "DEFLATE",
        "photometric": "PALETTE",
        "bigtiff": "IF_SAFER",
    }
