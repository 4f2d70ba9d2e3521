"""Calibration and noise removal side by side with Orfeo Toolbox, in one run, as ratios.

Run: python tests/benchmarks/s1_vs_otb.py [--lut sigma] [--data FOLDER]

Orfeo Toolbox (Debian package otb-bin) is a peer, not a dependency: where `otbcli_SARCalibration` is absent, the script
says so and ends. Pixels are simulated under real annotation (speckled gamma nought between −25 and −3 dB plus speckled
noise), because no product at hand has both. Both programs read the same uncompressed GeoTIFF, use one thread and write
float32; the cost is CPU seconds of the whole process, ours with the start of Python and of the compiled kernels.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from landcover_cli.io.safe_s1 import S1Product, open_measurement, open_s1_product
from landcover_cli.sar.calibration import calibrate, calibration_factor, prepare_radiometry
from landcover_cli.sar.noise import noise_model, noise_power
from landcover_cli.sar.types import Backscatter, S1Channel

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)

DATA = Path(os.environ.get("LC_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
PRODUCTS = {
    "IPF 3.31": "s1/pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20210119T031653_20210119T031718_036201_043ED0_8255.zip",
    "IPF 3.40": "s1/sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE",
    "IPF 2.70": "s1/pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150203T043109_20150203T043134_004454_00574F_6D00.zip",
}
LUTS: dict[str, Backscatter] = {"sigma": "sigma0", "beta": "beta0", "gamma": "gamma0"}
TOLERANCE_DB = 1e-5
ALLOWED_BEYOND = 1e-6
BLOCK = 1024


def write_block_by_block(channel: S1Channel, kind: Backscatter, denoise: bool, target: Path) -> float:
    """Calibrate a whole channel as the product chain does; returns the seconds spent in the kernel alone."""
    radiometry = prepare_radiometry(channel, backscatter=kind, denoise="auto" if denoise else "off")
    lines, pixels = channel.annotation.image.shape_yx
    profile = {"driver": "GTiff", "height": lines, "width": pixels, "count": 1, "dtype": "float32"}
    spent = 0.0
    with open_measurement(channel) as source, rasterio.open(target, "w", **profile) as out:
        for line in range(0, lines, BLOCK):
            count = min(BLOCK, lines - line)
            dn = source.read(line, 0, count, pixels)
            begin = time.process_time()
            block = calibrate(dn, radiometry, first_line=line, first_pixel=0)
            spent += time.process_time() - begin
            out.write(block, 1, window=Window(0, line, pixels, count))
    return spent


def simulated(source: Path, folder: Path) -> S1Product:
    """A copy of a product with simulated pixels in VV, at full size: the peer derives line times from the size."""
    if source.suffix == ".zip":
        with zipfile.ZipFile(source) as archive:
            archive.extractall(folder)
        copy = next(folder.glob("*.SAFE"))
    else:
        copy = folder / source.name
        for path in source.rglob("*.*"):
            if path.is_file():
                (copy / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy / path.relative_to(source))
    annotation = next((copy / "annotation").glob("*-vv-*.xml"))
    target = copy / "measurement" / f"{annotation.stem}.tiff"
    target.parent.mkdir(exist_ok=True)
    product = open_s1_product(copy)
    channel = product.channel("VV", need_measurement=False)
    lines, pixels = channel.annotation.image.shape_yx
    radiometry, noise = prepare_radiometry(channel), noise_model(channel.annotation, channel.noise)
    rng = np.random.default_rng(0)
    speckle = rng.gamma(4.4, 1 / 4.4, (BLOCK, pixels)).astype(np.float32)  # the same for every block, rolled
    profile = {"driver": "GTiff", "height": lines, "width": pixels, "count": 1, "dtype": "uint16"}
    with rasterio.open(target, "w", **profile) as out:
        # By this tag the peer recognises the satellite.
        out.update_tags(TIFFTAG_IMAGEDESCRIPTION=f"Sentinel-1{product.meta.mission[-1]} IW GRD HR L1")
        for line in range(0, lines, BLOCK):
            shape = (min(BLOCK, lines - line), pixels)
            gamma0 = 10 ** rng.uniform(-2.5, -0.3, (shape[0], 1))
            factor = calibration_factor(radiometry, line, 0, shape)
            power = gamma0 * factor * factor + noise_power(noise, line, 0, shape)
            power *= np.roll(speckle, line, axis=1)[: shape[0]]
            out.write(np.rint(np.sqrt(power)).astype(np.uint16), 1, window=Window(0, line, pixels, shape[0]))
    return open_s1_product(copy)


def cpu_of(command: list[str]) -> float:
    """CPU seconds of a command, one thread."""
    names = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "GDAL_NUM_THREADS", "NUMBA_NUM_THREADS")
    one = dict.fromkeys(names, "1")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env=os.environ | one, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(ours: Path, theirs: Path, before: Path) -> tuple[float, float, float]:
    """Largest difference in dB of the power before subtraction, share of pixels beyond tolerance, share below zero.

    A difference of two nearly equal powers has no digits left to compare in dB; what must agree is the power that goes
    in and the noise that comes off. The peer clips at zero, so pixels below zero are compared as zero. It keeps times
    as days, hence to 0.6 µs: where a noise vector drops to zero beside one of 1700, that is seen in very dark pixels.
    """
    largest, beyond, negative, total = 0.0, 0, 0, 0
    with rasterio.open(ours) as a, rasterio.open(theirs) as b, rasterio.open(before) as c:
        for line in range(0, a.height, BLOCK):
            window = Window(0, line, a.width, min(BLOCK, a.height - line))
            x, y, power = (f.read(1, window=window).astype(np.float64) for f in (a, b, c))
            valid = np.isfinite(x)
            difference_db = 10 * np.log10(1 + np.abs(np.maximum(x, 0) - y)[valid] / power[valid])
            largest = max(largest, float(difference_db.max(initial=0.0)))
            beyond += int((difference_db > TOLERANCE_DB).sum())
            negative, total = negative + int((x[valid] < 0).sum()), total + int(valid.sum())
    return largest, beyond / total, negative / total


def run_product(label: str, source: Path, folder: Path, luts: list[str]) -> bool:
    """Compare one product; returns whether everything that is demanded agrees."""
    product = simulated(source, folder)
    measurement = next((product.path / "measurement").glob("*-vv-*.tiff"))
    good = True
    for lut in luts:
        plain = folder / "plain.tif"
        for denoise in (False, True):
            ours, theirs = (folder / "ours.tif" if denoise else plain), folder / "theirs.tif"
            mine = [sys.executable, __file__, "--one", str(product.path), LUTS[lut], str(int(denoise)), str(ours)]
            own_s = cpu_of(mine)
            peer = ["otbcli_SARCalibration", "-in", str(measurement), "-out", str(theirs), "float", "-lut", lut]
            otb_s = cpu_of([*peer, "-removenoise", str(denoise).lower(), "-progress", "0"])
            largest, beyond, negative = compare(ours, theirs, plain)
            binding = label != "IPF 2.70" or not denoise
            good &= not binding or beyond <= ALLOWED_BEYOND
            print(
                f"{label} {LUTS[lut]} denoise={denoise!s:5}: max {largest:.1e} dB, {beyond:.1e} of pixels beyond "
                f"{TOLERANCE_DB} dB, {100 * negative:.2f} % below zero; CPU ours {own_s:.1f} s, OTB {otb_s:.1f} s, "
                f"ratio {own_s / otb_s:.2f}"
                + ("" if binding else "  (no demand: OTB reads all noise vectors on the grid of the first)"),
                flush=True,
            )
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lut", choices=sorted(LUTS), nargs="*", default=sorted(LUTS))
    parser.add_argument("--product", choices=sorted(PRODUCTS), nargs="*", default=sorted(PRODUCTS))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        path, kind, denoise, target = options.one
        write_block_by_block(open_s1_product(path).channel("VV"), kind, denoise == "1", Path(target))
        return 0
    if shutil.which("otbcli_SARCalibration") is None:
        print("skipped: Orfeo Toolbox is not installed (otbcli_SARCalibration; Debian package otb-bin)")
        return 0
    good = True
    for label in options.product:
        name = PRODUCTS[label]
        source = options.data / name
        if not source.exists():
            print(f"{label}: skipped, {name} not found below {options.data}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            good &= run_product(label, source, Path(folder), options.lut)
    print(f"agreement within {TOLERANCE_DB} dB of all but {ALLOWED_BEYOND} of pixels: " + ("yes" if good else "NO"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
