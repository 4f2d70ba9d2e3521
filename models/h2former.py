"""H2Former: convolutions, multi-scale channel attention and window attention in every stage of one U-Net.

Source: He et al., "H2Former: An Efficient Hierarchical Hybrid Transformer for Medical Image Segmentation" (IEEE TMI
2023): ResNet-34 stages, each followed by window attention whose tokens are enriched by patch embeddings at several
scales; decoder with short cuts. The STSNet paper prints 33.93 M at 51 bands. Own implementation of the idea;
reconstructed: kernels 4, 8, 16, 32 of the multi-scale embedding, one window block pair per stage with an MLP of twice
the width.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models._resnet import Residual
from models._swin import swin_stage
from models.batch import Modality
from models.layers import align, channels_last_, dates_as_channels, resize, stack_images
from models.spec import Port, Reference, bands


class MultiScale(nn.Module):
    """The image, pooled at several scales and embedded, at one stage's resolution, weighted per channel."""

    def __init__(self, channels: int, width: int, scales: Sequence[int]) -> None:
        super().__init__()
        self.scales = scales
        self.embed = nn.ModuleList(nn.Conv2d(channels, width // len(scales), 1) for _ in scales)
        total = width // len(scales) * len(scales)
        self.gate = nn.Sequential(
            nn.Conv2d(total, max(1, total // 4), 1), nn.GELU(), nn.Conv2d(max(1, total // 4), total, 1)
        )
        self.out = nn.Conv2d(total, width, 1)

    def forward(self, image: Tensor, size: torch.Size) -> Tensor:
        """``[B, C, H, W]`` → ``[B, width, h, w]``."""
        parts = [
            resize(embed(functional.avg_pool2d(image, scale)), size)
            for scale, embed in zip(self.scales, self.embed, strict=True)
        ]
        x = torch.cat(parts, 1)
        out: Tensor = self.out(x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True))))
        return out


class Stage(nn.Module):
    """Residual blocks, plus the multi-scale embedding, then window attention."""

    def __init__(
        self, c_in: int, width: int, blocks: int, stride: int, heads: int, window: int, scale: MultiScale
    ) -> None:
        super().__init__()
        parts = [
            Residual(c_in if i == 0 else width, width, stride if i == 0 else 1, 1, bottleneck=False)
            for i in range(blocks)
        ]
        self.convolve = nn.Sequential(*parts)
        self.scale = scale
        self.attend = swin_stage(width, 2, heads, window, 2)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """``[B, c_in, H, W]`` → ``[B, width, H / stride, W / stride]``."""
        x = self.convolve(x)
        x = x + self.scale(image, x.shape[-2:])
        out: Tensor = self.attend(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out.contiguous(memory_format=torch.channels_last)


class Up(nn.Module):
    """Double, concatenate with the short cut, two 3×3 convolutions."""

    def __init__(self, c_in: int, c_skip: int) -> None:
        super().__init__()
        self.convolve = nn.Sequential(
            nn.Conv2d(c_in + c_skip, c_skip, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_skip),
            nn.ReLU(inplace=True),
            nn.Conv2d(c_skip, c_skip, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_skip),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """``[B, c_in, h, w]``, ``[B, c_skip, 2 h, 2 w]`` → ``[B, c_skip, 2 h, 2 w]``."""
        out: Tensor = self.convolve(torch.cat([resize(x, skip.shape[-2:]), skip], 1))
        return out


class Model(nn.Module):
    """Images (or series of a fixed length, dates as channels) → logits ``[B, K, H, W]``, decided at stride 2.

    Args:
        ports: Inputs; their bands are stacked.
        n_classes: K.
        widths: Of the stages, at strides 2, 4, 8, 16.
        blocks: Residual blocks per stage (ResNet-34).
        heads: Attention heads per stage.
        window: Edge of a window in tokens.
        scales: Pooling sizes of the multi-scale embedding.
    """

    SOURCE: ClassVar[str] = "after He et al., H2Former, IEEE TMI 2023"
    LICENCE: ClassVar[str] = "Apache-2.0"
    STRIDE: ClassVar[int] = 2
    FIXED_T: ClassVar[bool] = True
    TINY: ClassVar[dict[str, Any]] = {
        "widths": [8, 8],
        "blocks": [1, 1],
        "heads": [2, 2],
        "window": 4,
        "scales": [4, 8],
    }
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("hyperspectral", "image", bands(51), 1.0, "reflectance"),), 8, 300, printed="33.93 M"
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (3, 4, 6, 3),
        heads: Sequence[int] = (2, 4, 8, 16),
        window: int = 7,
        scales: Sequence[int] = (4, 8, 16, 32),
    ) -> None:
        super().__init__()
        self.ports, self.multiple = tuple(ports), max(1 << len(widths), *scales)
        channels = sum(dates_as_channels(port) for port in ports)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 7, 2, 3, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
        )
        self.stages = nn.ModuleList()
        before = widths[0]
        for index, (width, count, head) in enumerate(zip(widths, blocks, heads, strict=True)):
            scale = MultiScale(channels, width, scales)
            self.stages.append(Stage(before, width, count, 2 if index else 1, head, window, scale))
            before = width
        self.ups = nn.ModuleList(Up(deep, fine) for fine, deep in itertools.pairwise(widths))
        self.head = nn.Conv2d(widths[0], n_classes, 1)
        channels_last_(self)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, (height, width) = align(inputs, self.ports, self.multiple)
        image = stack_images(aligned, self.ports)
        x, maps = self.stem(image), []
        for stage in self.stages:
            x = stage(x, image)
            maps.append(x)
        for up, skip in zip(reversed(self.ups), reversed(maps[:-1]), strict=True):
            x = up(x, skip)
        logits = resize(self.head(x), image.shape[-2:])
        return logits[..., :height, :width]
