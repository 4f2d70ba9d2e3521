"""Polarimetric layers on the map by block: C2 is averaged in the radar image, geocoded, and only then decomposed.

Entropy, α and the like are no linear functions: they are computed from averaged matrices, never averaged themselves.
The indices of a detected product follow from its filtered backscatter on the map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_cli.io.dem import Dem
from landcover_cli.io.s1_plan import ScenePlan
from landcover_cli.io.s1_scene import SceneBlock, geocode_scene
from landcover_cli.io.s1_slc import COVARIANCE_PARTS, CovariancePart
from landcover_cli.sar.geocoding import RadarModel
from landcover_cli.sar.polarimetry import POLARIMETRIC_LAYERS, Covariance, check_layers, polarimetric_layers
from landcover_cli.sar.pollayers import LAYER_INFO, layers_of_covariance, layers_of_powers
from landcover_cli.sar.speckle import SpeckleFilter, create


def covariance_filter(window_px: int) -> SpeckleFilter | None:
    """What averages C2 in the radar image; None for a window of one pixel.

    Raises:
        ConfigError: The window is even or out of range.
    """
    return create("boxcar", window_px=window_px) if window_px != 1 else None


def covariance_of(bands: Mapping[str, NDArray[np.float32]]) -> Covariance:
    """C2 of a finished block."""
    return Covariance(bands["C11"], bands["C22"], bands["C12_real"] + 1j * bands["C12_imag"])


def block_layers(
    bands: Mapping[str, NDArray[np.float32]], pair: tuple[str, str], names: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Polarimetric layers of a finished block.

    Args:
        bands: Powers by polarisation; with the parts of C2 where it was made, and then the layers are taken from it.
        pair: Co-polar and cross-polar channel.
        names: Layers; those that are not polarimetric are passed over.

    Returns:
        {name: [h, w] float32}, NaN for nodata.
    """
    wanted = [name for name in dict.fromkeys(names) if name in LAYER_INFO]
    if COVARIANCE_PARTS[0] in bands:
        return layers_of_covariance(covariance_of(bands), wanted)
    return layers_of_powers(bands[pair[0]], bands[pair[1]], wanted)


def layer_tags(facts: Mapping[str, Any], name: str) -> dict[str, str]:
    """What the file of a polarimetric layer says of itself.

    Args:
        facts: Of the observation.
        name: The layer.
    """
    made = facts["polarimetry"]
    info = LAYER_INFO[name]
    tags = {
        "LAYER": info.title,
        "UNITS": {"deg": "degrees", "1": "1"}.get(info.unit, f"{facts['backscatter']}, linear {info.unit}"),
        "CHANNEL_ORDER": ",".join(made["channel_order"]),
        "MADE_OF": made["of"],
    }
    if "c2_window_px" in made:
        tags |= {
            "C2_WINDOW_PX": str(made["c2_window_px"]),
            "LOOKS_LINES_SAMPLES": ",".join(str(n) for n in facts["multilook"]),
        }
    return tags


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
    parts = {name: covariance[name] for name in COVARIANCE_PARTS}
    speckle = covariance_filter(window_px)
    for block in geocode_scene(
        model, parts, dem, plan, speckle=speckle, layers=layers, workers=workers, progress=progress
    ):
        yield replace(block, bands=polarimetric_layers(covariance_of(block.bands), products))
