"""What is told of patches: their splits, class counts and statistics; patches of rasters and of tables share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landcover_cli.config.labels import TileConfig
from landcover_cli.core.digest import pretty_json
from landcover_cli.core.windows import PixelBox
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.io.patchindex import INDEX, PatchRecord, write_index
from landcover_cli.io.patchstore import PatchPort
from landcover_cli.labels.legend import Legend
from landcover_cli.labels.splits import NAMES, SplitRule
from landcover_cli.learn.statistics import BandStatistics
from landcover_cli.learn.values import transform_of

STATISTICS, CLASSES, SPLITS, DESCRIPTION = "statistics.json", "classes.json", "splits.json", "patches.json"
BALANCE = "balance.csv"

__all__ = [
    "balance_table",
    "check_classes",
    "class_facts",
    "measured_facts",
    "split_facts",
    "split_rule",
    "write_facts",
    "zone_keys",
]


def split_rule(config: TileConfig) -> SplitRule:
    """The rule that the settings ask for."""
    return SplitRule(**config.split.model_dump(include={"method", "ratios", "block_px", "buffer_px"}), seed=config.seed)


def zone_keys(
    boxes: Sequence[PixelBox], regions: Sequence[str], config: TileConfig, zones: Path | None, crs: str, gsd_m: float
) -> list[frozenset[str]]:
    """Names of the zones that each patch lies in, or comes nearer to than half the buffer.

    Raises:
        InputError: Zones without the attribute, or that no patch lies in.
        ConfigError: An attribute is named, but no file of zones.
    """
    if zones is None:
        if config.split.attribute is not None:
            raise ConfigError(
                f"tile.split.attribute: {config.split.attribute!r} of which file?",
                remedy="name the polygons as tile.split.zones (--zones), or leave both out to divide by region",
            )
        return [frozenset([name]) for name in regions]
    import shapely

    from landcover_cli.io.vector import read_features, reproject_all

    if config.split.attribute is None:
        raise ConfigError("tile.split.attribute is missing", remedy="name the attribute of the zones that names a zone")
    found = read_features(zones, attribute=config.split.attribute, what="zones")
    named = [
        (shape, str(value)) for shape, value in zip(found.geometries, found.values, strict=True)
        if shape is not None and not shape.is_empty and value is not None
    ]  # fmt: skip
    shapes = reproject_all([shape for shape, _ in named], found.crs, crs, f"zones {zones}")
    tree = shapely.STRtree(shapes)
    # A quarter of a pixel keeps patches that only touch a zone out of it.
    reach_m = (config.split.buffer_px / 2 - 0.25) * gsd_m
    edges = np.array([box.bounds_m(gsd_m) for box in boxes])
    squares = shapely.box(edges[:, 0] - reach_m, edges[:, 1] - reach_m, edges[:, 2] + reach_m, edges[:, 3] + reach_m)
    keys: list[set[str]] = [set() for _ in boxes]
    for patch, zone in zip(*tree.query(squares, predicate="intersects").tolist(), strict=True):
        keys[patch].add(named[zone][1])
    if not any(keys):
        raise InputError(f"no patch lies in a zone of {zones}", remedy="check the CRS of the zones and the area")
    return [frozenset(mine) for mine in keys]


def measured_facts(ports: Sequence[PatchPort], measured: Mapping[str, BandStatistics]) -> dict[str, Any]:
    """Content of ``statistics.json``.

    Raises:
        InputError: An input without a valid pixel.
    """
    found = {}
    for port in ports:
        summary = measured[port.name].result()
        if summary.count == 0:
            raise InputError(
                f"source {port.name!r} has no valid pixel in any training patch",
                remedy="check its cube, or leave the source out",
            )
        found[port.name] = {
            "bands": list(port.bands),
            "units": port.units,
            "transform": transform_of(port.units),
            "count": summary.count,
            "mean": list(summary.mean),
            "std": list(summary.std),
            "min": list(summary.minimum),
            "max": list(summary.maximum),
        }
    return found


def check_classes(records: Sequence[PatchRecord], legend: Legend, rule: SplitRule) -> None:
    """Raises: InputError: a class has labels but none for training."""
    totals = _totals(records, len(legend.classes))
    for index, item in enumerate(legend.classes):
        elsewhere = {name: int(totals[name][index]) for name in NAMES if name != "train" and totals[name][index]}
        if not totals["train"][index] and elsewhere:
            where = ", ".join(f"{px} px in {name}" for name, px in elsewhere.items())
            raise InputError(
                f"class {item.code} ({item.name}) has no training sample ({where})",
                remedy=f"use smaller blocks (now {rule.block_px} px), another tile.seed, or label more of the class",
            )


def _totals(records: Sequence[PatchRecord], n_classes: int) -> dict[str, np.ndarray]:
    totals = {name: np.zeros(n_classes, np.int64) for name in NAMES}
    for record in records:
        totals[record.split] += record.class_px
    return totals


def split_facts(records: Sequence[PatchRecord], rule: SplitRule, groups: int, laid: int) -> dict[str, Any]:
    """Content of ``splits.json``."""
    labelled = {name: sum(sum(r.class_px) for r in records if r.split == name) for name in NAMES}
    return {
        "method": rule.method,
        "ratios": list(rule.ratios),
        "block_px": rule.block_px,
        "buffer_px": rule.buffer_px,
        "seed": rule.seed,
        "groups": groups,
        "patches": {name: sum(record.split == name for record in records) for name in NAMES},
        "labelled_px": labelled,
        "left_out": laid - len(records),
        "shared_ground": False,
    }


def balance_table(records: Sequence[PatchRecord], legend: Legend) -> str:
    """``balance.csv``: per class its labelled pixels, their share and the patches that hold it, in every split."""
    totals = _totals(records, len(legend.classes))
    heads = [f"{name}_{what}" for name in NAMES for what in ("px", "share", "patches")]
    lines = [",".join(["code", "name", *heads])]
    for index, item in enumerate(legend.classes):
        cells = []
        for name in NAMES:
            px, every = int(totals[name][index]), int(totals[name].sum())
            holding = sum(record.split == name and record.class_px[index] > 0 for record in records)
            cells += [str(px), f"{px / every:.4f}" if every else "", str(holding)]
        quoted = '"' + item.name.replace('"', '""') + '"' if set(item.name) & set(',"') else item.name
        lines.append(",".join([str(item.code), quoted, *cells]))
    return "\n".join(lines) + "\n"


def class_facts(records: Sequence[PatchRecord], legend: Legend, unobserved: int) -> dict[str, Any]:
    """Content of ``classes.json``."""
    totals = _totals(records, len(legend.classes))
    return {
        "legend": {"id": legend.id, "version": legend.version},
        "classes": [
            {**item.to_dict(), "px": {name: int(totals[name][index]) for name in NAMES}}
            for index, item in enumerate(legend.classes)
        ],
        "unobserved_px": unobserved,
    }


def write_facts(
    out: Path,
    records: Sequence[PatchRecord],
    legend: Legend,
    rule: SplitRule,
    statistics: Mapping[str, Any],
    description: Mapping[str, Any],
    *,
    groups: int,
    laid: int,
    unobserved: int,
) -> dict[str, Any]:
    """Write index, statistics, splits, classes, balance and description beside a patch store.

    Args:
        out: Folder of the store.
        records: Patches in the order of the store.
        legend: Of the labels.
        rule: How they were divided.
        statistics: Content of ``statistics.json``.
        description: Of ``patches.json``, without legend and numbers of patches; has ``crs`` and ``gsd_m``.
        groups: Groups that were dealt.
        laid: Patches before some were left out.
        unobserved: Labelled pixels that no input saw.

    Returns:
        The content of ``patches.json``.

    Raises:
        InputError: A class has labels but none for training.
    """
    check_classes(records, legend, rule)
    write_index(out / INDEX, records, legend.codes, description["crs"], description["gsd_m"])
    whole = {
        "format": 1,
        **description,
        "patches": {name: sum(record.split == name for record in records) for name in NAMES},
        "legend": legend.to_dict(),
    }
    for name, value in (
        (STATISTICS, statistics),
        (SPLITS, split_facts(records, rule, groups, laid)),
        (CLASSES, class_facts(records, legend, unobserved)),
        (DESCRIPTION, whole),
    ):
        (out / name).write_text(pretty_json(value), encoding="utf-8")
    (out / BALANCE).write_text(balance_table(records, legend), encoding="utf-8")
    return whole
