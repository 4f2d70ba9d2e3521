"""One Landsat scene of Collection 2 Level 2 onto the product grid, in the numbers that cubes hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from landcover_cli.core.lattice import Lattice
from landcover_cli.core.types import Scene
from landcover_cli.io.observation import Observation
from landcover_cli.io.preprocess_s2 import S2Settings, write_scene
from landcover_cli.sensors.landsat8 import SENSOR

# ρ = DN · 2.75e-5 − 0.2 for all of Collection 2; products state it, catalogues not always.
SCALE, OFFSET = 2.75e-5, -0.2


def to_stored(dn: np.ndarray, scale: float, offset: float) -> np.ndarray:
    """Landsat's numbers as ρ = stored · 1e-4 − 0.1, to the nearest; 0 stays nothing, less than ρ = −0.0999 is that.

    Args:
        dn: uint16, 0 = nodata.
        scale: Of ρ = DN · scale + offset.
        offset: As `scale`.
    """
    value = (dn.astype(np.float64) * scale + (offset - SENSOR.offset)) / SENSOR.scale
    stored = np.clip(np.floor(value + 0.5), 1, 65535)
    return np.where(dn == 0, 0, stored).astype(np.uint16)


def preprocess_landsat(
    scene: Scene, settings: S2Settings, out: Path, check: Callable[[], None] = lambda: None
) -> Observation:
    """Write one scene as an observation.

    Args:
        scene: From `io.landsat` or `io.stac_in`.
        settings: Grid, bands, mask; `offset` has no meaning here.
        out: Existing, empty folder.
        check: Called now and then; raises to stop.

    Raises:
        InputError: A band or the mask's layer is missing, or a file is damaged.
    """
    kept = ("platform", "path_row", "cloud_percent")
    facts = {key: scene.metadata[key] for key in kept if scene.metadata.get(key) not in {None, ""}}

    def stored(values: np.ndarray, band: str, part: Lattice) -> np.ndarray:
        own = scene.assets[band].metadata
        return to_stored(values, own.get("scale", SCALE), own.get("offset", OFFSET))

    return write_scene(scene, settings, out, stored, facts, None, check)
