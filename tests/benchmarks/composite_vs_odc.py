"""Composites beside odc-stac and stackstac, in one run: CPU seconds, wall seconds, peak memory, and the same pixels.

    python tests/benchmarks/composite_vs_odc.py --peer-python peer/bin/python [--size 4096] [--dates 12]

The peers' environment: ``pip install odc-stac==0.5.3 stackstac==0.5.1``. Scenes are made up: textured pixels without a
hole, two bands at 10 m, two and a classification at 20 m, DEFLATE, tiles of 512. Every contender is a process of its
own that starts, reads, masks by class, composites and ends; the peers leave the result in memory, lc writes its cube.
The floor is what cannot be avoided, each measured alone in one process: decode every file once, double the 20 m bands,
write the cube.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BANDS_10M, BANDS_20M = ("B04", "B08"), ("B05", "B11")
BANDS = BANDS_10M + BANDS_20M
BAD = (0, 1, 3, 8, 9, 10, 11)
LEFT, TOP, EPSG = 600000, 5000040, 32633

PEER = r"""
import json, sys
import numpy as np, dask, pystac
tool, method, items, out, size, workers = sys.argv[1:7]
size, workers = int(size), int(workers)
import os
os.environ["GDAL_CACHEMAX"] = "128"
from odc.geo.geobox import GeoBox
from affine import Affine
items = [pystac.Item.from_dict(i) for i in json.load(open(items))["features"]]
bands = ["B04", "B08", "B05", "B11"]
bad = [0, 1, 3, 8, 9, 10, 11]
dask.config.set(scheduler="threads", num_workers=workers)
def reduce(data, scl):
    clear = ~np.isin(scl, bad)
    if method == "mean":
        total = np.where(clear, data, 0).sum(axis=0, dtype="uint32")
        n = clear.sum(axis=0, dtype="uint32")
        mean = total // np.maximum(n, 1)
        return np.where(n > 0, mean + (2 * (total - mean * n) >= np.maximum(n, 1)), 0).astype("uint16")
    # Sorted with what is not clear at the end; the two middle ones by count.
    ordered = np.sort(np.where(clear, data, 65535), axis=0)
    n = clear.sum(axis=0)
    low = np.take_along_axis(ordered, np.maximum(n - 1, 0)[None] // 2, 0)[0].astype("uint32")
    high = np.take_along_axis(ordered, np.minimum(n // 2, len(data) - 1)[None], 0)[0]
    return np.where(n > 0, (low + high + 1) // 2, 0).astype("uint16")
if tool == "odc":
    from odc.stac import load
    box = GeoBox((size, size), Affine(10, 0, 600000, 0, -10, 5000040), "EPSG:32633")
    ds = load(items, bands=bands + ["SCL"], groupby="solar_day", geobox=box, nodata=0,
              resampling={"*": "bilinear", "SCL": "nearest"}, chunks={"x": 1024, "y": 1024, "time": -1})
    arrays, scl = [ds[b].data for b in bands], ds["SCL"].data
    assert all(a.dtype == "uint16" for a in arrays) and scl.dtype == "uint8"
else:
    import stackstac
    from rasterio.enums import Resampling
    edges = (600000, 5000040 - size * 10, 600000 + size * 10, 5000040)
    def stack(assets, how):
        return stackstac.stack(items, assets=assets, epsg=32633, resolution=10, bounds=edges, chunksize=1024,
                               rescale=False, dtype="uint16", fill_value=np.uint16(0), resampling=how).data
    data = stack(bands, Resampling.bilinear).rechunk((-1, 1, 1024, 1024))
    scl = stack(["SCL"], Resampling.nearest)[:, 0].rechunk((-1, 1024, 1024))
    arrays = [data[:, b] for b in range(4)]
results = [dask.array.map_blocks(reduce, a, scl, dtype="uint16", drop_axis=0) for a in arrays]
np.save(out, np.stack(dask.compute(*results)))
"""


def make(folder: Path, size: int, dates: int) -> Path:
    """Scenes and their item collection."""
    import rasterio
    import rasterio.shutil
    from affine import Affine

    target = folder / "items.json"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    features = []
    for n in range(dates):
        rng = np.random.default_rng(n)
        item = folder / f"s{n:03d}"
        item.mkdir(exist_ok=True)
        assets = {}
        for name in (*BANDS, "SCL"):
            gsd = 10 if name in BANDS_10M else 20
            edge = size * 10 // gsd
            values = _classes(rng, edge) if name == "SCL" else _texture(rng, edge)
            profile = {"driver": "COG", "compress": "deflate", "blocksize": 512, "overviews": "none", "num_threads": 2}
            with rasterio.MemoryFile() as memory:
                with memory.open(
                    driver="GTiff",
                    width=edge,
                    height=edge,
                    count=1,
                    dtype=values.dtype,
                    nodata=0,
                    crs=f"EPSG:{EPSG}",
                    transform=Affine(gsd, 0, LEFT, 0, -gsd, TOP),
                ) as dataset:
                    dataset.write(values, 1)
                with memory.open() as dataset:
                    rasterio.shutil.copy(dataset, item / f"{name}.tif", **profile)
            bits = {"data_type": str(values.dtype), "nodata": 0, "spatial_resolution": gsd}
            assets[name] = {
                "href": str(item / f"{name}.tif"),
                "type": "image/tiff",
                "roles": ["data"],
                "raster:bands": [bits],
                "proj:shape": [edge, edge],
                "proj:transform": [gsd, 0, LEFT, 0, -gsd, TOP],
            }
        features.append(_item(n, size, assets))
    target.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return target


def _item(n: int, size: int, assets: dict[str, object]) -> dict[str, object]:
    from rasterio.warp import transform_bounds

    w, s, e, north = transform_bounds(f"EPSG:{EPSG}", "EPSG:4326", LEFT, TOP - size * 10, LEFT + size * 10, TOP)
    ring = [[w, s], [e, s], [e, north], [w, north], [w, s]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"s{n:03d}",
        "bbox": [w, s, e, north],
        "links": [],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "assets": assets,
        "stac_extensions": [
            "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
        ],
        "properties": {
            "datetime": f"2021-06-{1 + 2 * n % 29:02d}T{10 + n // 15:02d}:00:00Z",
            "proj:epsg": EPSG,
            "s2:processing_baseline": "05.11",
        },
    }


def _texture(rng: np.random.Generator, edge: int) -> np.ndarray:
    """Fields of 32 pixels with noise within, as compressible as land is."""
    fields = rng.integers(1200, 4500, (edge // 32 + 1, edge // 32 + 1)).astype("uint16")
    plain = fields.repeat(32, 0).repeat(32, 1)[:edge, :edge]
    return plain + rng.integers(0, 256, (edge, edge), dtype="uint16")


def _classes(rng: np.random.Generator, edge: int) -> np.ndarray:
    """Vegetation with clouds in blobs of 40 pixels; a third is bad."""
    coarse = rng.choice([4, 5, 6, 8, 9, 3], (edge // 40 + 1, edge // 40 + 1), p=[0.4, 0.2, 0.07, 0.13, 0.12, 0.08])
    return coarse.astype("uint8").repeat(40, 0).repeat(40, 1)[:edge, :edge]


def timed(command: list[str], env: dict[str, str]) -> dict[str, float]:
    """CPU and wall seconds and peak memory (MB) of a process."""
    code = (
        "import resource,subprocess,sys,time,json\n"
        "t=time.perf_counter(); r=subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL)\n"
        "u=resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([r.returncode,u.ru_utime+u.ru_stime,time.perf_counter()-t,u.ru_maxrss/1024]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], env=env, capture_output=True, text=True, check=True)
    status, cpu, wall, peak = json.loads(done.stdout.splitlines()[-1])
    if status:
        raise SystemExit(f"{command[:4]} ended with {status}: {done.stderr[-2000:]}")
    return {"cpu": cpu, "wall": wall, "peak_mb": peak}


def ours_command(items: Path, cube: Path, method: str, workers: int) -> list[str]:
    """`lc composite` with the masks of the peers: classes as they are, nothing grown."""
    plain = ["opening_m", "cloud_m", "cirrus_m", "shadow_m", "nodata_m"]
    options = [part for name in plain for part in ("--mask-option", f"{name}=0")]
    span = ["--start", "2021-06", "--end", "2021-06", "--bands", ",".join(BANDS)]
    code = "from landcover_cli.cli.main import main; main()"
    how = ["--method", method, "--workers", str(workers), "--executor", "threads"]
    return [sys.executable, "-c", code, "composite", str(items), "--out", str(cube), *span, *how, *options]


def floor(items: Path, size: int) -> dict[str, float]:
    """CPU seconds of what cannot be avoided, each alone: decode, doubling, cube."""
    from datetime import date

    import rasterio

    from landcover_cli.core.types import Period
    from landcover_cli.io.cubestore import CubeSpec, CubeWriter
    from landcover_cli.optical.resample import upsample

    features = json.loads(items.read_text())["features"]
    upsample(np.ones((4, 4), "uint16"), 2, 0, 0, 8, 8)  # compiled, or loaded
    costs = {"decode": 0.0, "double": 0.0, "write": 0.0}
    block = None
    with rasterio.Env(GDAL_CACHEMAX=128, GDAL_NUM_THREADS="1"):
        for feature in features:
            for name, asset in feature["assets"].items():
                with rasterio.open(asset["href"]) as dataset:
                    started = time.process_time()
                    values = dataset.read(1)
                    costs["decode"] += time.process_time() - started
                if name in BANDS_20M:
                    started = time.process_time()
                    for y in range(0, size, 1024):
                        for x in range(0, size, 1024):
                            r, c = max(y // 2 - 1, 0), max(x // 2 - 1, 0)
                            part = values[r : y // 2 + 513, c : x // 2 + 513]
                            high, wide = min(1024, size - y), min(1024, size - x)
                            block = upsample(part, 2, y - 2 * r, x - 2 * c, high, wide)
                    costs["double"] += time.process_time() - started
    assert block is not None
    rng = np.random.default_rng(0)
    data = np.stack([_texture(rng, 1024) for _ in BANDS])[:, :size, :size]
    flag = np.ones(data.shape[1:], bool)
    count = rng.integers(5, 12, data.shape[1:]).astype("uint16")
    spec = CubeSpec(
        "f",
        "sentinel2",
        "series",
        BANDS,
        "x",
        1e-4,
        -0.1,
        10.0,
        f"EPSG:{EPSG}",
        (LEFT, TOP - 10.0 * size, LEFT + 10.0 * size, TOP),
        (Period(date(2021, 6, 1), date(2021, 7, 1)),),
        "uint16",
    )
    with tempfile.TemporaryDirectory() as scratch:
        started = time.process_time()
        writer = CubeWriter(Path(scratch) / "cube.zarr", spec)
        for y in range(0, size, 1024):
            for x in range(0, size, 1024):
                writer.write(0, y, x, data, flag, count, count)
        writer.close()
        costs["write"] = time.process_time() - started
    return costs


def main() -> None:
    """Run all contenders and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", type=Path, help="Python of the peers' environment")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--dates", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--methods", default="mean,median")
    parser.add_argument("--stackstac", action="store_true", help="also run stackstac")
    parser.add_argument("--scenes", type=Path, help="folder that keeps the scenes; default: made anew")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        items = make(args.scenes or work / "scenes", args.size, args.dates)
        env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        found: dict[str, dict[str, float]] = {}
        for method in args.methods.split(","):
            cube = work / f"{method}.zarr"
            command = ours_command(items, cube, method, args.workers)
            found[f"lc {method}"] = timed(command, env)
            ours = _read(cube)
            peers = (["odc"] + (["stackstac"] if args.stackstac else [])) if args.peer_python else []
            (work / "peer.py").write_text(PEER)
            for peer in peers:
                target = work / f"{peer}.npy"
                command = [
                    str(args.peer_python),
                    str(work / "peer.py"),
                    peer,
                    method,
                    str(items),
                    str(target),
                    str(args.size),
                    str(args.workers),
                ]
                found[f"{peer} {method}"] = timed(command, env)
                theirs = np.load(target)
                print(f"{method}: {int((ours != theirs).sum())} of {theirs.size} values differ from {peer}'s")
        costs = floor(items, args.size)
        tiny = make(work / "tiny", 256, 1)
        start = timed(ours_command(tiny, work / "tiny.zarr", "mean", args.workers), env)
    _report(found, costs, start["cpu"])


def _read(cube: Path) -> np.ndarray:
    import zarr

    return np.asarray(zarr.open_array(cube / "data", mode="r")[0])


def _report(found: dict[str, dict[str, float]], costs: dict[str, float], start: float) -> None:
    total = sum(costs.values())
    print("floor, CPU s: " + ", ".join(f"{name} {value:.2f}" for name, value in costs.items()) + f"; sum {total:.2f}")
    print(f"start of lc (Python, imports, a block of 256²): CPU {start:.2f} s")
    for name, cost in found.items():
        line = f"{name:18} CPU {cost['cpu']:7.2f} s  wall {cost['wall']:7.2f} s  peak {cost['peak_mb']:6.0f} MB"
        tool, method = name.split()
        if tool == "lc":
            line += f"  CPU/floor {cost['cpu'] / total:.2f}, without the start {(cost['cpu'] - start) / total:.2f}"
        else:
            ours = found[f"lc {method}"]
            line += f"  lc's share: CPU {ours['cpu'] / cost['cpu']:.3f}, wall {ours['wall'] / cost['wall']:.3f}"
        print(line)


if __name__ == "__main__":
    main()
