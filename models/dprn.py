"""DPRN: deep pyramidal residual network for hyperspectral images; the width grows with every block.

Source: Paoletti et al., "Deep Pyramidal Residual Networks for Spectral–Spatial Hyperspectral Image Classification"
(IEEE TGRS 2019): bottleneck blocks after Han et al., "Deep Pyramidal Residual Networks" (CVPR 2017): batch norm first,
no ReLU before the first convolution, features added by zero padding the short cut. The STSNet paper prints 8.66 M for
its comparison, which no public configuration gives. Ours: 24 blocks, 221 features added in all; dilation in place of
strides, so that a map is made in one pass; mean over the patch around each pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from models.batch import Modality
from models.layers import align, channels_last_, dates_as_channels, local_mean, stack_images
from models.spec import Port, Reference, bands

_EXPANSION = 4


class Block(nn.Module):
    """BN, 1×1, BN, ReLU, 3×3, BN, ReLU, 1×1, BN; the short cut is padded with zero features."""

    def __init__(self, c_in: int, width: int, dilation: int) -> None:
        super().__init__()
        self.out = _EXPANSION * width
        self.body = nn.Sequential(
            nn.BatchNorm2d(c_in),
            nn.Conv2d(c_in, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, self.out, 1, bias=False),
            nn.BatchNorm2d(self.out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[B, c_in, H, W]`` → ``[B, 4 · width, H, W]``."""
        out: Tensor = self.body(x) + functional.pad(x, [0, 0, 0, 0, 0, self.out - x.shape[1]])
        return out


class Model(nn.Module):
    """Images (or series of a fixed length, dates as channels) → logits ``[B, K, H, W]``.

    Args:
        ports: Inputs; their bands are stacked.
        n_classes: K.
        width: Features after the first convolution.
        added: Features added over all blocks (of the bottleneck).
        blocks: Blocks per stage; dilation doubles from stage to stage.
        patch: Edge of the patch in pixels.
    """

    SOURCE: ClassVar[str] = "Paoletti et al., DPRN, IEEE TGRS 2019"
    LICENCE: ClassVar[str] = "Apache-2.0"
    FIXED_T: ClassVar[bool] = True
    TINY: ClassVar[dict[str, Any]] = {"width": 4, "added": 4, "blocks": [1, 1], "patch": 3}
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("hyperspectral", "image", bands(249), 1.0, "reflectance"),), 8, 11, printed="8.66 M"
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        width: int = 16,
        added: int = 221,
        blocks: Sequence[int] = (8, 8, 8),
        patch: int = 11,
    ) -> None:
        super().__init__()
        self.ports, self.patch = tuple(ports), patch
        channels = sum(dates_as_channels(port) for port in ports)
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        total = sum(blocks)
        sizes = [width + round(added * (index + 1) / total) for index in range(total)]
        inputs = [width, *(_EXPANSION * size for size in sizes)]
        dilations = [1 << stage for stage, count in enumerate(blocks) for _ in range(count)]
        self.blocks = nn.Sequential(
            *(Block(c_in, size, d) for (c_in, _), size, d in zip(pairwise(inputs), sizes, dilations, strict=True))
        )
        self.norm = nn.BatchNorm2d(inputs[-1])
        self.head = nn.Conv2d(inputs[-1], n_classes, 1)
        channels_last_(self)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, _ = align(inputs, self.ports, 1)
        x = self.blocks(self.stem(stack_images(aligned, self.ports)))
        logits: Tensor = self.head(local_mean(functional.relu(self.norm(x)), self.patch))
        return logits
