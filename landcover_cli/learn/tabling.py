"""Training patches of one pixel each from a table of series: field campaigns train a model without any raster."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np

from landcover_cli.config.labels import TableConfig, TileConfig
from landcover_cli.core.unit import RunContext
from landcover_cli.core.windows import PixelBox
from landcover_cli.errors import InputError
from landcover_cli.io.patchindex import PatchRecord
from landcover_cli.io.patchstore import STORE, PatchPort, PatchSample, PatchWriter, StoredInput
from landcover_cli.io.seriestable import GRID_CRS, SeriesTable, groups_of, read_series_table
from landcover_cli.labels.crosswalk import Crosswalk, ValueMapper
from landcover_cli.labels.legend import Legend
from landcover_cli.labels.splits import NAMES, assign_splits
from landcover_cli.learn.patchfacts import measured_facts, split_rule, write_facts
from landcover_cli.learn.statistics import BandStatistics
from landcover_cli.learn.values import physical_values, transform_of

__all__ = ["make_table_patches"]

log = logging.getLogger("lc")

_REGION = "table"


def make_table_patches(
    description: TableConfig,
    base: Path,
    legend: Legend,
    config: TileConfig,
    out: Path,
    ctx: RunContext,
    *,
    crosswalk: Crosswalk | None = None,
) -> dict[str, Any]:
    """Split, measure and store the points of a table as patches of one pixel.

    Args:
        description: Of the table.
        base: Folder that its path is relative to.
        legend: Legend of the result.
        config: Split and seed; sizes count nothing. Blocks and buffers are in pixels of the finest input.
        out: Folder that gets what `make_patches` writes.
        ctx: Progress and cancellation.
        crosswalk: From the table's codes to the legend's.

    Returns:
        The content of ``patches.json``.

    Raises:
        InputError: As `read_series_table`; labels that neither legend nor crosswalk has; no labelled point with a
            valid date; a class without a training point.
        ConfigError: Splits that share ground; ``attribute`` without ``group``.
    """
    table = read_series_table(description, base)
    if config.split.method == "attribute" and not table.groups:
        raise InputError(
            "the table has no `group` to split by", remedy="name the column as `group` in the table's description"
        )
    index, lost = _indices(table, legend, crosswalk)
    gsd_m = min(source.gsd_m for source in description.sources.values())
    chosen = np.flatnonzero(index >= 0)
    boxes = [_box(table.xy_m[i], gsd_m) for i in chosen]
    counts = np.zeros((len(chosen), len(legend.classes)), np.int64)
    counts[np.arange(len(chosen)), index[chosen]] = 1
    config = config.in_pixels(gsd_m)
    rule = split_rule(config)
    # Points in one pixel share its ground: a random split deals pixels.
    keys = groups_of([table.groups[i] for i in chosen] if rule.method == "attribute" else [str(box) for box in boxes])
    splits = assign_splits(boxes, counts, rule, keys)
    kept = [
        (i, NAMES[code], box) for i, code, box in zip(chosen.tolist(), splits.split, boxes, strict=True) if code >= 0
    ]
    ports = _ports(table)
    records, measured = _store(table, kept, index, ports, legend, gsd_m, out / STORE, ctx)
    described = {
        "crs": GRID_CRS,
        "gsd_m": gsd_m,
        "patch_px": 1,
        "stride_px": 1,
        "label_nodata": legend.nodata,
        "ports": [port.to_dict() for port in ports],
        "points": lost,
    }
    told = {"groups": splits.groups, "laid": len(chosen), "unobserved": lost["unobserved"]}
    return write_facts(out, records, legend, rule, measured_facts(ports, measured), described, **told)


def _indices(table: SeriesTable, legend: Legend, crosswalk: Crosswalk | None) -> tuple[np.ndarray, dict[str, int]]:
    """Class index per point, -1 for those that are left out; and how many were, by reason.

    Raises:
        InputError: Unknown labels (all are listed); nothing is left.
    """
    mapper = ValueMapper(legend, crosswalk, table.config.ignore, f"table {table.config.path}")
    known = {value: mapper.index(value) for value in dict.fromkeys(table.labels) if value is not None}
    mapper.refuse_unknown(sorted((value for value, found in known.items() if found is None), key=str))
    index = np.array([legend.nodata if value is None else known[value] for value in table.labels], np.int64)
    series = [table.series[name] for name, source in table.config.sources.items() if source.kind == "series"]
    seen = np.zeros(len(index), bool)
    for part in series or list(table.series.values()):
        seen |= part.valid_nt.any(axis=1)
    unlabelled = np.array([value is None for value in table.labels])
    ignored = (index == legend.nodata) & ~unlabelled
    unobserved = ~seen & (index != legend.nodata)
    lost = {
        "unlabelled": int(unlabelled.sum()),
        "ignored": int(ignored.sum()),
        "unobserved": int(unobserved.sum()),
        "rows_outside_the_period": table.outside,
    }
    for name, count in lost.items():
        if count:
            log.warning("%d %s left out", count, name.replace("_", " ") if "rows" in name else f"{name} points")
    index[unlabelled | ignored | unobserved] = -1
    if not (index >= 0).any():
        raise InputError(
            f"table {table.config.path}: no point has a label and a valid date ({lost})",
            remedy="check `label`, `ignore`, `period` and `nodata` of the description",
        )
    return index, lost


def _box(xy_m: np.ndarray, gsd_m: float) -> PixelBox:
    row, col = math.floor(-xy_m[1] / gsd_m), math.floor(xy_m[0] / gsd_m)
    return PixelBox(row, col, row + 1, col + 1)


def _ports(table: SeriesTable) -> tuple[PatchPort, ...]:
    return tuple(
        PatchPort(
            name=name,
            kind=source.kind,
            bands=tuple(source.bands),
            units=source.units,
            scale=1.0,
            offset=0.0,
            gsd_m=min(s.gsd_m for s in table.config.sources.values()),
            dtype="float32",
            optional=source.optional,
            periods={_REGION: table.periods if source.kind == "series" else ()},
        )
        for name, source in sorted(table.config.sources.items())
    )


def _store(
    table: SeriesTable,
    kept: list[tuple[int, str, PixelBox]],
    index: np.ndarray,
    ports: tuple[PatchPort, ...],
    legend: Legend,
    gsd_m: float,
    path: Path,
    ctx: RunContext,
) -> tuple[list[PatchRecord], dict[str, BandStatistics]]:
    measured = {port.name: BandStatistics(len(port.bands)) for port in ports}
    training = np.array([i for i, split, _ in kept if split == "train"], np.int64)
    for port in ports:
        part = table.series[port.name]
        values, valid = physical_values(
            part.data_ntb[training][..., None, None].reshape(-1, len(port.bands), 1, 1),
            part.valid_nt[training].reshape(-1, 1, 1),
            scale=1.0,
            offset=0.0,
            transform=transform_of(port.units),
        )
        measured[port.name].feed(values, valid)
    records = []
    weighted = table.config.weight is not None
    with PatchWriter(
        path,
        ports,
        [_REGION] * len(kept),
        patch_px=1,
        gsd_m=gsd_m,
        dtype=legend.dtype,
        nodata=legend.nodata,
        weighted=weighted,
    ) as writer:
        for done, (i, split, box) in enumerate(kept):
            if done % 256 == 0:
                ctx.check()
                ctx.progress(done, len(kept), "points")
            inputs = {
                port.name: StoredInput(
                    table.series[port.name].data_ntb[i][:, :, None, None],
                    table.series[port.name].valid_nt[i][:, None, None],
                    table.series[port.name].n_nt[i][:, None, None],
                    port.periods[_REGION],
                )
                for port in ports
            }
            label = np.full((1, 1), index[i], legend.dtype)
            weight = np.full((1, 1), table.weights[i], np.float32) if weighted else None
            writer.write(PatchSample(inputs, label, weight))
            px = [0] * len(legend.classes)
            px[index[i]] = 1
            records.append(PatchRecord(_REGION, "", box, split, tuple(px)))
    return records, measured
