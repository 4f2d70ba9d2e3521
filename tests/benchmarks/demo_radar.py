"""What comes back of the demo's simulated backscatter, and what each speckle filter is worth on it.

Every Sentinel-1 product of a demo folder goes through the chain, and is compared with the gamma0 that the simulator put
on the ground: forwards and backwards share no code. Then a random forest on the monthly means, trained on the label
polygons, maps the unlabelled half.

    lc demo DEMO --generate-only && python tests/benchmarks/demo_radar.py DEMO [FILTER ...]
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from landcover_cli.demo.generate import DemoPaths, generate  # noqa: E402
from landcover_cli.demo.region import day_to_datetime, region  # noqa: E402
from landcover_cli.demo.simulation import Simulation, simulate  # noqa: E402
from landcover_cli.io.preprocess_s1 import preprocess_s1  # noqa: E402
from landcover_cli.io.s1_prepare import S1Settings, prepare_s1  # noqa: E402
from landcover_cli.io.safe_s1 import open_s1_product  # noqa: E402
from tests.unit.demo.difficulty import forest_accuracy, monthly  # noqa: E402

FILTERS = ("none", "boxcar:3", "lee", "refined_lee", "lee_sigma")


def processed(paths: DemoPaths, simulation: Simulation, speckle: str) -> list[NDArray[np.float32]]:
    """Terrain-flattened gamma0 of every date on the region's grid, [2, rows, cols] each."""
    name, _, window = speckle.partition(":")
    settings = S1Settings(
        dem=str(paths.dem),
        dem_height="ellipsoidal",
        speckle=name,
        speckle_options={"window_px": int(window)} if window else {},
        crs="EPSG:32633",
        area_m=simulation.region.bounds_m,
    )
    found = []
    for safe in paths.s1:
        with tempfile.TemporaryDirectory() as folder:
            preprocess_s1(prepare_s1([open_s1_product(safe)], settings), Path(folder))
            with rasterio.open(Path(folder) / "data.tif") as source:
                found.append(source.read())
    return found


def main(folder: str, *filters: str) -> None:
    """Print one line per filter."""
    about = json.loads((Path(folder) / "demo.json").read_text(encoding="utf-8"))
    paths = generate(Path(folder), size=about["size"], seed=about["seed"])
    simulation = simulate(region(about["size"]), about["seed"])
    days = simulation.radar_days
    known = np.mean([simulation.radar(day).gamma0 for day in days], axis=(0, 2, 3))
    months = [day_to_datetime(day).month for day in days]
    for speckle in filters or FILTERS:
        seen = processed(paths, simulation, speckle)
        bias_db = 10 * np.log10(np.mean(seen, axis=(0, 2, 3)) / known)
        series = 10 * np.log10(np.maximum(monthly(seen, [np.isfinite(s[0]) for s in seen], months), 1e-6))
        accuracy = forest_accuracy(simulation, series)
        print(
            f"{speckle}: {len(days)} dates, VV {bias_db[0]:+.4f} dB, VH {bias_db[1]:+.4f} dB, forest {accuracy:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
