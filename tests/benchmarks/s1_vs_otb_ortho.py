"""Which source pixel a map pixel takes: geocoding side by side with Orfeo Toolbox's orthorectification, in one run.

Run: OMP_NUM_THREADS=1 PYTHONPATH=. python tests/benchmarks/s1_vs_otb_ortho.py [--size 760] [--data FOLDER]

Orfeo Toolbox (Debian package otb-bin) is a peer, not a dependency: where `otbcli_OrthoRectification` is absent, the
script says so and ends. An image whose values tell their own line and pixel stands under the real annotation of Rome,
with tie points and the image description tag by which the peer knows the satellite. The peer resamples it to 10 m with
the nearest neighbour and a grid of 10 m, that is, with every pixel located by its own sensor model; both take the same
terrain (1″, above EGM96) and the same geoid grid. Compared are the line and pixel that the peer's map holds with the
nearest ones of `landcover_cli.sar.geocoding`. The cost is CPU seconds of the whole process on one thread: the peer's
includes resampling and writing, ours is without; it is told for orientation alone.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.windows import Window
from s1_vs_otb import DATA, cpu_of

from landcover_cli.core.grid import geobox_from_bounds
from landcover_cli.io.dem import open_dem
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.sar.geocoding import RadarCoordinates, RadarModel, geocode, radar_model, seed_times
from landcover_cli.sar.ground import ground_nodes, lattice_of
from landcover_cli.sar.orbit import interpolate_orbit
from landcover_cli.sar.types import S1Annotation

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)

ROME = "s1/sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"
TERRAIN = "s1/sarsen_rome/Rome-30m-DEM.tif"
GEOID = "s1/egm96/egm96_15min.tif"
# The upper left corner of the map; 760 pixels of 10 m from there lie inside the terrain.
LEFT, TOP, CRS, ZONE, GSD_M = 289_200, 4_658_000, "EPSG:32633", 33, 10
WANTED = 0.95
SPAN = 4096


def model_of(annotation: S1Annotation) -> RadarModel:
    """Orbit and image grid, by the annotation's own orbit."""
    times = annotation.geolocation.azimuth_time_s
    return radar_model(annotation, interpolate_orbit(annotation.orbit, float(times.min()), float(times.max())))


def locate_map(safe: Path, data: Path, bounds: tuple[float, float, float, float]) -> RadarCoordinates:
    """Line and pixel of every map pixel, by this project."""
    lattice, block = lattice_of(geobox_from_bounds(bounds, GSD_M, CRS))
    model = model_of(open_s1_product(safe).annotation("VV"))
    nodes = ground_nodes(lattice, block)
    heights = open_dem(data / TERRAIN, str(data / GEOID)).heights(lattice, block)
    return geocode(model, nodes, seed_times(model, nodes), block, heights)


def write_product(safe: Path, folder: Path, corner: tuple[int, int]) -> Path:
    """A copy of the annotation over an image whose values count the pixels from a corner; returns the measurement.

    The peer computes in float32, which holds 24 bits: enough for a square of 4,096 lines and pixels.
    """
    copy = folder / safe.name
    for path in safe.rglob("*"):
        if path.is_file() and path.suffix not in (".tiff", ".tif"):
            (copy / path.relative_to(safe)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy / path.relative_to(safe))
    product = open_s1_product(safe)
    annotation = product.annotation("VV")
    ties = annotation.geolocation
    columns = (ties.line, ties.pixel, ties.lon_deg, ties.lat_deg, ties.height_m)
    target = copy / "measurement" / f"{next((safe / 'annotation').glob('*-vv-*.xml')).stem}.tiff"
    target.parent.mkdir(exist_ok=True)
    lines, pixels = annotation.image.shape_yx
    code = np.arange(SPAN)[:, None] * np.float32(SPAN) + np.arange(SPAN, dtype=np.float32)
    with rasterio.open(
        target,
        "w",
        driver="GTiff",
        height=lines,
        width=pixels,
        count=1,
        dtype="float32",
        tiled=True,
        compress="deflate",
        zlevel=1,
        SPARSE_OK=True,
        gcps=[GroundControlPoint(*(float(v) for v in tie)) for tie in zip(*columns, strict=True)],
        crs="EPSG:4326",
    ) as out:
        out.update_tags(TIFFTAG_IMAGEDESCRIPTION=f"Sentinel-1{product.meta.mission[-1]} IW GRD HR L1")
        kept = code[: lines - corner[0], : pixels - corner[1]]
        out.write(kept, 1, window=Window(corner[1], corner[0], kept.shape[1], kept.shape[0]))
    return target


def peer_command(measurement: Path, terrain: Path, geoid: Path, size: int, target: Path) -> list[str]:
    """The peer's command line."""
    command = ["otbcli_OrthoRectification", "-io.in", str(measurement), "-io.out", str(target), "float"]
    command += ["-map", "utm", "-map.utm.zone", str(ZONE), "-map.utm.northhem", "true"]
    command += ["-outputs.mode", "auto", "-outputs.ulx", str(LEFT), "-outputs.uly", str(TOP)]
    command += ["-outputs.sizex", str(size), "-outputs.sizey", str(size)]
    command += ["-outputs.spacingx", str(GSD_M), "-outputs.spacingy", str(-GSD_M), "-outputs.default", "-1"]
    command += ["-elev.dem", str(terrain), "-elev.geoid", str(geoid), "-interpolator", "nn"]
    return [*command, "-opt.gridspacing", str(GSD_M), "-opt.ram", "512", "-progress", "0"]


def offset(name: str, theirs: NDArray[np.int64], ours: NDArray[np.float64]) -> str:
    """How far the peer's whole-numbered position is from ours: rounding alone spreads it evenly over ±0.5."""
    difference = theirs - ours
    return f"{name}: mean {difference.mean():+.4f}, {difference.min():+.3f}..{difference.max():+.3f}"


def main() -> int:
    """Print the share of equal source pixels; exit 1 where it is too small."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=760, help="edge of the map in pixels of 10 m")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--one", nargs=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    safe, size = options.data / ROME, options.size
    bounds = (LEFT, TOP - GSD_M * size, LEFT + GSD_M * size, TOP)
    if options.one:
        found = locate_map(safe, options.data, bounds)
        np.save(options.one[0], np.stack([found.line, found.pixel]))
        return 0
    if shutil.which("otbcli_OrthoRectification") is None:
        sys.stdout.write(
            "skipped: Orfeo Toolbox is not installed (otbcli_OrthoRectification; Debian package otb-bin)\n"
        )
        return 0
    if not safe.exists():
        sys.stdout.write(f"skipped: {ROME} not found below the folder of real scenes\n")
        return 0
    with tempfile.TemporaryDirectory() as name:
        return compare(safe, options, Path(name))


def compare(safe: Path, options: argparse.Namespace, folder: Path) -> int:
    """Run both and print."""
    own, target, terrain = folder / "own.npy", folder / "map.tif", folder / "terrain"
    mine = [sys.executable, __file__, "--size", str(options.size), "--data", str(options.data), "--one", str(own)]
    own_s = cpu_of(mine)
    line, pixel = np.load(own)
    corner = int(np.nanmean(line)) - SPAN // 2, int(np.nanmean(pixel)) - SPAN // 2
    measurement = write_product(safe, folder, corner)
    terrain.mkdir()
    shutil.copyfile(options.data / TERRAIN, terrain / "dem.tif")
    otb_s = cpu_of(peer_command(measurement, terrain, options.data / GEOID, options.size, target))
    with rasterio.open(target) as source:
        code, origin = source.read(1).astype(np.int64), (source.transform.c, source.transform.f)
    if origin != (LEFT, TOP) or code.shape != line.shape or (code < 0).any() or np.isnan(line + pixel).any():
        sys.stdout.write(f"no comparison: the peer's map begins at {origin}, {(code < 0).mean():.1%} of it is empty\n")
        return 1
    peer_line, peer_pixel = corner[0] + code // SPAN, corner[1] + code % SPAN
    # A whole number is the centre of a sample.
    same_line, same_pixel = peer_line == np.floor(line + 0.5), peer_pixel == np.floor(pixel + 0.5)
    share = float((same_line & same_pixel).mean())
    sys.stdout.write(
        f"same source pixel: {share:.2%} of {code.size} (same line {same_line.mean():.2%}, same pixel "
        f"{same_pixel.mean():.2%}), wanted ≥ {WANTED:.0%}\n"
        f"peer − ours, {offset('line', peer_line, line)}; {offset('pixel', peer_pixel, pixel)}\n"
        f"CPU ours {own_s:.2f} s (without resampling), OTB {otb_s:.2f} s, ratio {own_s / otb_s:.2f}\n"
    )
    return 0 if share >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
