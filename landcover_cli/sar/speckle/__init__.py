"""Speckle filters, one plug-in per file; what they share is in the modules with a leading underscore.

Use: `create("lee", window_px=7)`, then `prepare(SceneReducer…result())` where `needs_scene` or `looks` is None, then
`filter_image` in memory, or `apply` on blocks cut with a halo.
"""

from landcover_cli.sar.speckle._base import (
    SceneStatistics,
    SpeckleFilter,
    WindowFilter,
    create,
    filter_image,
    haloed,
)
from landcover_cli.sar.speckle._scene import SceneReducer

__all__ = ["SceneReducer", "SceneStatistics", "SpeckleFilter", "WindowFilter", "create", "filter_image", "haloed"]
