"""CPU cost of bringing terrain-corrected products to the grid, against reading them and writing the result alone.

    OMP_NUM_THREADS=1 PYTHONPATH=.:tests python tests/benchmarks/rtc_vs_floor.py --size 3072

Two bands in float32, simulated speckle, one pass; one thread, every pair in one run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pystac
import rasterio
from pyproj import Transformer
from rtcproduct import pc_item

from landcover_cli.io.preprocess_rtc import RtcPart, RtcSettings, preprocess_rtc
from landcover_cli.io.rasterwrite import create_geotiff
from landcover_cli.io.rtc_items import RtcItem, pass_facts, rtc_item
from landcover_cli.sensors.sentinel1 import SENSOR

CORNER = (480000.0, 4992000.0)
Bounds = tuple[float, float, float, float]


def make(folder: Path, size: int, **changes: object) -> RtcItem:
    power = np.random.default_rng(0).gamma(4.4, 0.02, (size, size)).astype("float32")
    document = pc_item(folder, "2022-07-03T06:15:00", {"VV": power, "VH": power / 5}, CORNER, **changes)
    for asset in document["assets"].values():
        asset["href"] = asset["href"] if "://" in asset["href"] else str(folder / asset["href"])
    return rtc_item(pystac.Item.from_dict(document), SENSOR)


def ours(item: RtcItem, area: Bounds, **changes: object) -> float:
    settings = RtcSettings("EPSG:32633", 10.0, area, ("VV", "VH"), **changes)  # type: ignore[arg-type]
    part = RtcPart(item.id, item.assets, item.mask, item.nodata)
    with tempfile.TemporaryDirectory() as out:
        started = time.process_time()
        preprocess_rtc(pass_facts([item]), [part], settings, Path(out))
        return time.process_time() - started


def floor(item: RtcItem, area: Bounds) -> float:
    with tempfile.TemporaryDirectory() as out:
        started = time.process_time()
        bands = []
        for href in item.assets.values():
            with rasterio.open(href) as dataset:
                bands.append(dataset.read(1))
        about = {"bounds_m": area, "gsd_m": 10.0, "crs": "EPSG:32633", "dtype": "float32", "nodata": float("nan")}
        with create_geotiff(Path(out) / "x.tif", count=2, descriptions=("VV", "VH"), **about) as target:  # type: ignore[arg-type]
            for index, values in enumerate(bands, start=1):
                target.write(values, index)
        return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=3072)
    size = parser.parse_args().size
    edge = size * 10.0
    area = (CORNER[0], CORNER[1] - edge, CORNER[0] + edge, CORNER[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        same = make(folder / "same", size)
        coarse = make(folder / "coarse", -(-size // 3), gsd_m=30.0)
        other = make(folder / "other", size, epsg=32632)
        x, y = Transformer.from_crs(32632, 32633, always_xy=True).transform(CORNER[0] + edge / 2, CORNER[1] - edge / 2)
        x, y = round(x, -1), round(y, -1)
        there = (x - edge / 2, y - edge / 2, x + edge / 2, y + edge / 2)
        for warm in (same, coarse):  # compiled functions are read from their cache
            ours(warm, (CORNER[0], CORNER[1] - 640, CORNER[0] + 640, CORNER[1]), speckle="refined_lee")
        ours(other, (x, y, x + 640, y + 640))
        bare = floor(same, area)
        print(f"{2 * size**2 / 1e6:.1f} million values; reading and writing alone: {bare:.2f} CPU-seconds")
        for what, seconds in (
            ("on the grid already", ours(same, area)),
            ("30 m to 10 m", ours(coarse, area)),
            ("another UTM zone", ours(other, there)),
            ("on the grid, refined Lee", ours(same, area, speckle="refined_lee")),
        ):
            print(f"{what}: {seconds:.2f} CPU-seconds, {seconds / bare:.2f} × the floor")


if __name__ == "__main__":
    main()
