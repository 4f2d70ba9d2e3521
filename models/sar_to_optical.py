"""SAR → optical: a Sentinel-1 series to the optical series (NDVI, or any bands) of the same dates.

Source: Chen et al., "Land Cover Classification Based on Multimodal Remote Sensing Fusion", which names a
"convolutional translation network" and gives no layers. Reconstructed, own implementation: an encoder–decoder of
convolutions over dates, rows and columns; the day of year of every date as harmonics beside the bands; short cuts.
VV / VH need not be given: of values in dB it is a difference, which the first convolution can form.

The first port is the SAR series; further series of the same calendar (the incomplete optical one) may stand beside it.
Every input brings its validity as a channel. Dates are masked after every operation, so a padded one changes nothing.

The output is no map of classes but a series ``[B, T, K, H, W]`` on the dates of the first input, in its order, to be
trained with an L1 loss on valid dates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.batch import Modality
from models.layers import align, complete, ordered
from models.spec import Port, Reference
from models.stsnet_temporal import halve, keep

_HARMONICS = 2


class Conv(nn.Module):
    """3×3×3 convolution, batch norm, ReLU; masked dates stay zero.

    Batch norm, for a norm over each pixel's features would take away the very amplitude that is to be translated.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(c_in, c_out, 3, padding=1)
        self.norm = nn.BatchNorm3d(c_out)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """``[B, C, T, H, W]``, ``[B, T]``."""
        return keep(functional.relu(self.norm(self.conv(x))), there)


class Model(nn.Module):
    """SAR series → optical series ``[B, T, K, H, W]``, K bands.

    Args:
        ports: Series of one calendar; the first gives the dates.
        n_classes: K, the number of optical bands.
        widths: Features per level; each further level halves the dates.
    """

    SOURCE: ClassVar[str] = "after Chen et al., Land Cover Classification Based on Multimodal Remote Sensing Fusion"
    LICENCE: ClassVar[str] = "Apache-2.0"
    OUTPUT: ClassVar[str] = "series"
    TINY: ClassVar[dict[str, Any]] = {"widths": [6, 8]}
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("s1", "series", ("vv", "vh"), 10.0, "gamma0_linear", "db"),), 1, 64, dates=24
    )

    def __init__(self, ports: Sequence[Port], n_classes: int, *, widths: Sequence[int] = (32, 64, 96)) -> None:
        super().__init__()
        if not ports or any(port.kind != "series" for port in ports):
            raise ValueError("sar_to_optical takes series only")
        self.ports = tuple(ports)
        channels = sum(len(port.bands) + 1 for port in ports) + 2 * _HARMONICS
        pairs = zip([channels, *widths[:-1]], widths, strict=True)
        self.down = nn.ModuleList(nn.ModuleList([Conv(a, b), Conv(b, b)]) for a, b in pairs)
        self.up = nn.ModuleList(Conv(fine + deep, fine) for fine, deep in pairwise(widths))
        self.head = nn.Conv3d(widths[0], n_classes, 1)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """``[B, T, K, H, W]`` in the order of the first input's dates; zero where it has padding."""
        aligned, _ = align(inputs, self.ports, 1)
        first = aligned[self.ports[0].name]
        x, there, order = self._stack(complete(aligned, self.ports))
        masks, maps = [there], []
        for level, convs in enumerate(self.down):
            if level:
                x = keep(_half_dates(x, masks[-1]), halve(masks[-1]))
                masks.append(halve(masks[-1]))
            for conv in convs:  # type: ignore[attr-defined]
                x = conv(x, masks[-1])
            maps.append(x)
        for up, fine, mask in zip(reversed(self.up), reversed(maps[:-1]), reversed(masks[:-1]), strict=True):
            x = up(torch.cat([fine, keep(x.repeat_interleave(2, 2), mask)], 1), mask)
        series = keep(self.head(x), there).movedim(1, 2)  # [B, T', K, H, W], by day
        found = series.new_zeros(*first.doy.shape, *series.shape[2:])
        index = order.view(*order.shape, 1, 1, 1).expand(-1, -1, *series.shape[2:])
        real = (first.doy > 0).sum(1, keepdim=True) > torch.arange(order.shape[1], device=order.device)
        return found.scatter_add(1, index, series[:, : order.shape[1]] * real[:, :, None, None, None])

    def _stack(self, whole: dict[str, Modality]) -> tuple[Tensor, Tensor, Tensor]:
        """All inputs by day ``[B, C, T, H, W]``, dates that are there ``[B, T]``, and where each came from."""
        first = whole[self.ports[0].name]
        real = first.doy > 0
        order = torch.where(real, first.day, torch.iinfo(first.day.dtype).max).argsort(dim=1, stable=True)
        base = ordered(first)
        order = order[:, : base.doy.shape[1]]
        parts = []
        for port in self.ports:
            item = ordered(whole[port.name])
            extra = base.doy.shape[1] - item.doy.shape[1]
            if extra < 0:
                raise ValueError(f"{port.name} has more dates than {self.ports[0].name}; they must share a calendar")
            joined = torch.cat([item.data, item.valid.unsqueeze(2).to(item.data.dtype)], 2)
            parts.append(functional.pad(joined, [0, 0, 0, 0, 0, 0, 0, extra]))
        angle = base.doy.to(parts[0].dtype)[:, :, None] * (2 * math.pi / 365.25)
        waves = [f(h * angle) for h in range(1, _HARMONICS + 1) for f in (torch.sin, torch.cos)]
        days = torch.cat(waves, -1)[..., None, None].expand(-1, -1, -1, *parts[0].shape[-2:])
        there = base.doy > 0
        extra = -there.shape[1] % (1 << (len(self.down) - 1))
        x = functional.pad(torch.cat([*parts, days], 2).movedim(1, 2), [0, 0, 0, 0, 0, extra])
        there = functional.pad(there, [0, extra])
        return keep(x, there), there, order


def _half_dates(x: Tensor, there: Tensor) -> Tensor:
    """Mean of each pair of dates over those that are there: ``[B, C, T, H, W]`` → ``[B, C, T / 2, H, W]``."""
    total = torch.unflatten(x, 2, (-1, 2)).sum(3)
    count = torch.unflatten(there, 1, (-1, 2)).sum(-1).clamp_min(1)
    return total / count[:, None, :, None, None].to(x.dtype)
