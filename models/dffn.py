"""DFFN: deep feature fusion network for hyperspectral images; 526,760 parameters (249 bands, 8 classes).

Source: Song et al., "Hyperspectral Image Classification With Deep Feature Fusion Network" (IEEE TGRS 2018); sizes
(blocks 4, 4, 4, 16 filters, no strides) from public code (facts only). Patches of 23×23 whose centre is classified.
Own implementation, fully convolutional: the mean over the patch is one around each pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from models.batch import Modality
from models.layers import align, channels_last_, dates_as_channels, local_mean, stack_images
from models.spec import Port, Reference, bands


def _conv(c_in: int, c_out: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2), nn.BatchNorm2d(c_out))


class Residual(nn.Module):
    """relu(x + two 3×3 convolutions); a 1×1 convolution in the short cut where the width changes."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.first, self.second = _conv(c_in, c_out), _conv(c_out, c_out)
        self.short = nn.Identity() if c_in == c_out else _conv(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, c_in, H, W]`` → ``[B, c_out, H, W]``."""
        return functional.relu(self.second(functional.relu(self.first(x))) + self.short(x))


class Model(nn.Module):
    """Images (or series of a fixed length, dates as channels) → logits ``[B, K, H, W]``.

    Args:
        ports: Inputs; their bands are stacked.
        n_classes: K.
        width: Filters of the first stage; each further stage doubles them.
        blocks: Residual blocks per stage, besides the one that doubles the width.
        patch: Edge of the patch in pixels.
    """

    SOURCE: ClassVar[str] = "Song et al., DFFN, IEEE TGRS 2018"
    LICENCE: ClassVar[str] = "Apache-2.0"
    FIXED_T: ClassVar[bool] = True
    TINY: ClassVar[dict[str, Any]] = {"width": 4, "blocks": [1, 1, 1], "patch": 3}
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("hyperspectral", "image", bands(249), 1.0, "reflectance"),), 8, 23, parameters=526_760
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        width: int = 16,
        blocks: Sequence[int] = (4, 4, 4),
        patch: int = 23,
    ) -> None:
        super().__init__()
        self.ports, self.patch = tuple(ports), patch
        widths = [width << stage for stage in range(len(blocks))]
        self.stem = _conv(sum(dates_as_channels(port) for port in ports), width)
        self.stages = nn.ModuleList()
        for stage, count in enumerate(blocks):
            parts = [Residual(widths[stage], widths[stage]) for _ in range(count)]
            grow = [Residual(widths[stage - 1], widths[stage])] if stage else []
            self.stages.append(nn.Sequential(*grow, *parts))
        self.project = nn.ModuleList(_conv(w, widths[-1]) for w in widths[:-1])
        self.head = nn.Conv2d(widths[-1], n_classes, 1)
        channels_last_(self)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, _ = align(inputs, self.ports, 1)
        x, maps = functional.relu(self.stem(stack_images(aligned, self.ports))), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        for project, shallow in zip(self.project, maps[:-1], strict=True):
            x = x + project(shallow)
        logits: Tensor = self.head(local_mean(x, self.patch))
        return logits
