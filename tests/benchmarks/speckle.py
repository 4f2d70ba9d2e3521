"""Speed of speckle filters as ratios to a scipy Lee in tiles, in one run on one thread.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/speckle.py [--size 4096] [--repeat 5]
Times are CPU seconds of the process, the least of the repeats; the kinds alternate, so that a busy machine slows all.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from scipy.ndimage import uniform_filter

from landcover_cli import registry
from landcover_cli.sar.speckle import SceneStatistics, create, filter_image

LOOKS, WINDOW, TILE = 4.4, 7, 1024
# Ratio to the scipy Lee that a filter must reach.
WANTED = {"lee": 1.8, "refined_lee": 0.3, "lee_sigma": 0.15}


def scipy_lee(image: np.ndarray) -> np.ndarray:
    """Lee 7×7 with running-sum box filters, in tiles with a halo; float32, few temporaries, no nodata."""
    halo, cu2 = WINDOW // 2, np.float32(1 / LOOKS)
    n = WINDOW * WINDOW
    out = np.empty_like(image)
    for y in range(0, image.shape[0], TILE):
        for x in range(0, image.shape[1], TILE):
            top, left = max(y - halo, 0), max(x - halo, 0)
            block = image[top : y + TILE + halo, left : x + TILE + halo]
            mean = uniform_filter(block, WINDOW, mode="nearest")
            variance = uniform_filter(block * block, WINDOW, mode="nearest")
            square = mean * mean
            variance -= square
            variance *= np.float32(n / (n - 1))
            square *= cu2
            np.maximum(variance, square, out=variance)
            square /= variance
            weight = np.subtract(1, square, out=square)
            weight *= block - mean
            weight += mean
            out[y : y + TILE, x : x + TILE] = weight[y - top : y - top + TILE, x - left : x - left + TILE]
    return out


def main() -> int:
    """Print one line per filter; exit 1 where a wanted ratio is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    image = rng.gamma(LOOKS, 1 / LOOKS, (args.size, args.size)).astype(np.float32)
    scene = SceneStatistics(LOOKS, float(np.quantile(image, 0.98)))
    jobs = {"scipy": scipy_lee}
    for name in registry.names("speckle"):
        made = create(name, looks=LOOKS).prepare(scene)
        if made.axes == "yx":
            made.apply(image[:64, :64])  # compile
            jobs[name] = lambda pixels, made=made: filter_image(made, pixels, (TILE, TILE))
    inner = slice(8, -8), slice(8, -8)
    np.testing.assert_allclose(jobs["lee"](image)[inner], scipy_lee(image)[inner], rtol=1e-3)
    best = dict.fromkeys(jobs, np.inf)
    for _ in range(args.repeat):
        for name, job in jobs.items():
            start = time.process_time()
            job(image)
            best[name] = min(best[name], time.process_time() - start)
    missed = False
    for name, seconds in best.items():
        ratio = best["scipy"] / seconds
        wanted = WANTED.get(name)
        missed |= wanted is not None and ratio < wanted
        note = f"  wanted ≥ {wanted}" if wanted else ""
        print(f"{name:14s} {image.size / seconds / 1e6:7.1f} Mpx/s  ratio {ratio:5.2f}{note}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
