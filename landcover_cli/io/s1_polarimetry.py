"""Polarimetric layers on the map by block: C2 is averaged in the radar image, geocoded, and only then decomposed.

Entropy, α and the like are no linear functions: they are computed from averaged matrices, never averaged themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from landcover_cli.io.dem import Dem
from landcover_cli.io.s1_plan import ScenePlan
from landcover_cli.io.s1_scene import SceneBlock, geocode_scene
from landcover_cli.io.s1_slc import COVARIANCE_PARTS, CovariancePart
from landcover_cli.sar.geocoding import RadarModel
from landcover_cli.sar.polarimetry import POLARIMETRIC_LAYERS, Covariance, check_layers, polarimetric_layers
from landcover_cli.sar.speckle import create


def polarimetric_scene(
    model: RadarModel,
    covariance: Mapping[str, CovariancePart],
    dem: Dem,
    plan: ScenePlan,
    *,
    products: Sequence[str] = POLARIMETRIC_LAYERS,
    window_px: int = 5,
    layers: Sequence[str] = (),
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[SceneBlock]:
    """Bring polarimetric products of a dual-polarisation SLC onto the map.

    With a plan that holds facets the matrix is terrain-flattened; ratios of its parts are not changed by that.

    Args:
        model: Geometry of the multilooked image.
        covariance: `SlcAssembly.covariance()`.
        dem: Terrain.
        plan: `plan_scene` of the same model and DEM.
        products: Any of `POLARIMETRIC_LAYERS`.
        window_px: Odd edge of the window over which C2 is averaged; 1 for the multilook alone.
        layers: As in `geocode_scene`.
        workers: Threads; changes no value.
        progress: As in `geocode_scene`.

    Yields:
        Finished blocks whose bands are the products, float32, NaN for nodata.

    Raises:
        UsageError: An unknown product or layer.
        ConfigError: The window is even or out of range.
        InputError: Something cannot be read.
    """
    check_layers(products)
    speckle = create("boxcar", window_px=window_px) if window_px != 1 else None
    parts = {name: covariance[name] for name in COVARIANCE_PARTS}
    for block in geocode_scene(
        model, parts, dem, plan, speckle=speckle, layers=layers, workers=workers, progress=progress
    ):
        found = block.bands
        c2 = Covariance(found["C11"], found["C22"], found["C12_real"] + 1j * found["C12_imag"])
        yield replace(block, bands=polarimetric_layers(c2, products))
