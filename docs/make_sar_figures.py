"""Draw the figures of the Sentinel-1 page. Usage: make_sar_figures.py OUT_FOLDER [--data FOLDER].

Speckle filters are drawn on real pixels where a folder of real scenes is given, else on the simulated scene. Geometry
is drawn on a simulated product over seeded mountains, as no real product at hand has pixels, annotation and terrain at
once. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import rasterio
from affine import Affine
from matplotlib.colors import BoundaryNorm, ListedColormap
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from scipy import ndimage

from landcover_cli.demo.sentinel1_geometry import make_geometry
from landcover_cli.demo.sentinel1_ground import MapGrid, dem_heights
from landcover_cli.demo.sentinel1_safe import write_grd_safe
from landcover_cli.io.preprocess_s1 import preprocess_s1
from landcover_cli.io.s1_prepare import S1Settings, prepare_s1
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.sar.speckle import SceneReducer, create, filter_image, haloed
from landcover_cli.sar.stretch import StretchLimits, stretch_to_uint8, to_db

Image = NDArray[np.float32]

SEED = 7
FILTERS = ("boxcar", "lee", "enhanced_lee", "refined_lee", "gamma_map", "lee_sigma")
SLC = "s1/sarprocessing_slc/*subset*.tif*"
PAIR = "s1/eo_tools_morocco/S1_InSAR*/amp_*_vv.tif"
# Coast and volcano of the first; a ridge of the second: rows, columns.
SLC_CROP = (slice(190, 430), slice(70, 310))
PAIR_CROP = (slice(230, 470), slice(330, 570))
GRID = MapGrid(32633, 345_600.0, 5_379_840.0, 256, 256)
DEM_MARGIN_PX = 400
ORBIT, DAY = 44, date(2021, 1, 16)


def write_grey(path: Path, power: Image, limits: StretchLimits | None = None) -> None:
    """Decibels as grey; between the 2nd and 98th percentile if no limits are given."""
    grey = stretch_to_uint8(to_db(power), limits or limits_of(power), full_range=True)
    with rasterio.open(
        path, "w", driver="PNG", height=grey.shape[0], width=grey.shape[1], count=1, dtype="uint8", zlevel=9
    ) as target:
        target.write(grey, 1)


def limits_of(power: Image) -> StretchLimits:
    """2nd and 98th percentile in decibels."""
    db = to_db(power)
    low, high = np.percentile(db[np.isfinite(db)], [2.0, 98.0])
    return StretchLimits(float(low), float(high))


def read_power(path: Path) -> Image:
    """Squared amplitude."""
    with rasterio.open(path) as source:
        amplitude = np.abs(source.read(1)).astype(np.float64)
    return np.asarray(amplitude**2, np.float32)


def real_image(data: Path) -> Image:
    """Four samples of each line of a real SLC averaged: square pixels of a few looks."""
    power = read_power(next(iter(sorted(data.glob(SLC)))))
    width = power.shape[1] // 4 * 4
    return np.asarray(power[:, :width].reshape(power.shape[0], -1, 4).mean(-1), np.float32)


def draw_filters(out: Path, image: Image, crop: tuple[slice, slice]) -> None:
    """The image and every filter of one image, window 7×7, with the scene's own number of looks."""
    whole = slice(0, image.shape[0]), slice(0, image.shape[1])
    scene = SceneReducer.empty().feed(haloed(image, *whole, SceneReducer.halo_px)).result()
    limits = limits_of(image[crop])
    write_grey(out / "speckle_none.png", image[crop], limits)
    for name in FILTERS:
        filtered = filter_image(create(name, looks=None).prepare(scene), image)
        write_grey(out / f"speckle_{name}.png", filtered[crop], limits)


def draw_multitemporal(out: Path, stack: NDArray[np.float32], crop: tuple[slice, slice]) -> None:
    """One date before and after the filter over the stack."""
    filtered = filter_image(create("multitemporal"), stack)
    limits = limits_of(stack[0][crop])
    write_grey(out / "speckle_multitemporal_none.png", stack[0][crop], limits)
    write_grey(out / "speckle_multitemporal.png", filtered[0][crop], limits)


def mountains(shape: tuple[int, int]) -> NDArray[np.float64]:
    """Seeded heights of 10 m pixels with slopes that are laid over and cast shadows."""
    rng = np.random.default_rng(SEED)
    rough = sum(ndimage.gaussian_filter(rng.normal(size=shape), s) * s**1.9 for s in (9, 22, 60))
    return np.asarray(400.0 + 1600.0 * (rough - rough.min()) / np.ptp(rough))


def fields() -> NDArray[np.float64]:
    """Backscatter, VV and VH, of seeded parcels."""
    rng = np.random.default_rng(SEED + 1)
    place = rng.uniform(0, GRID.rows, (60, 2))
    y, x = np.mgrid[: GRID.rows, : GRID.cols]
    nearest = ((y[..., None] - place[:, 0]) ** 2 + (x[..., None] - place[:, 1]) ** 2).argmin(-1)
    vv = 10 ** (rng.uniform(-13.0, -7.0, 60) / 10)[nearest]
    return np.stack([vv, 0.2 * vv])


def simulate(folder: Path) -> tuple[Path, Path]:
    """A product over the mountains, and their terrain model."""
    side = GRID.rows + 2 * DEM_MARGIN_PX
    height = mountains((side, side))
    margin_m = DEM_MARGIN_PX * GRID.pixel_m
    transform = Affine(GRID.pixel_m, 0, GRID.left_m - margin_m, 0, -GRID.pixel_m, GRID.top_m + margin_m)
    crs, dem = f"EPSG:{GRID.epsg}", folder / "dem.tif"
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "float32"}
    with rasterio.open(dem, "w", crs=crs, transform=transform, **profile) as target:
        target.write(height.astype(np.float32), 1)
    geometry = make_geometry(ORBIT, GRID, dem_heights(height, transform, crs, GRID.epsg))
    return write_grd_safe(folder, geometry, fields(), when=DAY, seed=SEED), dem


def on_map(product: Path, dem: Path, folder: Path, backscatter: Any, speckle: str) -> Path:
    """Run the chain; returns the folder of the observation."""
    left, bottom, right, top = GRID.bounds_m
    settings = S1Settings(
        dem=str(dem),
        dem_height="ellipsoidal",
        backscatter=backscatter,
        speckle=speckle,
        layers=("incidence", "layover_shadow"),
        crs=f"EPSG:{GRID.epsg}",
        gsd_m=GRID.pixel_m,
        area_m=(left, bottom, right, top),
    )
    out = folder / f"{backscatter}_{speckle}"
    out.mkdir()
    preprocess_s1(prepare_s1([open_s1_product(product)], settings), out)
    return out


def read_band(path: Path) -> NDArray[Any]:
    """The first band."""
    with rasterio.open(path) as source:
        return np.asarray(source.read(1))


def picture(path: Path, titles: Sequence[str], draw: Callable[[Any], None]) -> None:
    """A row of maps in one picture; `draw` gets the list of axes."""
    figure, axes = plt.subplots(1, len(titles), figsize=(3.9 * len(titles), 3.4), layout="constrained", squeeze=False)
    draw(axes[0])
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    figure.savefig(path, dpi=70, metadata={"Software": None})
    plt.close(figure)


def draw_layers(out: Path, incidence: NDArray[Any], codes: NDArray[Any]) -> None:
    """Local incidence angle, and layover and shadow."""

    def angle(axes: Any) -> None:
        shown = axes[0].imshow(incidence, cmap="viridis", vmin=0, vmax=90)
        axes[0].figure.colorbar(shown, ax=axes[0], shrink=0.85)

    def mask(axes: Any) -> None:
        colours = ListedColormap(["#e8e8e8", "#d95f02", "#1b3a6b", "#000000"])
        shown = axes[0].imshow(
            np.where(codes > 3, np.nan, codes), cmap=colours, norm=BoundaryNorm([-0.5, 0.5, 1.5, 2.5, 3.5], 4)
        )
        bar = axes[0].figure.colorbar(shown, ax=axes[0], shrink=0.85, ticks=[0, 1, 2, 3])
        bar.ax.set_yticklabels(["seen", "layover", "shadow", "both"])

    picture(out / "incidence.png", ["local incidence angle, degrees"], angle)
    picture(out / "layover_shadow.png", ["layover and shadow"], mask)


def draw_geometry(out: Path, folder: Path) -> Image:
    """All products of the simulated scene; returns its γ0 on the map, unfiltered."""
    product, dem = simulate(folder)
    plain = on_map(product, dem, folder, "gamma0", "refined_lee")
    flat = on_map(product, dem, folder, "gamma0_rtc", "refined_lee")
    draw_layers(out, read_band(plain / "incidence.tif"), read_band(plain / "layover_shadow.tif"))
    before, after = to_db(read_band(plain / "data.tif")), to_db(read_band(flat / "data.tif"))

    def greys(*images: NDArray[Any]) -> Callable[[Any], None]:
        def draw(axes: Any) -> None:
            # Nodata in a colour of its own.
            grey = plt.get_cmap("gray").with_extremes(bad="#c0392b")
            for axis, image in zip(axes, images, strict=True):
                shown = axis.imshow(image, cmap=grey, vmin=-18, vmax=-2, interpolation="nearest")
            axes[0].figure.colorbar(shown, ax=list(axes), shrink=0.85, label="dB")

        return draw

    picture(out / "gamma0.png", ["γ0 of the ellipsoid"], greys(before))
    pair = ["γ0 of the ellipsoid", "terrain-flattened γ0"]
    picture(out / "flattening.png", pair, greys(before, after))
    return np.asarray(read_band(on_map(product, dem, folder, "gamma0_rtc", "none") / "data.tif"), np.float32)


def main() -> None:
    """Draw everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, help="folder of the real scenes")
    options = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        simulated = draw_geometry(options.out, Path(folder))
    if options.data is None:
        draw_filters(options.out, simulated, (slice(None), slice(None)))
        return
    draw_filters(options.out, real_image(options.data), SLC_CROP)
    dates = np.stack([read_power(path) for path in sorted(options.data.glob(PAIR))])
    # Outside of the swath these maps are 0; a zero sample of an SLC, in contrast, is a measured value.
    draw_multitemporal(options.out, np.where(dates > 0, dates, np.float32(np.nan)), PAIR_CROP)


if __name__ == "__main__":
    main()
