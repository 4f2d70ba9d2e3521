"""3D U-Net over dates, rows and columns; 1,548,600 parameters (10 bands, 8 classes, base width 8).

Source: Çiçek et al., "3D U-Net" (MICCAI 2016), in the two-level form that crop mapping uses (Rustowicz et al., CVPR
workshops 2019; Tarasiou et al. 2023): widths 4, 8, 16 times the base, leaky ReLU, transposed 3×3×3 convolutions.
Own implementation. The dates of the last map are averaged over those that are there (the form above maps a fixed
number of dates to one by a linear layer), so their number is free; dates are masked after every operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.batch import Modality
from models.layers import align, one_series, ordered
from models.spec import Port, Reference, bands
from models.stsnet_temporal import halve, keep


class Conv(nn.Module):
    """3×3×3 convolution, batch norm, leaky ReLU; masked dates stay zero."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(c_in, c_out, 3, padding=1)
        self.norm = nn.BatchNorm3d(c_out)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """``[B, C, T, H, W]``, ``[B, T]``."""
        return keep(functional.leaky_relu(self.norm(self.conv(x))), there)


class Pair(nn.Module):
    """Two of them."""

    def __init__(self, c_in: int, c_mid: int, c_out: int) -> None:
        super().__init__()
        self.first, self.second = Conv(c_in, c_mid), Conv(c_mid, c_out)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """``[B, C, T, H, W]``, ``[B, T]``."""
        out: Tensor = self.second(self.first(x, there), there)
        return out


def pool(x: Tensor, there: Tensor) -> Tensor:
    """Maximum over 2×2×2 neighbours, of the dates that are there: ``[B, C, T, H, W]``, ``[B, T]``."""
    seen = there[:, None, :, None, None]
    top = functional.max_pool3d(x.masked_fill(~seen, torch.finfo(x.dtype).min), 2)
    return top.masked_fill(~halve(there)[:, None, :, None, None], 0.0)


def _up(c_in: int, c_out: int) -> nn.ConvTranspose3d:
    return nn.ConvTranspose3d(c_in, c_out, 3, 2, 1, 1)


class Model(nn.Module):
    """One series of any length → logits ``[B, K, H, W]``.

    Args:
        ports: One series.
        n_classes: K.
        width: Base width; the levels have 4, 8 and 16 times as many features.
    """

    SOURCE: ClassVar[str] = "Çiçek et al., 3D U-Net, MICCAI 2016; two-level form of crop mapping"
    LICENCE: ClassVar[str] = "Apache-2.0"
    TINY: ClassVar[dict[str, Any]] = {"width": 2}
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("s2", "series", bands(10), 10.0, "reflectance"),), 8, 32, dates=32, parameters=1_548_600
    )

    def __init__(self, ports: Sequence[Port], n_classes: int, *, width: int = 8) -> None:
        super().__init__()
        port = one_series(ports, "unet3d")
        self.ports = tuple(ports)
        one, two, three = 4 * width, 8 * width, 16 * width
        self.fine = Pair(len(port.bands), one, one)
        self.middle = Pair(one, two, two)
        self.centre = Pair(two, three, three)
        self.up_middle = _up(three, two)
        self.join_middle = Pair(2 * two, two, two)
        self.up_fine = _up(two, one)
        self.up_fine_norm = nn.BatchNorm3d(one)
        self.join_fine = Pair(2 * one, one, 2 * width)
        self.head = nn.Conv3d(2 * width, n_classes, 3, padding=1)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, (height, width) = align(inputs, self.ports, 4)
        item = ordered(aligned[self.ports[0].name], observed=True)
        extra = -item.present.shape[1] % 4
        x = functional.pad(item.data.movedim(1, 2), [0, 0, 0, 0, 0, extra])  # [B, C, T, H, W]
        one = functional.pad(item.present, [0, extra])
        two, three = halve(one), halve(halve(one))
        fine = self.fine(x, one)
        middle = self.middle(pool(fine, one), two)
        x = self.centre(pool(middle, two), three)
        x = self.join_middle(torch.cat([keep(self.up_middle(x), two), middle], 1), two)
        x = keep(functional.leaky_relu(self.up_fine_norm(self.up_fine(x))), one)
        x = keep(self.head(self.join_fine(torch.cat([x, fine], 1), one)), one)
        logits = x.sum(2) / one.sum(1).clamp_min(1).view(-1, 1, 1, 1)
        return logits[..., :height, :width]
