"""Lee and Gamma-MAP side by side with Orfeo Toolbox's Despeckle, in one run: differences in dB, CPU seconds as ratios.

Run: OMP_NUM_THREADS=1 PYTHONPATH=. python tests/benchmarks/s1_filters_vs_otb.py [--size 4096] [--data FOLDER]

Orfeo Toolbox (Debian package otb-bin) is a peer, not a dependency: where `otbcli_Despeckle` is absent, the script
says so and ends. Images are simulated speckle over a field of steps and points, and real pixels: an overview of a GRD
and the squared amplitude of an SLC. Both programs get radius 3 and 4.4 looks; real images, whose speckle has fewer or
more, also a number of looks at which the filters do not degenerate to the mean or to the pixel. The peer has no
nodata, so compared are pixels whose whole window is inside the image and valid. A slow oracle tells which variance
either takes. The cost is CPU seconds of the whole process on one thread, ours with the start of Python and the
loading of compiled kernels, about 0.6 s: only the large simulated image compares the filters.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from s1_vs_otb import DATA, cpu_of
from scipy.ndimage import binary_erosion

from landcover_cli.sar.speckle import SpeckleFilter, create, filter_image

RADIUS = 3
LOOKS = {"simulated": [4.4], "GRD overview": [4.4, 100.0], "SLC amplitude²": [4.4, 1.0]}
SIMULATED_LOOKS = 4.4
WINDOW = 2 * RADIUS + 1
FILTERS = {"lee": "lee", "gamma_map": "gammamap"}
TOLERANCE_DB = 1e-5
ORACLE_PX = 160
Image = NDArray[np.float32]


@dataclass(frozen=True)
class Agreement:
    """How two filtered images differ where both can be compared, in dB."""

    median_db: float
    largest_db: float
    beyond: float


def simulated(size: int) -> Image:
    """Speckle of 4.4 looks over steps of 10 dB, with some bright points."""
    rng = np.random.default_rng(0)
    steps = np.where((np.arange(size)[:, None] // 64 + np.arange(size)[None, :] // 96) % 2, 0.2, 0.02)
    steps.ravel()[rng.integers(0, size * size, size * size // 2000)] *= 100.0
    return np.asarray(steps * rng.gamma(SIMULATED_LOOKS, 1 / SIMULATED_LOOKS, (size, size)), np.float32)


def real(data: Path) -> dict[str, Image]:
    """Real pixels as power on an arbitrary scale, NaN for nodata; what is not at hand is said and left out."""
    found: dict[str, Image] = {}
    for label, pattern in {
        "GRD overview": "s1/riotiler_grd_overview/**/*vv*.tif*",
        "SLC amplitude²": "s1/sarprocessing_slc/**/*subset*.tif*",
    }.items():
        paths = sorted(data.glob(pattern))
        if not paths:
            sys.stdout.write(f"{label}: skipped, no {pattern} below the folder of real scenes\n")
            continue
        with rasterio.open(paths[0]) as source:
            amplitude = np.abs(source.read(1)).astype(np.float64)
        found[label] = np.where(amplitude > 0, amplitude**2, np.nan).astype(np.float32)
    return found


def write(path: Path, image: Image) -> None:
    """An uncompressed GeoTIFF; nodata becomes 0, which the peer takes for a value."""
    profile = {"driver": "GTiff", "height": image.shape[0], "width": image.shape[1], "count": 1, "dtype": "float32"}
    with rasterio.open(path, "w", **profile) as target:
        target.write(np.nan_to_num(image, nan=0.0), 1)


def read(path: Path) -> Image:
    """The only band."""
    with rasterio.open(path) as source:
        return np.asarray(source.read(1), np.float32)


def comparable(image: Image) -> NDArray[np.bool_]:
    """Pixels whose window is inside the image and all valid."""
    return binary_erosion(np.isfinite(image), np.ones((WINDOW, WINDOW), bool), border_value=0)


def compare(ours: Image, theirs: Image, where: NDArray[np.bool_]) -> Agreement:
    """Differences over the comparable pixels."""
    a, b = ours[where].astype(np.float64), theirs[where].astype(np.float64)
    difference = np.abs(10.0 * np.log10(a / b))
    return Agreement(float(np.median(difference)), float(difference.max()), float((difference > TOLERANCE_DB).mean()))


def oracle(image: Image, name: str, looks: float, ddof: int) -> Image:
    """The filter written plainly with numpy, float64, for windows inside of the image; `ddof` divides the variance."""
    windows = sliding_window_view(image.astype(np.float64), (WINDOW, WINDOW))
    mean, variance = windows.mean((-2, -1)), windows.var((-2, -1), ddof=ddof)
    centre = image[RADIUS:-RADIUS, RADIUS:-RADIUS].astype(np.float64)
    ci2, cu2 = variance / mean**2, 1.0 / looks
    if name == "lee":
        out = mean + np.where(ci2 > cu2, 1.0 - cu2 / np.maximum(ci2, cu2), 0.0) * (centre - mean)
    else:
        alpha = (1.0 + cu2) / np.where(ci2 > cu2, ci2 - cu2, 1.0)
        b = alpha - looks - 1.0
        mode = (b * mean + np.sqrt(mean**2 * b**2 + 4.0 * alpha * looks * mean * centre)) / (2.0 * alpha)
        out = np.where(ci2 <= cu2, mean, np.where(ci2 < 2.0 * cu2, mode, centre))
    return np.pad(out, RADIUS, constant_values=np.nan).astype(np.float32)


def published(name: str, looks: float) -> SpeckleFilter:
    """Our filter as published: Gamma-MAP's mode is not corrected, as the peer's is not."""
    plain = {"debias": False} if name == "gamma_map" else {}
    return create(name, window_px=WINDOW, looks=looks, **plain)


def run_image(label: str, image: Image, looks: float, folder: Path) -> bool:
    """Both filters on one image; whether the median difference is within tolerance."""
    source, ours, theirs = (folder / f"{name}.tif" for name in ("in", "ours", "theirs"))
    write(source, image)
    where, good = comparable(image), True
    for name, peer_name in FILTERS.items():
        own_s = cpu_of([sys.executable, __file__, "--one", name, str(looks), str(source), str(ours)])
        peer = ["otbcli_Despeckle", "-in", str(source), "-out", str(theirs), "float", "-filter", peer_name]
        peer += [f"-filter.{peer_name}.rad", str(RADIUS), f"-filter.{peer_name}.nblooks", str(looks)]
        otb_s = cpu_of([*peer, "-progress", "0"])
        found = compare(read(ours), read(theirs), where)
        good &= found.median_db <= TOLERANCE_DB
        sys.stdout.write(
            f"{label}, {name}, {looks:g} looks: median {found.median_db:.1e} dB, max {found.largest_db:.1e} dB, "
            f"{100 * found.beyond:.3f} % beyond {TOLERANCE_DB} dB of {where.sum()} pixels; "
            f"CPU ours {own_s:.2f} s, OTB {otb_s:.2f} s, ratio {own_s / otb_s:.2f}\n"
        )
        tell_definition(image, name, looks, {"ours": read(ours), "OTB": read(theirs)}, where)
    return good


def tell_definition(image: Image, name: str, looks: float, done: dict[str, Image], where: NDArray[np.bool_]) -> None:
    """Compare a piece in the middle with the slow oracle, for both ways to divide a variance."""
    middle = tuple(slice(n // 2 - ORACLE_PX // 2, n // 2 + ORACLE_PX // 2) for n in image.shape)
    for ddof in (1, 0):
        slow = oracle(image[middle], name, looks, ddof)
        found = {who: compare(out[middle], slow, where[middle] & np.isfinite(slow)) for who, out in done.items()}
        told = ", ".join(f"{who} max {a.largest_db:.1e} dB" for who, a in found.items())
        sys.stdout.write(f"    against a slow oracle with the variance over n − {ddof}: {told}\n")
    sys.stdout.flush()


def main() -> int:
    """Print the figures; exit 1 where a median is beyond tolerance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096, help="edge of the simulated image in pixels")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, looks, source, target = options.one
        image = read(Path(source))
        image[image == 0] = np.nan
        write(Path(target), filter_image(published(name, float(looks)), image))
        return 0
    if shutil.which("otbcli_Despeckle") is None:
        sys.stdout.write("skipped: Orfeo Toolbox is not installed (otbcli_Despeckle; Debian package otb-bin)\n")
        return 0
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for label, image in ({"simulated": simulated(options.size)} | real(options.data)).items():
            for looks in LOOKS[label]:
                good &= run_image(label, image, looks, Path(folder))
    sys.stdout.write(f"median within {TOLERANCE_DB} dB: {'yes' if good else 'NO'}\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
