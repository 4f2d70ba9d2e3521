"""Mask codes of a Sentinel-2 scene on the product grid, by windows or from the whole scene, as the mask wants it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import rasterio
from rasterio.warp import transform_bounds

from landcover_cli.core.types import MASK_CLEAR, Asset, Scene
from landcover_cli.io.ongrid import Bounds, Lattice, covered, place, read_native, read_on
from landcover_cli.io.raster import RasterInfo, raster_info, same_crs
from landcover_cli.optical.masking import Mask
from landcover_cli.optical.offset import harmonise

GROUND = 128
"""Bit that marks vegetation and water while the offset is being checked."""
STRIP_PX = 1024
Layers = Mapping[str, rasterio.DatasetReader]


def mask_codes(
    scene: Scene,
    layers: Layers,
    mask: Mask,
    options: Mapping[str, Any],
    lattice: Lattice,
    add_dn: int,
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Mask codes on the lattice; vegetation and water of a scene classification carry the bit `GROUND`.

    Args:
        scene: For its angles.
        layers: Open rasters by the mask's names.
        mask: Mask plug-in.
        options: All of its options.
        lattice: Where to.
        add_dn: What brings the bands' numbers to ρ = DN · 1e-4 − 0.1.
        check: Called now and then; raises to stop.

    Raises:
        InputError: A layer cannot be read, or angles are needed and not there.
    """
    if not layers:
        return np.full(lattice.shape_yx, MASK_CLEAR, np.uint8)
    if mask.gsd_m is None:
        return _by_windows(layers, mask, options, lattice, check)
    work = _work_lattice(layers, mask.gsd_m, lattice)
    angles = _angles(scene) if mask.angles else {}
    if mask.whole:
        read = {name: _read(scene.assets[name], name, dataset, work, add_dn, check) for name, dataset in layers.items()}
        codes = mask.compute({**read, **angles}, work.gsd_m, options)
        return place(codes, _info(work), 0, 0, lattice, "nearest")
    out = np.empty(lattice.shape_yx, np.uint8)
    margin = int(mask.reach_m(options) / work.gsd_m) + 3
    height = lattice.shape_yx[0]
    # By rows of the mask's own pixels: the layers of one file are then decoded once, within GDAL's cache.
    step = max(int(STRIP_PX * work.gsd_m / lattice.gsd_m), 1)
    for first in range(0, height, step):
        rows = slice(first, min(first + step, height))
        part = lattice.rows(rows.start, rows.stop)
        window = _around(part, work, margin)
        if window is None:
            out[rows] = 0
            continue
        read = {
            name: _read(scene.assets[name], name, dataset, window, add_dn, check) for name, dataset in layers.items()
        }
        codes = mask.compute(read, work.gsd_m, options)
        out[rows] = place(codes, _info(window), 0, 0, part, "nearest")
    return out


def _by_windows(
    layers: Layers, mask: Mask, options: Mapping[str, Any], lattice: Lattice, check: Callable[[], None]
) -> np.ndarray:
    """Codes from windows of layers that share a lattice, with the margin that the mask reaches."""
    codes = np.empty(lattice.shape_yx, np.uint8)
    info = raster_info(next(iter(layers.values())))
    margin = int(mask.reach_m(options) / info.gsd_m) + 3
    for first in range(0, lattice.shape_yx[0], STRIP_PX):
        check()
        rows = slice(first, min(first + STRIP_PX, lattice.shape_yx[0]))
        part = lattice.rows(rows.start, rows.stop)
        bounds = part.bounds_m if same_crs(info.crs, part.crs) else _bounds_in(part.bounds_m, part.crs, info.crs)
        native: dict[str, np.ndarray] = {}
        for name, dataset in layers.items():
            native[name], row0, col0 = read_native(dataset, 1, bounds, margin)
        result = mask.compute(native, info.gsd_m, options)
        # Code 0 is "not observed", which is what `place` gives where the raster says nothing.
        ground = np.isin(native["SCL"], (4, 6)) if "SCL" in native else np.zeros(result.shape, bool)
        packed = result + np.where(ground & (result == MASK_CLEAR), GROUND, 0).astype(np.uint8)
        codes[rows] = place(packed, info, row0, col0, part, "nearest")
    return codes


def _work_lattice(layers: Layers, gsd_m: float, lattice: Lattice) -> Lattice:
    """The whole scene in its own CRS, at the mask's pixel size or the layers' finest where that is coarser."""
    infos = [raster_info(dataset) for dataset in layers.values()]
    finest = min(infos, key=lambda info: info.gsd_m)
    gsd_m = max(gsd_m, finest.gsd_m)
    # A CRS of another name for the same thing would force a warp.
    crs = lattice.crs if same_crs(finest.crs, lattice.crs) else finest.crs
    return Lattice(crs, gsd_m, covered(finest, crs, gsd_m))


def _around(part: Lattice, work: Lattice, margin_px: int) -> Lattice | None:
    """The window of the work lattice under a part of the product lattice, with a margin; None where they are apart."""
    from landcover_cli.io.ongrid import intersect, snap_out

    bounds = part.bounds_m if same_crs(part.crs, work.crs) else _bounds_in(part.bounds_m, part.crs, work.crs)
    grown = Lattice(work.crs, work.gsd_m, snap_out(bounds, work.gsd_m)).grown(margin_px)
    inside = intersect(grown.bounds_m, work.bounds_m)
    return Lattice(work.crs, work.gsd_m, inside) if inside is not None else None


def _read(
    asset: Asset,
    name: str,
    dataset: rasterio.DatasetReader,
    lattice: Lattice,
    add_dn: int,
    check: Callable[[], None],
) -> np.ndarray:
    """One layer on a lattice: measurements averaged and raised, codes by nearest."""
    measured = name.startswith("B")
    out: np.ndarray | None = None
    height, width = lattice.shape_yx
    for first in range(0, height, STRIP_PX):
        check()
        after = min(first + STRIP_PX, height)
        part = lattice.rows(first, after)
        values = read_on(dataset, asset.band, part, "bilinear" if measured else "nearest")
        if measured:
            values = harmonise(values, add_dn)
        if out is None:
            out = np.empty((height, width), values.dtype)
        out[first:after] = values
    assert out is not None
    return out


def _angles(scene: Scene) -> dict[str, np.ndarray]:
    from landcover_cli.io.s2_angles import read_angles

    safe = scene.metadata.get("safe")
    # Without them the mask itself says what it misses.
    return cast(dict[str, np.ndarray], read_angles(Path(str(safe)))) if safe else {}


def _info(lattice: Lattice) -> RasterInfo:
    height, width = lattice.shape_yx
    return RasterInfo("", width, height, 1, "uint8", lattice.crs, lattice.gsd_m, lattice.bounds_m, None, ())


def _bounds_in(bounds: Bounds, source: str, target: str) -> Bounds:
    return cast(Bounds, transform_bounds(source, target, *bounds, densify_pts=21))
