"""FreeNet: fully convolutional encoder with spectral attention and light decoder for hyperspectral images.

Source: Zheng et al., "FPGA: Fast Patch-Free Global Learning Framework for Fully End-to-End Hyperspectral Image
Classification" (IEEE TGRS 2020): widths 96, 128, 192, 256, group norm, decoder width 128. Its public code is under the
GPL and was not used; own implementation of what the paper says. The STSNet paper prints 2.69 M; other counts of the
public configuration give 2.84 M.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from models.batch import Modality
from models.layers import align, channels_last_, dates_as_channels, stack_images
from models.spec import Port, Reference, bands


def _conv(c_in: int, c_out: int, groups: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1), nn.GroupNorm(groups, c_out), nn.ReLU(inplace=True))


class SpectralAttention(nn.Module):
    """x · sigmoid(MLP(mean x)) over the whole image."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` → the same."""
        out: Tensor = x * self.mlp(x.mean((2, 3)))[:, :, None, None]
        return out


class Model(nn.Module):
    """Images (or series of a fixed length, dates as channels) → logits ``[B, K, H, W]``.

    Args:
        ports: Inputs; their bands are stacked.
        n_classes: K.
        widths: Features per level; each further level halves rows and columns.
        inner: Features of the decoder.
        groups: Of the group norm; divides every width.
        reduction: Of the spectral attention.
    """

    SOURCE: ClassVar[str] = "Zheng et al., FPGA/FreeNet, IEEE TGRS 2020"
    LICENCE: ClassVar[str] = "Apache-2.0"
    FIXED_T: ClassVar[bool] = True
    TINY: ClassVar[dict[str, Any]] = {"widths": [8, 8], "inner": 8, "groups": 2, "reduction": 2}
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("hyperspectral", "image", bands(249), 1.0, "reflectance"),), 8, 300, printed="2.69 M"
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        widths: Sequence[int] = (96, 128, 192, 256),
        inner: int = 128,
        groups: int = 16,
        reduction: int = 16,
    ) -> None:
        super().__init__()
        self.ports = tuple(ports)
        channels = sum(dates_as_channels(port) for port in ports)
        self.stem = _conv(channels, widths[0], groups)
        self.levels = nn.ModuleList(
            nn.Sequential(SpectralAttention(width, reduction), _conv(width, width, groups)) for width in widths
        )
        self.down = nn.ModuleList(_conv(fine, deep, groups, stride=2) for fine, deep in pairwise(widths))
        self.lateral = nn.ModuleList(nn.Conv2d(width, inner, 1) for width in widths)
        self.smooth = nn.ModuleList(_conv(inner, inner, groups) for _ in widths)
        self.head = nn.Conv2d(inner, n_classes, 1)
        channels_last_(self)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, (height, width) = align(inputs, self.ports, 1 << len(self.down))
        x, maps = self.stem(stack_images(aligned, self.ports)), []
        for index, level in enumerate(self.levels):
            x = level(self.down[index - 1](x) if index else x)
            maps.append(x)
        above: Tensor | None = None
        for lateral, smooth, found in zip(reversed(self.lateral), reversed(self.smooth), reversed(maps), strict=True):
            here = lateral(found)
            if above is not None:
                here = here + functional.interpolate(above, scale_factor=2.0, mode="nearest")
            above = smooth(here)
        assert above is not None
        logits: Tensor = self.head(above)
        return logits[..., :height, :width]
