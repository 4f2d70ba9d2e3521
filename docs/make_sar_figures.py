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
from PIL import Image as PngImage
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window
from scipy import ndimage

from landcover_cli.demo.sentinel1_annotated import simulate_under_annotation
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
SLC_ANNOTATION = "s1/eo_tools_morocco/SAFE/*.SAFE"
# First line, first sample, lines, samples; and the ground within them.
SLC_BOX = (4100, 8000, 900, 4000)
SLC_CRS = "EPSG:32629"
SLC_AREA_M = (550_000.0, 3_458_000.0, 558_000.0, 3_466_000.0)


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


def polarised(folder: Path, data: Path) -> tuple[Path, S1Settings]:
    """An SLC of seeded parcels under real annotation: powers, and how much of VH is VV turned in phase."""
    product = next(iter(sorted(data.glob(SLC_ANNOTATION))))
    rng = np.random.default_rng(SEED + 2)
    line0, pixel0, lines, pixels = SLC_BOX
    place = rng.uniform(0.0, 1.0, (45, 2))
    power = 10 ** (rng.uniform(-12.0, -6.0, 45) / 10)
    ratio, share = 10 ** (rng.uniform(-11.0, -3.0, 45) / 10), rng.uniform(0.0, 0.95, 45)

    def parcel(line: NDArray[Any], pixel: NDArray[Any]) -> NDArray[np.int64]:
        y, x = (line - line0) / lines, (pixel - pixel0) / pixels
        return np.asarray(((y[..., None] - place[:, 0]) ** 2 + (x[..., None] - place[:, 1]) ** 2).argmin(-1))

    safe = simulate_under_annotation(
        product, folder, sigma0_db=lambda line, pixel: power[parcel(line, pixel)], seed=SEED, window=SLC_BOX
    )
    window = Window(pixel0, line0, pixels, lines)
    with rasterio.open(next(safe.glob("measurement/*-vv-*"))) as source:
        vv = source.read(1, window=window)
    own = parcel(line0 + np.arange(lines)[:, None], pixel0 + np.arange(pixels)[None, :])
    with rasterio.open(next(safe.glob("measurement/*-vh-*")), "r+") as target:
        mixed = share[own] * vv * 1j + np.sqrt(1.0 - share[own] ** 2) * target.read(1, window=window)
        vh = np.sqrt(ratio[own]) * mixed
        target.write((np.rint(vh.real) + 1j * np.rint(vh.imag)).astype(np.complex64), 1, window=window)
    settings = S1Settings(
        dem="flat:0",
        denoise="off",
        backscatter="sigma0",
        layers=("entropy", "alpha", "dprvi", "rvi"),
        crs=SLC_CRS,
        gsd_m=40.0,
        area_m=SLC_AREA_M,
    )
    return safe, settings


def draw_polarimetry(out: Path, folder: Path, data: Path) -> None:
    """The polarimetric layers of a simulated SLC."""
    safe, settings = polarised(folder, data)
    made = folder / "polarimetry"
    made.mkdir()
    preprocess_s1(prepare_s1([open_s1_product(safe)], settings), made)
    with rasterio.open(made / "data.tif") as source:
        vv, vh = source.read()
    shown = {
        "VV, dB": (to_db(vv), -14, -5, "gray"),
        "VH, dB": (to_db(vh), -25, -8, "gray"),
        "entropy H": (read_band(made / "entropy.tif"), 0, 1, "viridis"),
        "alpha, degrees": (read_band(made / "alpha.tif"), 0, 45, "viridis"),
        "DpRVI": (read_band(made / "dprvi.tif"), 0, 1, "YlGn"),
        "RVI": (read_band(made / "rvi.tif"), 0, 2, "YlGn"),
    }
    for name, titles in (("polarimetry_1", list(shown)[:3]), ("polarimetry_2", list(shown)[3:])):

        def draw(axes: Any, titles: Sequence[str] = titles) -> None:
            for axis, title in zip(axes, titles, strict=True):
                values, low, high, colours = shown[title]
                image = axis.imshow(values, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
                axis.figure.colorbar(image, ax=axis, shrink=0.7, ticks=np.linspace(low, high, 5), format="%.3g")

        picture(out / f"{name}.png", titles, draw)
        # Speckle in colour: fewer colours show as much and take less than half of the room.
        with PngImage.open(out / f"{name}.png") as drawn:
            few = drawn.convert("RGB").quantize(256)
        few.save(out / f"{name}.png", optimize=True)


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
    with tempfile.TemporaryDirectory() as folder:
        draw_polarimetry(options.out, Path(folder), options.data)
    draw_filters(options.out, real_image(options.data), SLC_CROP)
    dates = np.stack([read_power(path) for path in sorted(options.data.glob(PAIR))])
    # Outside of the swath these maps are 0; a zero sample of an SLC, in contrast, is a measured value.
    draw_multitemporal(options.out, np.where(dates > 0, dates, np.float32(np.nan)), PAIR_CROP)


if __name__ == "__main__":
    main()
