"""A small dual-polarisation SLC under real annotation, whose channels are correlated by a known amount."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pyproj
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from landcover_cli.demo.sentinel1_annotated import simulate_under_annotation
from landcover_cli.io.s1_slc import open_slc
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.sar.geocoding import ground_position, radar_model
from landcover_cli.sar.orbit import interpolate_orbit

MOROCCO = "s1/eo_tools_morocco/SAFE/S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1.SAFE"
SIGMA0 = {"VV": 10**-0.7, "VH": 10**-1.7}
# VH holds this share of VV's digital number besides what is its own.
SHARE = 0.25 * np.exp(1j * np.radians(50.0))
EPSG = 32629
EDGE_M = 800.0
# Measurement lines around the end of the third burst and the start of the fourth, and samples.
_BOX = (2 * 1500 + 1100, 9000, 900, 1600)


def write_slc(source: Path, out: Path) -> Path:
    """The product, from a real product's annotation; returns its SAFE folder."""
    decibel = {name: 10 * np.log10(value) for name, value in SIGMA0.items()}
    safe = simulate_under_annotation(source, out, sigma0_db=decibel, seed=8, window=_BOX)
    line, pixel, lines, pixels = _BOX
    window = Window(pixel, line, pixels, lines)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(next(safe.glob("measurement/*-vv-*.tiff"))) as dataset:
            vv = dataset.read(1, window=window)
        with rasterio.open(next(safe.glob("measurement/*-vh-*.tiff")), "r+") as dataset:
            vh = dataset.read(1, window=window) + SHARE * vv
            whole = np.rint(vh.real) + 1j * np.rint(vh.imag)
            dataset.write(whole.astype(np.complex64), 1, window=window)
    return safe


def write_slc_aoi(safe: Path, path: Path) -> Path:
    """A square of 800 m on both sides of the joint of two bursts; returns the file."""
    slc = open_slc(open_s1_product(safe))
    source = slc.sources["VV"]
    per_burst = source.channels[0].annotation.swath_timing.lines_per_burst
    joint = float(np.flatnonzero(source.grid.plans[0].source_line >= 3 * per_burst)[0])
    image = slc.annotation.image
    orbit = interpolate_orbit(slc.annotation.orbit, image.first_line_time_s, image.last_line_time_s)
    model = radar_model(slc.annotation, orbit)
    place = ground_position(model, np.array([joint]), np.array([2450.0]), 0.0)[0]
    east, north, _ = pyproj.Transformer.from_crs(4978, EPSG, always_xy=True).transform(*place)
    left, bottom = round(east, -1) - EDGE_M / 2, round(north, -1) - EDGE_M / 2
    to_degrees = pyproj.Transformer.from_crs(EPSG, 4326, always_xy=True)
    # A little inside of the pixel edges, so that rounding adds no row.
    low, high = 1.0, EDGE_M - 1.0
    corners = [(low, low), (high, low), (high, high), (low, high), (low, low)]
    ring = [list(to_degrees.transform(left + x, bottom + y)) for x, y in corners]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}), encoding="utf-8")
    return path
