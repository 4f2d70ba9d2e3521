"""Swin-encoder U-Net: windowed attention in the encoder, windowed attention and convolutions in the decoder.

Sources: Liu et al., "Swin Transformer" (ICCV 2021) for the encoder; Wang et al., "UNetFormer" (ISPRS 2022) for a
decoder of global (window) and local (convolution) paths, whose all-transformer form FTUNetFormer the STSNet paper
compares with (33.41 M printed). Its public code is under the GPL and was not used; the decoder here is own design: at
every level the up-sampled map and the short cut are added with learned weights, then a local path (3×3 and 1×1
convolutions) and window attention are summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models._swin import SwinBlock, SwinEncoder
from models.batch import Modality
from models.layers import align, dates_as_channels, resize, stack_images
from models.spec import Port, Reference, bands


class Level(nn.Module):
    """Weighted sum with the short cut, then local and window paths."""

    def __init__(self, c_skip: int, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(c_skip, width, 1)
        self.weights = nn.Parameter(torch.ones(2))
        self.local = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(width))
            for kernel in (3, 1)
        )
        self.window = SwinBlock(width, heads, window, 4, shifted=False)

    def forward(self, above: Tensor, skip: Tensor) -> Tensor:
        """``[B, width, h, w]`` and the encoder's map at 2 h, 2 w → ``[B, width, 2 h, 2 w]``."""
        a, b = functional.softplus(self.weights)
        x = (a * resize(above, skip.shape[-2:]) + b * self.skip(skip)) / (a + b)
        around = self.window(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return functional.relu(self.local[0](x) + self.local[1](x) + around)


class Model(nn.Module):
    """Images (or series of a fixed length, dates as channels) → logits ``[B, K, H, W]``, decided at stride 4.

    Args:
        ports: Inputs; their bands are stacked.
        n_classes: K.
        width: Of the encoder's first stage (Swin-T: 96); each further stage doubles it.
        depths: Blocks per stage.
        heads: Attention heads per stage.
        window: Edge of a window in tokens.
        decoder: Features of the decoder.
        decoder_heads: Its attention heads.
    """

    SOURCE: ClassVar[str] = "after Liu et al., Swin, ICCV 2021, and Wang et al., UNetFormer, ISPRS 2022"
    LICENCE: ClassVar[str] = "Apache-2.0"
    STRIDE: ClassVar[int] = 4
    FIXED_T: ClassVar[bool] = True
    TINY: ClassVar[dict[str, Any]] = {
        "width": 8,
        "depths": [2, 1],
        "heads": [2, 2],
        "window": 4,
        "decoder": 8,
        "decoder_heads": 2,
    }
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("hyperspectral", "image", bands(51), 1.0, "reflectance"),), 8, 300, printed="33.41 M"
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        width: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        window: int = 7,
        decoder: int = 256,
        decoder_heads: int = 8,
    ) -> None:
        super().__init__()
        self.ports = tuple(ports)
        channels = sum(dates_as_channels(port) for port in ports)
        self.encoder = SwinEncoder(channels, width, depths, heads, window, 4)
        self.deep = nn.Conv2d(self.encoder.widths[-1], decoder, 1)
        self.levels = nn.ModuleList(Level(w, decoder, decoder_heads, window) for w in self.encoder.widths[:-1])
        self.head = nn.Sequential(
            nn.Conv2d(decoder, decoder, 3, padding=1, bias=False),
            nn.BatchNorm2d(decoder),
            nn.ReLU(inplace=True),
            nn.Conv2d(decoder, n_classes, 1),
        )

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, (height, width) = align(inputs, self.ports, 4 << (len(self.encoder.widths) - 1))
        image = stack_images(aligned, self.ports)
        maps = self.encoder(image)
        x = self.deep(maps[-1])
        for level, skip in zip(reversed(self.levels), reversed(maps[:-1]), strict=True):
            x = level(x, skip)
        logits = resize(self.head(x), image.shape[-2:])
        return logits[..., :height, :width]
