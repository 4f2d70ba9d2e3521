"""Mean and equivalent looks of filtered homogeneous speckle, published estimates and the default ones, in one run.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/speckle_bias.py [--size 1100]
Speckle is independent from pixel to pixel, or has the spectrum of IW GRDH (cells of 22 × 20 m on pixels of 10 m).
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from numpy.typing import NDArray

from landcover_cli import registry
from landcover_cli.sar.speckle import SceneStatistics, create, filter_image

EDGE_PX = 8
Image = NDArray[np.float32]


def independent(size: int, looks: float) -> Image:
    """Gamma distributed pixels of mean 1."""
    return np.random.default_rng(0).gamma(looks, 1 / looks, (size, size)).astype(np.float32)


def correlated(size: int, weights: tuple[float, ...]) -> Image:
    """Sum of independent looks of these weights, each the squared size of a band-limited complex field."""
    rng = np.random.default_rng(3)
    frequency = np.abs(np.fft.fftfreq(size))

    def window(cell_m: float) -> NDArray[np.float64]:
        # A Hamming weight of 0.75 widens the cell of a flat spectrum by 1.17.
        band = 0.886 * 1.17 * 10.0 / cell_m
        return np.where(frequency <= band / 2, 0.75 + 0.25 * np.cos(2 * np.pi * frequency / band), 0.0)

    spectrum = window(22.0)[:, None] * window(20.0)
    power = np.zeros((size, size))
    for weight in weights:
        field = rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size))
        power += weight * np.abs(np.fft.ifft2(np.fft.fft2(field) * spectrum)) ** 2
    return np.asarray(power / power.mean(), np.float32)


def looks_of(image: Image) -> float:
    """Squared mean over variance."""
    values = image.astype(np.float64)
    return float(values.mean() ** 2 / values.var())


def tell(label: str, image: Image) -> None:
    """Print a line per filter."""
    looks = looks_of(image)
    inside = (slice(EDGE_PX, -EDGE_PX),) * 2
    before = image[inside].mean(dtype=np.float64)
    for name in registry.names("speckle"):
        kind = registry.load("speckle", name)
        if kind.axes != "yx":
            continue
        found = []
        for options in ({"debias": False}, {}) if hasattr(kind, "debias") else ({},):
            made = create(name, looks=looks, **options)
            out = filter_image(made.prepare(SceneStatistics(looks, float(np.quantile(image, 0.98)))), image)[inside]
            bias_db = 10 * np.log10(out.mean(dtype=np.float64) / before)
            found.append(f"{bias_db:+.4f} dB, looks × {looks_of(out) / looks:.1f}")
        sys.stdout.write(f"{label}, L = {looks:.2f}, {name}: {' → '.join(found)}\n")
        sys.stdout.flush()


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1100)
    size = parser.parse_args().size
    for looks in (1.0, 4.4, 10.0):
        tell("independent", independent(size, looks))
    for weights in ((1.0,), (0.5, 0.8, 1.0, 0.8, 0.5)):
        tell("like IW GRDH", correlated(size, weights))
    return 0


if __name__ == "__main__":
    sys.exit(main())
