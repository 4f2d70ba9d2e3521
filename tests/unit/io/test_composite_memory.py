"""Peak memory of `lc composite` with two workers: whatever the area and, for the mean, the number of dates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer

LEFT, TOP, EPSG = 600000, 5000040, 32633
BANDS = {"B04": 10, "B08": 10, "B05": 20, "B11": 20, "SCL": 20}
RUN = """
import json, resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(json.dumps([status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))
"""


def scenes(folder: Path, size: int, dates: int) -> Path:
    """Scenes of one value; every date has files of its own name, so that nothing is decoded once for all."""
    folder.mkdir()
    for band, gsd in BANDS.items():
        edge = size * 10 // gsd
        profile = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1}
        kind = "uint8" if band == "SCL" else "uint16"
        with rasterio.open(
            folder / f"{band}.tif", "w", driver="GTiff", width=edge, height=edge, count=1, dtype=kind, nodata=0,
            crs=f"EPSG:{EPSG}", transform=Affine(gsd, 0, LEFT, 0, -gsd, TOP), **profile,
        ) as file:  # fmt: skip
            for row in range(0, edge, 512):
                rows = min(512, edge - row)
                window = rasterio.windows.Window(0, row, edge, rows)
                file.write(np.full((rows, edge), 4 if band == "SCL" else 3000, kind), 1, window=window)
    to_degrees = Transformer.from_crs(EPSG, 4326, always_xy=True)
    edge = size * 10
    ring = [list(to_degrees.transform(LEFT + x, TOP - y)) for x, y in ((0, 0), (edge, 0), (edge, edge), (0, edge))]
    features = []
    for n in range(dates):
        assets = {}
        for band in BANDS:
            path = folder / f"{n}_{band}.tif"
            os.link(folder / f"{band}.tif", path)
            assets[band] = {"href": str(path), "roles": ["data"]}
        features.append(
            {
                "type": "Feature", "stac_version": "1.0.0", "id": f"s{n}", "links": [], "assets": assets,
                "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}, "bbox": [0, 0, 1, 1],
                "properties": {"datetime": f"2021-06-{n // 2 + 1:02d}T{n % 2 + 10}:00:00Z",
                               "s2:processing_baseline": "05.09"},
            }
        )  # fmt: skip
    items = folder / "items.json"
    items.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return items


def peak_mb(items: Path, out: Path, method: str, memory: str) -> float:
    code = "from landcover_cli.cli.main import main; main()"
    options = ["--start", "2021-06", "--end", "2021-06", "--bands", "B04,B08,B05,B11", "--memory", memory]
    command = [sys.executable, "-c", code, "composite", str(items), "--out", str(out), "--method", method, *options]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run([sys.executable, "-c", RUN, *command], env=env, capture_output=True, text=True, check=True)
    status, peak = json.loads(done.stdout)
    assert status == 0, done.stderr
    return float(peak)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mean", "median"])
def test_peak_is_one_of_sixteen_times_the_area(tmp_path, method):
    few = peak_mb(scenes(tmp_path / "a", 2048, 12), tmp_path / "a.zarr", method, "128MB")
    many = peak_mb(scenes(tmp_path / "b", 8192, 12), tmp_path / "b.zarr", method, "128MB")
    print(f"{method}: {few:.0f} MB, {many:.0f} MB for 16 times the area")
    assert many <= 1.1 * few
    assert many <= 1024


@pytest.mark.slow
def test_peak_of_the_mean_is_one_of_four_times_the_dates(tmp_path):
    few = peak_mb(scenes(tmp_path / "a", 4096, 12), tmp_path / "a.zarr", "mean", "512MB")
    many = peak_mb(scenes(tmp_path / "b", 4096, 48), tmp_path / "b.zarr", "mean", "512MB")
    print(f"mean: {few:.0f} MB, {many:.0f} MB for 4 times the dates")
    assert many <= 1.1 * few
    assert many <= 1024
