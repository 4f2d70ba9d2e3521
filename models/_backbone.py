"""What learning from incomplete series needs of a network: features per date, and classes from features.

Source of the idea: joint feature reconstruction and prediction for incomplete satellite image time series
(arXiv:2505.19159). Its code is not public; the split below and the reconstructor are our own: a learned query plus the
day of year for every missing date, two transformer layers of four heads that look at the observed dates' features.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from models._transformer import Attention
from models.batch import Modality
from models.layers import DayEncoding


class Features(NamedTuple):
    """A series as features.

    Attributes:
        x: ``[B, T, D, h, w]``.
        valid: ``[B, T, h, w]`` bool.
        doy: ``[B, T]``.
        size: Rows and columns of the logits.
    """

    x: Tensor
    valid: Tensor
    doy: Tensor
    size: tuple[int, int]


class Backbone(Protocol):
    """A network in two halves; `predict(encode(inputs))` equals the network."""

    def encode(self, inputs: dict[str, Modality]) -> Features:
        """Features of every date by itself."""
        ...

    def predict(self, features: Features) -> Tensor:
        """Logits ``[B, K, H, W]`` from the dates that are valid."""
        ...


class Layer(nn.Module):
    """Queries look at the observed dates, then an MLP."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, mlp_ratio * width), nn.GELU(), nn.Linear(mlp_ratio * width, width)
        )

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """``[N, L, D]``, context ``[N, M, D]``, mask ``[N, M]``."""
        x = x + self.attention(self.norm(x), mask, context=context)
        out: Tensor = x + self.mlp(x)
        return out


class Reconstructor(nn.Module):
    """Features of missing dates from those observed, pixel by pixel.

    Args:
        width: D.
        layers: Attention layers.
        heads: Their heads.
        mlp_ratio: Hidden width of the MLPs over `width`.
    """

    def __init__(self, width: int, layers: int = 2, heads: int = 4, mlp_ratio: int = 2) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(width) * 0.02)
        self.days = DayEncoding(width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(Layer(width, heads, mlp_ratio) for _ in range(layers))
        self.out = nn.Linear(width, width)

    def forward(self, features: Features, wanted: Tensor) -> Features:
        """The same with `wanted` ``[B, T, h, w]`` dates filled in where nothing is valid.

        A pixel that no date observed is left alone: there is nothing to reconstruct from.
        """
        x, valid, doy, _ = features
        batch, dates, width, height, across = x.shape
        day = self.days(doy)[:, :, :, None, None]  # [B, T, D, 1, 1]

        def tokens(values: Tensor) -> Tensor:
            return values.permute(0, 3, 4, 1, 2).reshape(-1, dates, width)  # [B · h · w, T, D]

        mask = valid.permute(0, 2, 3, 1).reshape(-1, dates)
        context = self.norm(tokens(x + day))
        found = tokens((self.query[:, None, None] + day).expand_as(x).to(x.dtype))
        for layer in self.layers:
            found = layer(found, context, mask)
        filled = self.out(found).view(batch, height, across, dates, width).permute(0, 3, 4, 1, 2)
        fill = wanted & ~valid & valid.any(1, keepdim=True)
        return features._replace(x=torch.where(fill.unsqueeze(2), filled.to(x.dtype), x), valid=valid | fill)
