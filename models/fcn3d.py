"""3D-FCN: fully convolutional over rows, columns, dates; 4,873,347 parameters (6 bands, 23 dates, 3 classes).

Source: the 3D fully convolutional network with intersection-over-union loss for crop mapping: convolutions of 32, 64,
128, 256 features with kernel (3, 3, 5) and stride (2, 2, 1), decoder by nearest up-sampling and concatenation, last
convolution over all dates. Input 128×128×23×6. Own implementation; the published code is used for facts only.

`head: mean` (ours) replaces the convolution over all dates by a mean over those that are there and frees their number;
dates are then masked after every operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.batch import Modality
from models.layers import align, one_series, ordered
from models.spec import Port, Reference, bands


class Conv(nn.Module):
    """5×3×3 (dates, rows, columns) convolution, batch norm, ReLU; masked dates stay zero."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(c_in, c_out, (5, 3, 3), (1, stride, stride), (2, 1, 1))
        self.norm = nn.BatchNorm3d(c_out)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``[B, C, T, H, W]``, mask ``[B, 1, T, 1, 1]``."""
        return functional.relu(self.norm(self.conv(x))) * mask


class Model(nn.Module):
    """One series → logits ``[B, K, H, W]``.

    Args:
        ports: One series; with `head` ``conv`` of a fixed length.
        n_classes: K.
        widths: Features of the encoder; each level halves rows and columns.
        last: Features before the last convolution.
        head: ``conv``: over all dates; ``mean``: over the dates that are there, T is free.
    """

    SOURCE: ClassVar[str] = "3D fully convolutional network with IoU loss for crop mapping"
    LICENCE: ClassVar[str] = "Apache-2.0"
    FIXED_T: ClassVar[bool] = True
    TINY: ClassVar[dict[str, Any]] = {"widths": [8, 8], "last": 8}
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("series", "series", bands(6), 10.0, "reflectance", length=23),), 3, 128, parameters=4_873_347
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        widths: Sequence[int] = (32, 64, 128, 256),
        last: int = 16,
        head: Literal["conv", "mean"] = "conv",
    ) -> None:
        super().__init__()
        port = one_series(ports, "fcn3d")
        if head == "conv" and port.length is None:
            raise ValueError(f"{port.name}: head conv needs a fixed number of dates; use head = mean")
        self.ports = tuple(ports)
        self.length = port.length if head == "conv" else None
        self.down = nn.ModuleList(Conv(a, b, 2) for a, b in pairwise([len(port.bands), *widths]))
        self.up = nn.ModuleList(Conv(deep + fine, fine) for fine, deep in pairwise(widths))
        self.last = Conv(widths[0], last)
        self.head = nn.Conv3d(last, n_classes, (self.length or 1, 1, 1))

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, (height, width) = align(inputs, self.ports, 1 << len(self.down))
        item = ordered(aligned[self.ports[0].name], self.length, observed=self.length is None)
        x = item.data.movedim(1, 2)  # [B, C, T, H, W]
        there = item.present if self.length is None else torch.ones_like(item.present)
        mask = there[:, None, :, None, None].to(x.dtype)
        maps = []
        for down in self.down:
            x = down(x, mask)
            maps.append(x)
        for up, fine in zip(reversed(self.up), reversed(maps[:-1]), strict=True):
            x = up(torch.cat([_twice(x), fine], 1), mask)
        x = self.last(_twice(x), mask)
        if self.length is None:
            x = x.sum(2, keepdim=True) / mask.sum(2, keepdim=True).clamp_min(1)
        logits: Tensor = self.head(x).squeeze(2)
        return logits[..., :height, :width]


def _twice(x: Tensor) -> Tensor:
    """Rows and columns doubled, nearest."""
    return functional.interpolate(x, scale_factor=(1.0, 2.0, 2.0), mode="nearest")
