"""Training patches from labels and cubes: laid on the grid's lattice, split by ground, measured, stored.

Needs no torch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from landcover_cli.config.labels import TileConfig
from landcover_cli.core.grid import ProductGrid, Tile
from landcover_cli.core.unit import RunContext
from landcover_cli.core.windows import PixelBox, WindowLattice
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.io.cubestore import CubeSeries, CubeWindow
from landcover_cli.io.labelmosaic import LabelMosaic, WeightMosaic
from landcover_cli.io.patchindex import PatchRecord
from landcover_cli.io.patchstore import STORE, PatchPort, PatchSample, PatchWriter, StoredInput
from landcover_cli.io.raster import same_crs
from landcover_cli.labels.legend import Legend
from landcover_cli.labels.splits import NAMES, assign_splits
from landcover_cli.learn.patchfacts import (
    CLASSES,
    DESCRIPTION,
    SPLITS,
    STATISTICS,
    measured_facts,
    split_rule,
    write_facts,
    zone_keys,
)
from landcover_cli.learn.statistics import BandStatistics
from landcover_cli.learn.values import physical_values, transform_of

__all__ = [
    "CLASSES",
    "DESCRIPTION",
    "SPLITS",
    "STATISTICS",
    "LabelledRegion",
    "make_patches",
]

log = logging.getLogger("lc")

_THIN_SHARE = 0.1
"""Share of labelled pixels whose loss to `min_labelled` is worth a warning."""
_BLOCK_PX = 256
"""Patches whose corners lie in one block of this edge are read together; the hull is a patch wider at most."""

_MAX_CENTRES = 200_000


@dataclass(frozen=True)
class LabelledRegion:
    """Where patches are cut from.

    Attributes:
        name: Name of the region.
        labels: Rasters of class indices.
        cubes: Source → pieces of its cube.
    """

    name: str
    labels: tuple[Path, ...]
    cubes: Mapping[str, tuple[Path, ...]]


@dataclass(frozen=True)
class _Cut:
    """A patch before it is read."""

    region: int
    box: PixelBox
    class_px: tuple[int, ...]
    centre: tuple[int, int] | None = None
    """Row and column of the only labelled pixel; None where all labels of the ground count."""


def make_patches(
    regions: Sequence[LabelledRegion],
    legend: Legend,
    config: TileConfig,
    out: Path,
    ctx: RunContext,
    *,
    optional: Iterable[str] = (),
    tile_px: int | None = None,
    zones: Path | None = None,
) -> dict[str, Any]:
    """Cut, split, measure and store training patches.

    Args:
        regions: At least one; all labels and cubes in one CRS.
        legend: Legend of the labels' class indices.
        config: Size, stride, least labelled share, split.
        out: Folder that gets ``patches.zarr``, ``index.parquet``, ``statistics.json``, ``splits.json``,
            ``classes.json``, ``balance.csv``, ``patches.json`` and, where asked for, ``preview.png``.
        ctx: Progress and cancellation.
        optional: Sources that a region may lack.
        tile_px: Tile edge of the product grid, which names the tiles in the index; None leaves them empty.
        zones: Polygons that the split ``attribute`` divides by; None: it divides by region.

    Returns:
        The content of ``patches.json``.

    Raises:
        InputError: No labels, labels that miss every cube, a class without a training pixel, inputs that differ between
            regions, an index beyond the legend.
        ConfigError: A patch or stride that cuts pixels of an input, or splits that share ground.
    """
    with ExitStack() as stack:
        mosaics = [stack.enter_context(LabelMosaic(region.labels)) for region in regions]
        first = mosaics[0]
        _check_one_grid(regions, mosaics)
        series = [{name: CubeSeries.open(paths) for name, paths in sorted(region.cubes.items())} for region in regions]
        config = config.in_pixels(first.gsd_m)
        stride_px = config.patch_px if config.layout == "centre" else config.stride_px or config.patch_px
        ports = _ports(regions, series, frozenset(optional))
        _check_grids(ports, series, regions, first, config.patch_px, stride_px)
        if config.layout == "centre":
            laid = _lay_centres(mosaics, len(legend.classes), config.patch_px, ports)
        else:
            laid = _lay(mosaics, len(legend.classes), config, stride_px)
        cuts = sorted(laid, key=_reading_order)
        boxes = [cut.box for cut in cuts]
        rule = split_rule(config)
        names = [regions[cut.region].name for cut in cuts]
        keys = zone_keys(boxes, names, config, zones, first.crs, first.gsd_m) if rule.method == "attribute" else None
        splits = assign_splits(boxes, np.array([cut.class_px for cut in cuts]), rule, keys)
        kept = [(cut, NAMES[code]) for cut, code in zip(cuts, splits.split.tolist(), strict=True) if code >= 0]
        weights = [stack.enter_context(WeightMosaic(region.labels)) for region in regions]
        job = _Job(regions, mosaics, weights, series, ports, legend, config.patch_px, ctx)
        records, statistics, unobserved = job.store(kept, out / STORE)
    if tile_px is not None:
        grid = ProductGrid(first.crs, first.gsd_m, tile_px)
        records = [replace(record, tile=_tile_of(record.box, grid).id) for record in records]
    described = {
        "crs": first.crs,
        "gsd_m": first.gsd_m,
        "patch_px": config.patch_px,
        "stride_px": stride_px,
        "label_nodata": first.nodata,
        "ports": [port.to_dict() for port in ports],
    }
    counts = {"groups": splits.groups, "laid": len(cuts), "unobserved": unobserved}
    description = write_facts(out, records, legend, rule, statistics, described, **counts)
    if config.preview:
        from landcover_cli.learn.preview import write_preview

        write_preview(out, legend, config.preview)
    return description


def _check_one_grid(regions: Sequence[LabelledRegion], mosaics: Sequence[LabelMosaic]) -> None:
    first = mosaics[0]
    for region, mosaic in zip(regions, mosaics, strict=True):
        if mosaic.gsd_m != first.gsd_m or not same_crs(mosaic.crs, first.crs) or mosaic.dtype != first.dtype:
            raise InputError(
                f"labels of region {region.name!r} lie on another grid than those of {regions[0].name!r}",
                remedy="make all labels on one grid with one legend",
            )


def _ports(
    regions: Sequence[LabelledRegion], series: Sequence[Mapping[str, CubeSeries]], optional: frozenset[str]
) -> tuple[PatchPort, ...]:
    """The inputs of all regions together.

    Raises:
        InputError: Nothing to learn from, a region without an input that is not optional, or inputs that differ.
    """
    ports = []
    for name in sorted({name for cubes in series for name in cubes}):
        have = [(region, cubes[name]) for region, cubes in zip(regions, series, strict=True) if name in cubes]
        lack = [region.name for region, cubes in zip(regions, series, strict=True) if name not in cubes]
        if lack and name not in optional:
            raise InputError(
                f"region {lack[0]!r} has no cube of source {name!r}",
                remedy=f"make it, or set sources.{name}.optional: true",
            )
        region, one = have[0]
        for other, cube in have[1:]:
            for what in ("kind", "bands", "units", "scale", "offset", "gsd_m", "dtype"):
                if getattr(one, what) != getattr(cube, what):
                    raise InputError(
                        f"source {name!r}: {what} is {getattr(one, what)!r} in region {region.name!r} and "
                        f"{getattr(cube, what)!r} in {other.name!r}",
                        remedy="make all regions' cubes with the same settings",
                    )
        periods = {region.name: cube.periods for region, cube in have}
        ports.append(
            PatchPort(
                name=name,
                kind="image" if one.kind == "image" else "series",
                bands=tuple(one.bands),
                units=one.units,
                scale=one.scale,
                offset=one.offset,
                gsd_m=one.gsd_m,
                dtype=str(one.dtype),
                optional=name in optional,
                periods=periods,
            )
        )
    if not ports:
        raise InputError("no cube is given: nothing to learn from", remedy="give at least one cube")
    return tuple(ports)


def _check_grids(
    ports: Sequence[PatchPort],
    series: Sequence[Mapping[str, CubeSeries]],
    regions: Sequence[LabelledRegion],
    labels: LabelMosaic,
    patch_px: int,
    stride_px: int,
) -> None:
    for region, cubes in zip(regions, series, strict=True):
        for name, cube in cubes.items():
            if not same_crs(cube.crs, labels.crs):
                raise InputError(
                    f"region {region.name!r}: cube {name!r} is in {cube.crs[:80]}, the labels are in {labels.crs[:80]}",
                    remedy="make the labels on the cube's grid, e.g. with `lc labels --like`",
                )
    for port in ports:
        for what, edge_px in (("patch_px", patch_px), ("stride_px", stride_px)):
            pixels = edge_px * labels.gsd_m / port.gsd_m
            if abs(pixels - round(pixels)) > 1e-6 or round(pixels) < 1:
                raise ConfigError(
                    f"tile.{what}: {edge_px} px of {labels.gsd_m:g} m are {pixels:g} px of source {port.name!r} "
                    f"({port.gsd_m:g} m), no whole number",
                    remedy="choose a multiple of every source's resolution",
                )


def _lay(mosaics: Sequence[LabelMosaic], n_classes: int, config: TileConfig, stride_px: int) -> list[_Cut]:
    """All windows of the lattice with enough labels, by region, row and column.

    Raises:
        InputError: No window has, or a label is no index of the legend.
    """
    lattice = WindowLattice(config.patch_px, stride_px)
    need = max(1.0, config.min_labelled * config.patch_px**2)
    cuts, fullest, thin_px = [], 0, 0
    for region, mosaic in enumerate(mosaics):
        for ky, kx in sorted({window for box in mosaic.boxes for window in lattice.windows(box)}):
            box = lattice.window(ky, kx)
            labels = mosaic.read(box)
            counts = np.bincount(labels[labels != mosaic.nodata], minlength=n_classes)
            if len(counts) > n_classes:
                raise InputError(
                    f"labels hold the class index {len(counts) - 1}; the legend has {n_classes} classes",
                    remedy="make the labels with this legend",
                )
            fullest = max(fullest, int(counts.sum()))
            if counts.sum() >= need:
                cuts.append(_Cut(region, box, tuple(counts.tolist())))
            else:
                thin_px += int(counts.sum())
    if not cuts:
        raise InputError(
            f"no patch of {config.patch_px} px has at least {100 * config.min_labelled:g} % of labelled pixels (the "
            f"fullest has {100 * fullest / config.patch_px**2:.3g} %)",
            remedy="lower tile.min_labelled, choose smaller patches, or check that labels and area meet",
        )
    kept_px = sum(sum(cut.class_px) for cut in cuts)
    if thin_px > _THIN_SHARE * (kept_px + thin_px):
        log.warning(
            "%.0f %% of the labelled pixels lie in patches with fewer than %g of them and are left out; %d patches "
            "remain: lower tile.min_labelled (now %g), above all for point labels",
            100 * thin_px / (kept_px + thin_px),
            need,
            len(cuts),
            config.min_labelled,
        )
    return cuts


def _lay_centres(
    mosaics: Sequence[LabelMosaic], n_classes: int, patch_px: int, ports: Sequence[PatchPort]
) -> list[_Cut]:
    """A patch around every labelled pixel, its centre (pixel ``patch // 2``) or as near to it as whole pixels of the
    coarsest input allow.

    Raises:
        InputError: No labelled pixel, too many, or a label that is no index of the legend.
    """
    coarse_px = math.lcm(*(max(1, round(port.gsd_m / mosaics[0].gsd_m)) for port in ports))
    cuts: dict[tuple[int, int, int], _Cut] = {}
    for region, mosaic in enumerate(mosaics):
        for ground in mosaic.boxes:
            labels = mosaic.read(ground)
            if int(labels[labels != mosaic.nodata].max(initial=0)) >= n_classes:
                raise InputError(
                    f"labels hold the class index {int(labels[labels != mosaic.nodata].max())}; the legend has "
                    f"{n_classes} classes",
                    remedy="make the labels with this legend",
                )
            for y, x in np.argwhere(labels != mosaic.nodata).tolist():
                row, col = ground.row0 + y, ground.col0 + x
                row0, col0 = (place - (place % coarse_px) for place in (row - patch_px // 2, col - patch_px // 2))
                counts = [0] * n_classes
                counts[int(labels[y, x])] = 1
                box = PixelBox(row0, col0, row0 + patch_px, col0 + patch_px)
                cuts[region, row, col] = _Cut(region, box, tuple(counts), (row, col))
            if len(cuts) > _MAX_CENTRES:
                raise InputError(
                    f"more than {_MAX_CENTRES:,} pixels are labelled: a patch around each is too many",
                    remedy="use tile.layout: dense for polygons and rasters",
                )
    if not cuts:
        raise InputError("no pixel is labelled", remedy="check that labels and area meet")
    return list(cuts.values())


def _block(cut: _Cut) -> tuple[int, int, int]:
    return cut.region, cut.box.row0 // _BLOCK_PX, cut.box.col0 // _BLOCK_PX


def _reading_order(cut: _Cut) -> tuple[tuple[int, int, int], PixelBox, tuple[int, int]]:
    """Patches of one block of ground after each other: the chunks under them are then read once, not once each."""
    return _block(cut), cut.box, cut.centre or (0, 0)


@dataclass(frozen=True)
class _Job:
    regions: Sequence[LabelledRegion]
    mosaics: Sequence[LabelMosaic]
    weights: Sequence[WeightMosaic]
    series: Sequence[Mapping[str, CubeSeries]]
    ports: tuple[PatchPort, ...]
    legend: Legend
    patch_px: int
    ctx: RunContext

    def store(self, cuts: Sequence[tuple[_Cut, str]], path: Path) -> tuple[list[PatchRecord], dict[str, Any], int]:
        """Read every patch once: store it, and measure the training ones.

        Returns:
            Index records, statistics per port, and labelled pixels that no input saw.
        """
        gsd_m, nodata = self.mosaics[0].gsd_m, self.mosaics[0].nodata
        measured = {port.name: BandStatistics(len(port.bands)) for port in self.ports}
        records, unobserved = [], 0
        with PatchWriter(
            path,
            self.ports,
            [self.regions[cut.region].name for cut, _ in cuts],
            patch_px=self.patch_px,
            gsd_m=gsd_m,
            dtype=self.mosaics[0].dtype,
            nodata=nodata,
            weighted=any(mosaic.found for mosaic in self.weights),
        ) as writer:
            for _, group in groupby(cuts, key=lambda item: _block(item[0])):
                self.ctx.check()
                members = list(group)
                hull, windows = self._read_block([cut for cut, _ in members])
                for cut, split in members:
                    sample, counts = self._sample(cut, hull, windows)
                    unobserved += sum(cut.class_px) - sum(counts)
                    writer.write(sample)
                    if split == "train":
                        self._measure(sample, measured)
                    records.append(PatchRecord(self.regions[cut.region].name, "", cut.box, split, counts))
                self.ctx.progress(len(records), len(cuts), "patches")
        if not any(sum(record.class_px) for record in records):
            raise InputError(
                "no labelled pixel was ever observed: labels and cubes do not meet",
                remedy="check the area, the CRS and the period of the cubes",
            )
        return records, measured_facts(self.ports, measured), unobserved

    def _read_block(self, cuts: Sequence[_Cut]) -> tuple[PixelBox, dict[str, CubeWindow]]:
        """The ground around some patches of one region, from every cube."""
        boxes = [cut.box for cut in cuts]
        hull = PixelBox(
            min(box.row0 for box in boxes),
            min(box.col0 for box in boxes),
            max(box.row1 for box in boxes),
            max(box.col1 for box in boxes),
        )
        bounds = hull.bounds_m(self.mosaics[0].gsd_m)
        return hull, {name: cube.read(bounds) for name, cube in self.series[cuts[0].region].items()}

    def _sample(
        self, cut: _Cut, hull: PixelBox, windows: Mapping[str, CubeWindow]
    ) -> tuple[PatchSample, tuple[int, ...]]:
        """One patch out of the ground around it, and its labelled pixels per class."""
        gsd_m, nodata = self.mosaics[cut.region].gsd_m, self.mosaics[cut.region].nodata
        labels = self.mosaics[cut.region].read(cut.box)
        if cut.centre is not None:
            row, col = cut.centre[0] - cut.box.row0, cut.centre[1] - cut.box.col0
            alone = labels[row, col]
            labels[:] = nodata
            labels[row, col] = alone
        inputs = {}
        seen = np.zeros(labels.shape, bool)
        has_series = any(port.kind == "series" for port in self.ports)
        for name, window in windows.items():
            cube = self.series[cut.region][name]
            around = PixelBox.from_bounds(hull.bounds_m(gsd_m), cube.gsd_m)
            yx = PixelBox.from_bounds(cut.box.bounds_m(gsd_m), cube.gsd_m).slices_in(around)
            inputs[name] = StoredInput(
                window.data_tbyx[..., yx[0], yx[1]],
                window.valid_tyx[..., yx[0], yx[1]],
                window.n_clear_tyx[..., yx[0], yx[1]],
                window.periods,
            )
            if cube.kind == "series" or not has_series:  # terrain alone is no observation
                seen |= _to_grid(np.asarray(inputs[name].valid_tyx.any(axis=0)), labels.shape)
        labels[~seen] = nodata
        counts = np.bincount(labels[labels != nodata], minlength=len(self.legend.classes))
        weights = self.weights[cut.region]
        return PatchSample(inputs, labels, weights.read(cut.box) if weights.found else None), tuple(counts.tolist())

    def _measure(self, sample: PatchSample, measured: Mapping[str, BandStatistics]) -> None:
        for port in self.ports:
            if port.name in sample.inputs:
                stored = sample.inputs[port.name]
                values, valid = physical_values(
                    stored.data_tbyx,
                    stored.valid_tyx,
                    scale=port.scale,
                    offset=port.offset,
                    transform=transform_of(port.units),
                    bands=port.bands,
                )
                measured[port.name].feed(values, valid)


def _to_grid(mask_yx: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask at an input's pixel size on the labels' pixels: nearest, both covering the same ground."""
    rows = (np.arange(shape[0]) * mask_yx.shape[0]) // shape[0]
    columns = (np.arange(shape[1]) * mask_yx.shape[1]) // shape[1]
    return mask_yx[np.ix_(rows, columns)]


def _tile_of(box: PixelBox, grid: ProductGrid) -> Tile:
    row, col = (box.row0 + box.row1) // 2, (box.col0 + box.col1) // 2
    return Tile(col // grid.tile_px, (-row - 1) // grid.tile_px)
