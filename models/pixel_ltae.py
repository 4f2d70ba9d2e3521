"""Each pixel by itself: dates embedded with their day of year, L-TAE attention over them, several inputs summed.

Sees no neighbour, so it trains on single pixels (tables of field points) and maps any window. Order of dates decides
nothing, their days do. After Garnot & Landrieu, "Lightweight Temporal Self-Attention for Classifying Satellite Image
Time Series" (AALTD 2020, arXiv:2007.00586).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.batch import Modality
from models.fusion_utae import Collapse, Fuse, TemporalAttention
from models.layers import ChannelNorm, DayEncoding, align, channels_last_
from models.spec import Port


class _Branch(nn.Module):
    """One input → one map, and where it observed anything."""

    def __init__(self, port: Port, width: int, heads: int, key_width: int) -> None:
        super().__init__()
        # The validity of a date is an input of its own.
        self.first = nn.Sequential(nn.Conv2d(len(port.bands) + 1, width, 1), ChannelNorm(width))
        self.second = nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 1), ChannelNorm(width), nn.ReLU())
        self.series = port.kind == "series"
        if self.series:
            self.days = DayEncoding(width)
            self.attention = TemporalAttention(width, heads, key_width)
            self.collapse = Collapse(width, heads, width)

    def forward(self, item: Modality) -> tuple[Tensor, Tensor]:
        """Map ``[B, width, H, W]`` and where it stands on an observation ``[B, H, W]``."""
        if not self.series:
            item = item._replace(data=item.data[:, :1], valid=item.valid[:, :1])
        size = item.valid.shape[:2]
        x = torch.cat([item.data, item.valid.unsqueeze(2).to(item.data.dtype)], 2).flatten(0, 1)
        x = self.first(x.contiguous(memory_format=torch.channels_last))
        if self.series:
            x = x + self.days(item.doy).flatten(0, 1)[:, :, None, None]
        dates = torch.unflatten(self.second(x), 0, size)
        observed = item.valid.any(1)
        if not self.series:
            return dates[:, 0], observed
        weights = self.attention(dates, item.valid, item.doy)
        return self.collapse(dates, weights, item.valid), observed


class Model(nn.Module):
    """Any number of series and images → logits ``[B, K, H, W]``; a pixel's logits hang on that pixel alone.

    Args:
        ports: Inputs; at least one. Lengths of series are free.
        n_classes: K.
        width: Channels of every layer.
        heads: Attention heads; divides the width.
        key_width: Width of keys and queries.
        dropout: Share of channels dropped before the last layer in training.
    """

    SOURCE: ClassVar[str] = "after Garnot & Landrieu, AALTD 2020 (L-TAE); own design for single pixels"
    LICENCE: ClassVar[str] = "Apache-2.0"
    TINY: ClassVar[dict[str, Any]] = {"width": 16, "heads": 4, "key_width": 4}
    PIXELWISE: ClassVar[bool] = True

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        width: int = 64,
        heads: int = 8,
        key_width: int = 8,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not ports:
            raise ValueError("no input: give at least one port")
        if width % heads:
            raise ValueError(f"heads = {heads} does not divide the width {width}")
        self.ports = tuple(ports)
        self.branches = nn.ModuleDict({port.name: _Branch(port, width, heads, key_width) for port in ports})
        self.fuse = Fuse(ports, width)
        self.head = nn.Sequential(
            nn.Conv2d(width, width, 1), ChannelNorm(width), nn.ReLU(), nn.Dropout2d(dropout),
            nn.Conv2d(width, n_classes, 1),
        )  # fmt: skip
        channels_last_(self)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``; where no input observed anything they say nothing and are to be masked."""
        aligned, _ = align(inputs, self.ports, 1)
        logits: Tensor = self.head(self.fuse({name: self.branches[name](item) for name, item in aligned.items()}))
        return logits
