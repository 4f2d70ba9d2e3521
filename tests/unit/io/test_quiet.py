"""Warnings stay dropped when several threads open files at once."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import rasterio

SCRIPT = """
import sys, threading, warnings
from landcover_cli.io.quiet import quiet
from landcover_cli.io.raster import open_raster

failures = []
def opens():
    try:
        for _ in range(150):
            with quiet():
                warnings.warn("nothing to do for the user", UserWarning)
            with open_raster(sys.argv[1]):
                pass
    except Warning as warning:
        failures.append(repr(warning))

sys.setswitchinterval(1e-5)
threads = [threading.Thread(target=opens) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
sys.exit(str(failures) if failures else 0)
"""


def test_warnings_stay_dropped_whatever_thread_leaves_first(tmp_path):
    path = tmp_path / "bare.tif"
    with rasterio.open(path, "w", driver="GTiff", width=4, height=4, count=1, dtype="uint8") as dataset:
        dataset.write(np.ones((1, 4, 4), np.uint8))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
