"""What a speckle filter is, how it is made by name, and how it is run over an image or a block of one.

Agreement on blocks: `apply` takes a block with `halo_px` more pixels on each side and returns the interior. Beyond the
edge of the scene the halo is NaN, which is the same as nodata; so a pixel's result depends on the pixels around it
alone, and any split into blocks gives the same bits. `haloed` cuts such blocks.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from landcover_cli import registry
from landcover_cli.errors import ConfigError, InputError

# Equivalent number of looks of Sentinel-1 IW GRDH (5 × 1 looks with overlap and weighting): about 4.4.
IW_GRDH_LOOKS = 4.4
MAX_WINDOW_PX = 101


@dataclass(frozen=True)
class SceneStatistics:
    """Values of the whole scene that some filters need; made by `SceneReducer`, never per block.

    Attributes:
        looks: Equivalent number of looks of homogeneous areas; None where too few windows were valid.
        p98: 98th percentile of the valid linear power; NaN in a scene without valid pixels.
    """

    looks: float | None
    p98: float


class SpeckleFilter(Protocol):
    """A speckle filter: frozen parameters and a pure function on linear power.

    Attributes:
        name: Name of the plug-in, the stem of its file.
        axes: "yx" for filters of one image, "tyx" for filters of a stack of co-registered dates.
        needs_scene: True where `prepare` must run before `apply` whatever the parameters are.
    """

    name: ClassVar[str]
    axes: ClassVar[str]
    needs_scene: ClassVar[bool]

    @property
    def halo_px(self) -> int:
        """Pixels that a block must have around its interior on each side."""
        ...

    @property
    def looks(self) -> float | None:
        """Equivalent number of looks of the input; None: the scene's own estimate, bound by `prepare`."""
        ...

    def prepare(self, scene: SceneStatistics) -> Self:
        """The same filter with its scene-wide values bound."""
        ...

    def apply(self, intensity: NDArray[np.float32]) -> NDArray[np.float32]:
        """Filter one haloed block of linear power ([H + 2·halo, W + 2·halo]; a stack has T in front) to its interior.

        Not finite is nodata and stays so (NaN). Values may be negative after noise removal.
        """
        ...


def create(name: str, **params: Any) -> SpeckleFilter:
    """A speckle filter by its name.

    Args:
        name: Name of the plug-in, as in `registry.names("speckle")`.
        **params: Fields of the filter, for example `window_px` and `looks`.

    Raises:
        ConfigError: No such filter, no such parameter, or a value out of range.
    """
    cls = registry.load("speckle", name)
    known = [field.name for field in dataclasses.fields(cls) if field.init]
    unknown = sorted(set(params) - set(known))
    if unknown:
        raise ConfigError(
            f"speckle filter {name!r} has no parameter {unknown[0]!r}", remedy=f"it has: {', '.join(known) or 'none'}"
        )
    made: SpeckleFilter = cls(**params)
    return made


def check_window(window_px: int, smallest: int = 3) -> None:
    """Refuse a window that has no centre pixel or is beyond sense.

    Raises:
        ConfigError: `window_px` is even, or not within `smallest` … 101.
    """
    if window_px % 2 == 0 or not smallest <= window_px <= MAX_WINDOW_PX:
        raise ConfigError(
            f"window_px {window_px} is not an odd number from {smallest} to {MAX_WINDOW_PX}",
            remedy="use an odd window such as 7",
        )


def check_looks(looks: float | None) -> None:
    """Refuse a number of looks that is not positive.

    Raises:
        ConfigError: `looks` is given and not a positive finite number.
    """
    if looks is not None and not (np.isfinite(looks) and looks > 0):
        raise ConfigError(
            f"looks {looks} is not a positive number", remedy="give the equivalent number of looks, about 4.4 for GRDH"
        )


def check_switch(name: str, value: bool) -> None:
    """Refuse a switch that is neither on nor off (1 and 0 count as such).

    Raises:
        ConfigError: `value` is something else.
    """
    if value not in (False, True):
        raise ConfigError(f"{name} {value} is not a switch", remedy="use 1 for on or 0 for off")


def check_block(intensity: NDArray[np.float32], axes: str, halo_px: int) -> None:
    """Refuse a block of the wrong type or shape.

    Raises:
        InputError: Not float32, not of the axes, or not larger than its own halo.
    """
    if intensity.dtype != np.float32 or intensity.ndim != len(axes):
        raise InputError(
            f"speckle block is {intensity.dtype} with {intensity.ndim} axes",
            remedy=f"give float32 linear power with axes {axes}",
        )
    if min(intensity.shape[-2:]) <= 2 * halo_px:
        raise InputError(
            f"speckle block of {intensity.shape} pixels is not larger than its halo of {halo_px} on each side",
            remedy="cut blocks with `haloed`",
        )


@dataclass(frozen=True)
class WindowFilter:
    """What the filters of one image share; a filter adds its name and `_run`.

    Attributes:
        window_px: Odd edge length of the window.
        looks: Equivalent number of looks of the input; None: the scene's own estimate, bound by `prepare`.
    """

    name: ClassVar[str] = ""
    axes: ClassVar[str] = "yx"
    needs_scene: ClassVar[bool] = False

    window_px: int = 7
    looks: float | None = IW_GRDH_LOOKS

    def __post_init__(self) -> None:
        check_window(self.window_px)
        check_looks(self.looks)

    @property
    def halo_px(self) -> int:
        """Half the window."""
        return self.window_px // 2

    def prepare(self, scene: SceneStatistics) -> Self:
        """Bind the scene's number of looks where none is given."""
        return self if self.looks is not None else replace(self, looks=scene.looks)

    def apply(self, intensity: NDArray[np.float32]) -> NDArray[np.float32]:
        """Filter a haloed block (linear power, yx) to its interior; see `SpeckleFilter.apply`.

        Raises:
            ConfigError: The number of looks is needed and not bound.
            InputError: The block is not float32, not 2-D, or not larger than its halo.
        """
        check_block(intensity, self.axes, self.halo_px)
        out = np.empty((intensity.shape[0] - 2 * self.halo_px, intensity.shape[1] - 2 * self.halo_px), np.float32)
        self._run(np.ascontiguousarray(intensity), out)
        return out

    def _run(self, image_yx: NDArray[np.float32], out_yx: NDArray[np.float32]) -> None:
        raise NotImplementedError

    def _known_looks(self) -> float:
        """The number of looks; ConfigError where neither given nor bound."""
        if self.looks is None:
            raise ConfigError(
                f"speckle filter {self.name!r}: the number of looks is not known",
                remedy="give looks, or prepare the filter with the statistics of a scene that has homogeneous areas",
            )
        return self.looks


def haloed(image: NDArray[np.float32], rows: slice, columns: slice, halo_px: int) -> NDArray[np.float32]:
    """A block with its halo, NaN beyond the edge of the image.

    Args:
        image: [..., H, W] float32.
        rows: Interior rows, start and stop within the image.
        columns: Interior columns, likewise.
        halo_px: Pixels to add on each side.

    Returns:
        [..., h + 2·halo, w + 2·halo] float32, C-contiguous.
    """
    height, width = image.shape[-2:]
    shape = (rows.stop - rows.start + 2 * halo_px, columns.stop - columns.start + 2 * halo_px)
    top, left = rows.start - halo_px, columns.start - halo_px
    out = np.full((*image.shape[:-2], *shape), np.nan, np.float32)
    y0, y1 = max(top, 0), min(rows.stop + halo_px, height)
    x0, x1 = max(left, 0), min(columns.stop + halo_px, width)
    out[..., y0 - top : y1 - top, x0 - left : x1 - left] = image[..., y0:y1, x0:x1]
    return out


def filter_image(
    speckle: SpeckleFilter, image: NDArray[np.float32], block_px: tuple[int, int] = (1024, 1024)
) -> NDArray[np.float32]:
    """Filter a whole image (or stack) in memory, block by block.

    Args:
        speckle: A filter, prepared where it needs the scene.
        image: [H, W] or [T, H, W] float32 linear power, NaN = nodata.
        block_px: Rows and columns of a block; it changes no bit of the result.

    Returns:
        Filtered power of the same shape, float32.
    """
    out = np.empty_like(image)
    height, width = image.shape[-2:]
    for y in range(0, height, block_px[0]):
        for x in range(0, width, block_px[1]):
            rows, columns = slice(y, min(y + block_px[0], height)), slice(x, min(x + block_px[1], width))
            out[..., rows, columns] = speckle.apply(haloed(image, rows, columns, speckle.halo_px))
    return out
