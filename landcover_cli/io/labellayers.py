"""Several label sources on one grid, by priority, with what each label counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio

from landcover_cli.core.grid import GeoBox
from landcover_cli.io.atomic import atomic_file
from landcover_cli.io.labelsource import LabelFacts, LabelSource, label_blocks, no_label_pixel, write_labels
from landcover_cli.io.rasterwrite import whole_raster
from landcover_cli.labels.legend import Legend

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

__all__ = ["LabelLayers", "LayerFacts", "weights_path", "write_layers", "write_layers_whole"]


def weights_path(labels: Path) -> Path:
    """Where the weights of a raster of class indices stand, if it has any: ``<name>.weights.tif``."""
    return labels.with_suffix(".weights.tif")


@dataclass
class LayerFacts:
    """What one source of several gave to a grid.

    Attributes:
        used_px: Pixels whose label is from this source.
        agreed_px: Pixels that a source before it had labelled alike.
        overruled_px: Pixels that a source before it had labelled otherwise.
    """

    used_px: int = 0
    agreed_px: int = 0
    overruled_px: int = 0


@dataclass(frozen=True)
class LabelLayers:
    """Label sources, the first of highest priority: each labels what those before it left without a label.

    Attributes:
        sources: At least one, all with one legend.
        facts: Per source; filled by `read_weighted`.
    """

    sources: tuple[LabelSource, ...]
    facts: tuple[LayerFacts, ...] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", tuple(LayerFacts() for _ in self.sources))

    @property
    def legend(self) -> Legend:
        """The common legend."""
        return self.sources[0].legend

    @property
    def weighted(self) -> bool:
        """Whether any label may count other than 1."""
        return any(source.weighted for source in self.sources)

    def read_weighted(
        self, geobox: GeoBox, within: BaseGeometry | None = None
    ) -> tuple[np.ndarray, np.ndarray | None, LabelFacts]:
        """Class indices on a grid, what each counts (None where all count 1), and what became of the labels.

        Raises:
            InputError: As `LabelSource.read_weighted`.
        """
        nodata = self.legend.nodata
        out: np.ndarray = np.full(tuple(geobox.shape), nodata, self.legend.dtype)
        weight_yx = np.ones(out.shape, np.float32) if self.weighted else None
        total = LabelFacts((0,) * len(self.legend.classes))
        for source, facts in zip(self.sources, self.facts, strict=True):
            index_yx, mine, found = source.read_weighted(geobox, within)
            said, free = index_yx != nodata, out == nodata
            taken = said & free
            facts.used_px += int(taken.sum())
            facts.agreed_px += int((said & ~free & (index_yx == out)).sum())
            facts.overruled_px += int((said & ~free & (index_yx != out)).sum())
            np.copyto(out, index_yx, where=taken)
            if weight_yx is not None and mine is not None:
                np.copyto(weight_yx, mine, where=taken)
            total = total.merge(found)
        counts = np.bincount(out.ravel(), minlength=len(self.legend.classes))[: len(self.legend.classes)]
        whole = LabelFacts(tuple(int(count) for count in counts), *_counts(total))
        return out, weight_yx, whole

    def to_list(self) -> list[dict[str, Any]]:
        """JSON-able facts per source, in order of priority."""
        return [dict(vars(facts)) for facts in self.facts]


def _counts(facts: LabelFacts) -> tuple[int, ...]:
    return facts.skipped, facts.contradictory_px, facts.repaired, facts.out_of_date, facts.ignored, facts.too_small


def write_layers(
    target: Path,
    geobox: GeoBox,
    layers: LabelLayers,
    within: BaseGeometry | None = None,
    progress: Callable[[float, float, str], None] = lambda done, total, text: None,
    *,
    weights: Path | None = None,
) -> LabelFacts:
    """Write class indices, and beside them the weights where there are any.

    Args:
        target: File of class indices; not renamed into place.
        geobox: The grid.
        layers: Sources.
        within: Area in the grid's CRS; pixels with their centre outside get no label.
        progress: Called after each block.
        weights: File of weights; default: `weights_path` of the target. Written only where a label may count other
            than 1.

    Returns:
        The facts of all sources together.

    Raises:
        InputError: As `LabelLayers.read_weighted`.
    """
    windows = iter(label_blocks(geobox.shape[0], geobox.shape[1]))
    with _weight_sink(weights or weights_path(target), geobox, layers.weighted) as sink:

        def read(part: GeoBox) -> tuple[np.ndarray, LabelFacts]:
            index_yx, weight_yx, facts = layers.read_weighted(part, within)
            row, col, height, width = next(windows)
            if sink is not None and weight_yx is not None:
                # Nothing where there is no label: another raster may have one there.
                shown = np.where(index_yx != layers.legend.nodata, weight_yx, np.float32(np.nan))
                sink.write(shown, 1, window=rasterio.windows.Window(col, row, width, height))
            return index_yx, facts

        return write_labels(target, geobox, layers.legend, read, progress)


@contextmanager
def _weight_sink(path: Path, geobox: GeoBox, wanted: bool) -> Iterator[Any]:
    if not wanted:
        yield None
        return
    profile = {
        "driver": "GTiff",
        "dtype": "float32",
        "count": 1,
        "height": geobox.shape[0],
        "width": geobox.shape[1],
        "crs": str(geobox.crs),
        "transform": geobox.affine,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "DEFLATE",
        "predictor": 3,
        "nodata": float("nan"),
        "bigtiff": "IF_SAFER",
    }
    with whole_raster(path), rasterio.open(path, "w", **profile) as sink:
        sink.set_band_description(1, "label weight")
        yield sink


def write_layers_whole(
    target: Path,
    geobox: GeoBox,
    layers: LabelLayers,
    progress: Callable[[float, float, str], None] = lambda done, total, text: None,
) -> LabelFacts:
    """As `write_layers`, whole or not at all; weights of an older run beside the target do not outlive it.

    Raises:
        InputError: As there; or not a single pixel of the grid has a label.
    """
    beside = weights_path(target)
    with ExitStack() as stack:
        scratch = stack.enter_context(atomic_file(target))
        weights = stack.enter_context(atomic_file(beside)) if layers.weighted else None
        facts = write_layers(scratch, geobox, layers, None, progress, weights=weights)
        if facts.total_px == 0:
            raise no_label_pixel(layers.sources[0], geobox)
    if not layers.weighted:
        beside.unlink(missing_ok=True)
    return facts
