"""RSSAN: residual spectral–spatial attention for hyperspectral images; 126,735 parameters (249 bands, 8 classes).

Source: Zhu et al., "Residual Spectral–Spatial Attention Network for Hyperspectral Image Classification" (IEEE TGRS
2021); sizes from public code (facts only). Patches of 17×17 whose centre is classified. Own implementation, fully
convolutional: every mean and maximum over a patch is one over the patch around each pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.batch import Modality
from models.layers import align, dates_as_channels, local_max, local_mean, stack_images
from models.spec import Port, Reference, bands


class Attention(nn.Module):
    """Weights per band from patch mean and maximum by one MLP, then weights per pixel from band mean and maximum."""

    def __init__(self, channels: int, patch: int, reduction: int) -> None:
        super().__init__()
        self.patch = patch
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1), nn.Sigmoid()
        )
        self.place = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` → the same, weighted."""
        x = x * torch.sigmoid(self.mlp(local_mean(x, self.patch)) + self.mlp(local_max(x, self.patch)))
        where = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        out: Tensor = x * torch.sigmoid(self.place(where))
        return out


def _conv(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out))


class Residual(nn.Module):
    """Two 3×3 convolutions whose result is weighted by attention, and a short cut."""

    def __init__(self, width: int, patch: int, reduction: int) -> None:
        super().__init__()
        self.first, self.second = _conv(width, width), _conv(width, width)
        self.attention = Attention(width, patch, reduction)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` → the same."""
        out = self.second(functional.relu(self.first(x)))
        return functional.relu(out * self.attention(out) + x)


class Model(nn.Module):
    """Images (or series of a fixed length, dates as channels) → logits ``[B, K, H, W]``.

    Args:
        ports: Inputs; their bands are stacked.
        n_classes: K.
        width: Features after the first convolution.
        patch: Edge of the patch in pixels.
        reduction: Of the spectral attention.
    """

    SOURCE: ClassVar[str] = "Zhu et al., RSSAN, IEEE TGRS 2021"
    LICENCE: ClassVar[str] = "Apache-2.0"
    FIXED_T: ClassVar[bool] = True
    TINY: ClassVar[dict[str, Any]] = {"width": 8, "patch": 3, "reduction": 2}
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("hyperspectral", "image", bands(249), 1.0, "reflectance"),), 8, 17, parameters=126_735
    )

    def __init__(
        self, ports: Sequence[Port], n_classes: int, *, width: int = 32, patch: int = 17, reduction: int = 8
    ) -> None:
        super().__init__()
        self.ports, self.patch = tuple(ports), patch
        channels = sum(dates_as_channels(port) for port in ports)
        self.attention = Attention(channels, patch, reduction)
        self.stem = _conv(channels, width)
        self.blocks = nn.Sequential(Residual(width, patch, reduction), Residual(width, patch, reduction))
        self.mix = nn.Conv2d(width, width, 1)
        self.head = nn.Conv2d(width, n_classes, 1)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, _ = align(inputs, self.ports, 1)
        x = self.attention(stack_images(aligned, self.ports))
        x = self.blocks(functional.relu(self.stem(x)))
        logits: Tensor = self.head(self.mix(local_mean(x, self.patch)))
        return logits
