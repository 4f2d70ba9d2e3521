"""A whole dual-polarisation scene on a 10 m grid: peak memory, and time as a multiple of decoding and encoding alone.

    python tests/benchmarks/s1_scene_memory.py --data <folder of the real scenes> [--lines 4000] [--workers 2]

The product has the real annotation of Rome (26,102 × 16,705 pixels; VH is a derived copy of VV) over simulated pixels,
stored as tiled DEFLATE like a COG_SAFE, and seeded relief of 900 m as terrain. Three processes run one after the other,
so that none counts the memory of another: one makes the files, one is the chain (noise, calibration, refined Lee,
flattening, terrain correction, GeoTIFF), one decodes the same pixels and encodes the same maps and does nothing else.
`--lines` takes the first lines of the scene alone, at full width.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from landcover_cli.core.grid import geobox_from_bounds
from landcover_cli.demo.sentinel1_annotated import copy_annotation, derive_polarisation
from landcover_cli.io.dem import open_dem
from landcover_cli.io.raster import gdal_env
from landcover_cli.io.s1_plan import plan_scene
from landcover_cli.io.s1_scene import geocode_scene
from landcover_cli.io.s1_source import STRIP_LINES, grd_sources
from landcover_cli.io.safe_s1 import open_measurement, open_s1_product
from landcover_cli.sar.geocoding import RadarModel, ground_position, radar_model
from landcover_cli.sar.ground import Block, MapLattice, lattice_of
from landcover_cli.sar.orbit import interpolate_orbit
from landcover_cli.sar.speckle import create

ROME = "s1/sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"
PROFILE = {
    "driver": "GTiff",
    "count": 1,
    "tiled": True,
    "blockxsize": 512,
    "blockysize": 512,
    "compress": "deflate",
    "zlevel": 1,
}
CELL_DEG = 1 / 3600


def main() -> None:
    """Run the three processes, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LC_TEST_DATA", "../shared/data")))
    parser.add_argument("--lines", type=int, default=0, help="first lines of the scene alone; 0 for all")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, default=None, help="folder for some 4 GB of files")
    parser.add_argument("--part", choices=("make", "chain", "bare"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    if args.part:
        parts: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"make": make, "chain": chain, "bare": bare}
        start = time.perf_counter(), time.process_time()
        found = parts[args.part](args)
        found |= {"wall_s": time.perf_counter() - start[0], "cpu_s": time.process_time() - start[1]} | found
        found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        json.dump(found, sys.stdout)
        return
    with tempfile.TemporaryDirectory(dir=args.scratch) as name:
        report: dict[str, Any] = {"workers": args.workers}
        for part in ("make", "chain", "bare"):
            command = [sys.executable, __file__, "--part", part, "--data", str(args.data), "--scratch", name]
            command += ["--lines", str(args.lines), "--workers", str(args.workers)]
            done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                sys.exit(f"{part} ended with {done.returncode}")
            report |= {f"{part}_{k}": v for k, v in json.loads(done.stdout).items()}
    report["cpu_multiple"] = report["chain_cpu_s"] / report["bare_cpu_s"]
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


def _safe(args: argparse.Namespace) -> Path:
    return args.scratch / Path(ROME).name


def make(args: argparse.Namespace) -> dict[str, Any]:
    """The product and the terrain."""
    safe = copy_annotation(args.data / ROME, args.scratch)
    derive_polarisation(safe)
    product = open_s1_product(safe)
    lines, pixels = product.annotation("VV").image.shape_yx
    rng = np.random.default_rng(0)
    # One strip of speckle, shifted from strip to strip: as hard to compress as a scene.
    strip = 200.0 * np.sqrt(rng.gamma(4.4, 1 / 4.4, (512, pixels)))
    for polarisation, share in (("vv", 1.0), ("vh", 0.4)):
        stem = next((safe / "annotation").glob(f"*-{polarisation}-*.xml")).stem
        path = safe / "measurement" / f"{stem}.tiff"
        with rasterio.open(path, "w", height=lines, width=pixels, dtype="uint16", SPARSE_OK=True, **PROFILE) as target:
            for first in range(0, min(lines, args.lines + 2048) if args.lines else lines, 512):
                count = min(512, lines - first)
                dn = np.rint(np.roll(share * strip, 37 * first, axis=1)).astype(np.uint16)
                target.write(dn[:count], 1, window=Window(0, first, pixels, count))
    ties = product.annotation("VV").geolocation
    return {"terrain_mpx": _terrain(args.scratch / "dem.tif", ties.lon_deg, ties.lat_deg)}


def _terrain(path: Path, lon: np.ndarray, lat: np.ndarray) -> float:
    """Waves of 3 to 40 km between 0 and 900 m, one arcsecond, over the whole scene and a rim."""
    west, north = float(lon.min()) - 0.1, float(lat.max()) + 0.1
    width, height = int((float(lon.max()) + 0.1 - west) / CELL_DEG), int((north - float(lat.min()) + 0.1) / CELL_DEG)
    transform = rasterio.Affine(CELL_DEG, 0, west, 0, -CELL_DEG, north)
    profile = PROFILE | {"dtype": "float32", "crs": "EPSG:4979", "transform": transform, "predictor": 3}
    x = np.arange(width) * 0.023
    with rasterio.open(path, "w", width=width, height=height, **profile) as target:
        for first in range(0, height, 512):
            y = np.arange(first, min(first + 512, height))[:, None] * 0.031
            waves = [np.sin(x / k + k) * np.cos(y / k - 2 * k) / 1.6**n for n, k in enumerate((30.0, 11.0, 5.0, 2.0))]
            rise = sum(waves) / sum(1 / 1.6**n for n in range(4))
            target.write((450 + 450 * rise).astype(np.float32), 1, window=Window(0, first, width, len(y)))
    return width * height / 1e6


def _area(model: RadarModel, lines: int) -> tuple[MapLattice, Block]:
    """The map that holds the lines asked for."""
    last = (lines or model.shape_yx[0]) - 1
    corner = np.array([[0.0, 0.0], [0.0, model.shape_yx[1] - 1.0], [last, 0.0], [last, model.shape_yx[1] - 1.0]])
    place = ground_position(model, corner[:, 0], corner[:, 1], 0.0)
    lon = np.degrees(np.arctan2(place[:, 1], place[:, 0]))
    lat = np.degrees(np.arctan2(place[:, 2], np.hypot(place[:, 0], place[:, 1]) * (1 - 6.694379990141316e-3)))
    x, y = Transformer.from_crs(4326, 32633, always_xy=True).transform(lon, lat)
    bounds = (*(np.floor([x.min(), y.min()]) // 10 * 10), *(np.ceil([x.max(), y.max()]) // 10 * 10))
    return lattice_of(geobox_from_bounds(bounds, 10, "EPSG:32633"))


def chain(args: argparse.Namespace) -> dict[str, Any]:
    """The chain, from the product to the maps."""
    product = open_s1_product(_safe(args))
    annotation = product.annotation("VV")
    image = annotation.image
    orbit = interpolate_orbit(annotation.orbit, image.first_line_time_s, image.last_line_time_s)
    model = radar_model(annotation, orbit)
    lattice, whole = _area(model, args.lines)
    dem = open_dem(args.scratch / "dem.tif", "ellipsoidal")
    written = 0
    with gdal_env():
        sources = grd_sources([product.channel(p) for p in ("VV", "VH")])
        plan = plan_scene(model, dem, lattice, whole, flatten=True)
        planned_s = time.process_time()
        profile = PROFILE | {"height": whole.height, "width": whole.width, "dtype": "float32", "nodata": np.nan}
        maps = {p: rasterio.open(_map(args, p), "w", SPARSE_OK=True, predictor=3, **profile) for p in sources}
        shown = time.monotonic()
        for n, part in enumerate(
            geocode_scene(model, sources, dem, plan, speckle=create("refined_lee"), workers=args.workers)
        ):
            row, col = part.block.row0 - whole.row0, part.block.col0 - whole.col0
            written += part.block.width * part.block.height
            for name, band in part.bands.items():
                maps[name].write(band, 1, window=Window(col, row, *band.shape[::-1]))
            if time.monotonic() - shown > 20:
                shown = time.monotonic()
                sys.stderr.write(f"{n + 1} of {len(plan.blocks)} blocks\n")
        for target in maps.values():
            target.close()
    return {
        "image_mpx": (plan.lines[1] - plan.lines[0]) * (plan.pixels[1] - plan.pixels[0]) / 1e6,
        "map_mpx": written / 1e6,
        "cells": len(plan.cells),
        "blocks": len(plan.blocks),
        "plan_cpu_s": planned_s,
        "lines": plan.lines,
    }


def _map(args: argparse.Namespace, polarisation: str) -> Path:
    return args.scratch / f"map_{polarisation}.tif"


def bare(args: argparse.Namespace) -> dict[str, Any]:
    """Decode what the chain decoded, encode what it encoded."""
    cpu = wall = 0.0
    product = open_s1_product(_safe(args))
    with gdal_env():
        for polarisation in ("VV", "VH"):
            channel = product.channel(polarisation)
            lines, pixels = channel.annotation.image.shape_yx
            end = min(lines, args.lines + 2048) if args.lines else lines
            start = time.process_time(), time.perf_counter()
            for first in range(0, end, STRIP_LINES):
                with open_measurement(channel) as measurement:
                    measurement.read(first, 0, min(STRIP_LINES, lines - first), pixels)
            cpu, wall = cpu + time.process_time() - start[0], wall + time.perf_counter() - start[1]
            with rasterio.open(_map(args, polarisation)) as source:
                profile = PROFILE | {"height": source.height, "width": source.width, "dtype": "float32"}
                with rasterio.open(
                    args.scratch / "again.tif", "w", SPARSE_OK=True, predictor=3, nodata=np.nan, **profile
                ) as target:
                    for _, window in source.block_windows(1):
                        data = source.read(1, window=window)
                        if not np.isfinite(data).any():
                            continue
                        start = time.process_time(), time.perf_counter()
                        target.write(data, 1, window=window)
                        cpu, wall = cpu + time.process_time() - start[0], wall + time.perf_counter() - start[1]
    return {"cpu_s": cpu, "wall_s": wall}


if __name__ == "__main__":
    main()
