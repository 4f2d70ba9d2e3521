"""Terrain correction and flattening side by side with sarsen: CPU seconds as ratios, and how far results agree.

sarsen lives in an environment of its own; this script installs nothing:

    python -m venv peer && peer/bin/pip install sarsen==0.9.6 xarray-sentinel==0.9.6
    python tests/benchmarks/s1_vs_sarsen.py --peer-python peer/bin/python --data <folder of the real scenes>

Both read the same product (real annotation of Rome, simulated speckle as pixels) and the same seeded terrain, given as
heights above the ellipsoid on the output grid, and write a GeoTIFF.

The two flattened maps differ in their mean. `flattening_peer_rules_mean_db` is what is left of the difference once our
map without flattening is divided by areas made by sarsen's rules (tests/flattening_rules.py); the lines after it
say how much each rule moves the mean of our map.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window
from scipy import ndimage

from landcover_cli.core.grid import geobox_from_bounds
from landcover_cli.io.dem import Dem, open_dem
from landcover_cli.io.s1_plan import plan_scene
from landcover_cli.io.s1_scene import geocode_scene
from landcover_cli.io.s1_source import grd_sources
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.sar.geocoding import RadarModel, geocode, radar_model, seed_times
from landcover_cli.sar.ground import Block, MapLattice, ground_nodes, ground_positions, lattice_of
from landcover_cli.sar.orbit import interpolate_orbit

ROME = "s1/sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"
CORNER = (300_000, 4_610_000)

PEER = """
import json, resource, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np, sarsen
from sarsen import apps, orbit, scene, sentinel1
product_path, dem_path, folder, flatten, chunk = sys.argv[1:6]
product = sentinel1.Sentinel1SarProduct(product_path, measurement_group="IW/VV")
kwargs = dict(interp_method="linear", output_urlpath=f"{folder}/peer_{flatten}.tif")
if flatten == "yes":
    kwargs.update(correct_radiometry="gamma_bilinear", grouping_area_factor=(1.0, 1.0))
    kwargs.update(chunks=int(chunk), radiometry_chunks=int(chunk))
start = time.process_time(), time.perf_counter()
apps.terrain_correction(product, dem_path, **kwargs)
out = {"cpu_s": time.process_time() - start[0], "wall_s": time.perf_counter() - start[1]}
out["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
if flatten == "no":
    dem = scene.open_dem_raster(dem_path, chunks=None)
    ecef = scene.convert_to_dem_ecef(dem)
    interpolator = orbit.OrbitPolyfitInterpolator.from_position(product.state_vectors())
    found = apps.simulate_acquisition(ecef.drop_vars("spatial_ref"), interpolator)
    ground = product.slant_range_time_to_ground_range(found.azimuth_time, found.slant_range_time)
    attrs = product.measurement.attrs
    first = np.datetime64(attrs["product_first_line_utc_time"])
    seconds = (found.azimuth_time.values - first) / np.timedelta64(1, "ns") * 1e-9
    np.save(f"{folder}/line.npy", seconds / attrs["azimuth_time_interval"])
    np.save(f"{folder}/pixel.npy", np.asarray(ground.values) / attrs["range_pixel_spacing"])
print(json.dumps(out))
"""


def main() -> None:
    """Run both, print one JSON object."""
    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", required=True, type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LC_TEST_DATA", "../shared/data")))
    parser.add_argument("--size", type=int, default=2000, help="edge of the map in pixels of 10 m")
    parser.add_argument("--peer-chunk", type=int, default=8192, help="edge of sarsen's chunks: 8192 is one for all")
    parser.add_argument("--no-flattening", action="store_true", help="sarsen in one chunk takes 1.6 GB per megapixel")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        report = compare(args, args.data / ROME, Path(name))
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


def compare(args: argparse.Namespace, safe: Path, folder: Path) -> dict[str, float]:
    """All figures."""
    size = args.size
    lattice, block = area(size)
    terrain = folder / "dem.tif"
    write_terrain(terrain, size)
    model, product = simulate_product(safe, folder, lattice, block, open_dem(terrain, "ellipsoidal"))
    script = folder / "peer.py"
    script.write_text(PEER)
    report: dict[str, float] = {"map_mpx": size * size / 1e6}
    for flatten in ("no",) if args.no_flattening else ("no", "yes"):
        command = [str(args.peer_python), str(script), str(product), str(terrain), str(folder), flatten]
        command.append(str(args.peer_chunk))
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr[-3000:])
        peer = json.loads(done.stdout.splitlines()[-1])
        ours = run_ours(model, product, open_dem(terrain, "ellipsoidal"), lattice, block, folder, flatten == "yes")
        name = "flattening" if flatten == "yes" else "terrain_correction"
        report[f"{name}_peer_cpu_s"] = peer["cpu_s"]
        report[f"{name}_peer_peak_gb"] = peer["peak_gb"]
        report[f"{name}_ours_cpu_s"] = ours
        report[f"{name}_ratio"] = peer["cpu_s"] / ours
        report |= {f"{name}_{k}": v for k, v in agreement(folder, flatten).items()}
    if not args.no_flattening:
        report |= rules(model, open_dem(terrain, "ellipsoidal"), lattice, block, folder)
    return report | coordinates(model, open_dem(terrain, "ellipsoidal"), lattice, block, folder)


def area(size: int) -> tuple[MapLattice, Block]:
    """The map grid."""
    left, bottom = CORNER
    return lattice_of(geobox_from_bounds((left, bottom, left + 10 * size, bottom + 10 * size), 10, "EPSG:32633"))


def write_terrain(path: Path, size: int) -> None:
    """Seeded hills between 0 and 700 m, as heights above the ellipsoid."""
    rng = np.random.default_rng(5)
    rough = sum(ndimage.gaussian_filter(rng.normal(size=(size, size)), s) * s**1.7 for s in (8, 20, 60))
    height = (rough - rough.min()) / np.ptp(rough) * 700.0
    left, bottom = CORNER
    profile = {"driver": "GTiff", "width": size, "height": size, "count": 1, "dtype": "float32", "crs": "EPSG:32633"}
    transform = rasterio.Affine(10, 0, left, 0, -10, bottom + 10 * size)
    with rasterio.open(path, "w", transform=transform, **profile) as target:
        target.write(height.astype(np.float32), 1)


def simulate_product(safe: Path, folder: Path, lattice: MapLattice, block: Block, dem: Dem) -> tuple[RadarModel, Path]:
    """A copy of the product with speckle where the map is; the rest of the image stays empty."""
    product = folder / safe.name
    shutil.copytree(safe, product, ignore=shutil.ignore_patterns("measurement"))
    for path in [product, *product.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    annotation = open_s1_product(product).annotation("VV")
    times = annotation.geolocation.azimuth_time_s
    model = radar_model(annotation, interpolate_orbit(annotation.orbit, float(times.min()), float(times.max())))
    plan = plan_scene(model, dem, lattice, block, flatten=False)
    lines, pixels = plan.lines, plan.pixels
    (product / "measurement").mkdir(exist_ok=True)
    source = next((safe / "measurement").glob("*.tiff"))
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint16", "tiled": True, "compress": "deflate"}
    shape = annotation.image.shape_yx
    rng = np.random.default_rng(6)
    dn = 200.0 * np.sqrt(rng.gamma(4.4, 1 / 4.4, (lines[1] - lines[0], pixels[1] - pixels[0])))
    with rasterio.open(
        product / "measurement" / source.name, "w", height=shape[0], width=shape[1], SPARSE_OK=True, **profile
    ) as target:
        target.write(dn.round().astype(np.uint16), 1, window=Window(pixels[0], lines[0], dn.shape[1], dn.shape[0]))
    return model, product


def run_ours(
    model: RadarModel, product: Path, dem: Dem, lattice: MapLattice, block: Block, folder: Path, flatten: bool
) -> float:
    """CPU seconds from the product to the GeoTIFF, one thread; the second of two runs (the first compiles)."""
    cpu = 0.0
    for part in (Block(block.row0 + 900, block.col0 + 900, 64, 64), block):
        start = time.process_time()
        source = grd_sources([open_s1_product(product).channel("VV")], backscatter="beta0", denoise="off")
        # The map's own rim has no terrain beyond it: the facets end where the peer's do.
        plan = plan_scene(model, _Unchecked(dem), lattice, part, flatten=flatten)
        profile = {
            "driver": "GTiff",
            "count": 1,
            "dtype": "float32",
            "tiled": True,
            "compress": "zstd",
            "nodata": np.nan,
        }
        path = folder / f"ours_{'yes' if flatten else 'no'}.tif"
        with rasterio.open(path, "w", height=part.height, width=part.width, **profile) as target:
            for done in geocode_scene(model, source, dem, plan):
                row, col = done.block.row0 - part.row0, done.block.col0 - part.col0
                target.write(done.bands["VV"], 1, window=Window(col, row, done.block.width, done.block.height))
        cpu = time.process_time() - start
    return cpu


class _Unchecked(Dem):
    """A DEM that may end at the rim of the map."""

    __slots__ = ()

    def __init__(self, dem: Dem) -> None:
        for name in ("name", "height_kind", "sheets", "geoid", "flat_m", "voids_are_sea", "files"):
            object.__setattr__(self, name, getattr(dem, name))

    def require_cover(self, *_args: object, **_kwargs: object) -> None:
        """Nothing is refused."""


def agreement(folder: Path, flatten: str) -> dict[str, float]:
    """How far the two maps are apart, away from the rim."""
    inner = (slice(150, -150), slice(150, -150))
    peer, ours = (read_map(folder, who, flatten)[inner] for who in ("peer", "ours"))
    both = np.isfinite(peer) & np.isfinite(ours) & (peer > 0) & (ours > 0)
    difference = 10 * np.log10(ours[both] / peer[both])
    mean = 10 * np.log10(ours[both].mean() / peer[both].mean())
    return {
        "mean_db": float(mean),
        "median_abs_db": float(np.median(np.abs(difference))),
        "compared_share": float(both.mean()),
    }


def read_map(folder: Path, who: str, flatten: str) -> np.ndarray:
    """A map, north up."""
    with rasterio.open(folder / f"{who}_{flatten}.tif") as source:
        data = source.read(1).astype(np.float64)
        return data[::-1] if source.transform.e > 0 and who == "peer" else data


def rules(model: RadarModel, dem: Dem, lattice: MapLattice, block: Block, folder: Path) -> dict[str, float]:
    """Where the mean of the peer's flattened map comes from, on the middle of the map."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from flattening_rules import PEER, Rules, ratio_by

    edge = min(block.height, 1600)
    row, col = (block.height - edge) // 2, (block.width - edge) // 2
    part = Block(block.row0 + row, block.col0 + col, edge, edge)
    nodes = ground_nodes(lattice, part)
    height = dem.heights(lattice, part)
    place = geocode(model, nodes, seed_times(model, nodes), part, height)
    position = ground_positions(nodes, part, height)
    # The relief of some hundred metres moves facets by 1.5 km at most.
    inner = slice(row + 150, row + edge - 150), slice(col + 150, col + edge - 150)
    raw, theirs, ours = (read_map(folder, *name)[inner] for name in (("ours", "no"), ("peer", "yes"), ("ours", "yes")))
    kept = np.isfinite(raw) & np.isfinite(theirs) & np.isfinite(ours)

    def mean_db(power: np.ndarray) -> float:
        return float(10 * np.log10(np.nanmean(power[kept])))

    def by(which: Rules) -> float:
        return mean_db(raw * ratio_by(which, model, position, place)[150:-150, 150:-150])

    plain, grid, cells, peer = (
        by(Rules()),
        by(Rules(slant_grid=True)),
        by(replace(PEER, nominal_spacing=False)),
        by(PEER),
    )
    return {
        "flattening_peer_rules_mean_db": peer - mean_db(theirs),
        "flattening_our_rules_mean_db": plain - mean_db(ours),
        "flattening_slant_grid_db": plain - grid,
        "flattening_whole_cells_db": grid - cells,
        "flattening_nominal_spacing_db": cells - peer,
    }


def coordinates(model: RadarModel, dem: Dem, lattice: MapLattice, block: Block, folder: Path) -> dict[str, float]:
    """Largest difference of line and pixel."""
    nodes = ground_nodes(lattice, block)
    place = geocode(model, nodes, seed_times(model, nodes), block, dem.heights(lattice, block))
    line, pixel = np.load(folder / "line.npy")[::-1], np.load(folder / "pixel.npy")[::-1]
    return {
        "line_max_px": float(np.nanmax(np.abs(place.line - line))),
        "pixel_max_px": float(np.nanmax(np.abs(place.pixel - pixel))),
    }


if __name__ == "__main__":
    main()
