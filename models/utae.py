"""U-TAE as published, for one series: 1,087,260 parameters with 10 bands and 20 classes.

Source: Garnot & Landrieu, "Panoptic Segmentation of Satellite Image Time Series with Convolutional Temporal Attention
Networks", ICCV 2021, arXiv:2107.07933; sizes from the authors' public repository (MIT licence). Our own code.

Two departures that change no weight: invalid values are zeroed before the first convolution, and the group norm over a
pixel's dates takes its statistics from the dates that are there, so that a padded date changes no logit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.batch import Modality
from models.layers import align, channels_last_, masked_softmax
from models.spec import Port, Reference, bands

_NORM_GROUPS = 4


def _group(channels: int) -> nn.Module:
    return nn.GroupNorm(_NORM_GROUPS, channels)


def _conv(c_in: int, c_out: int, norm: Callable[[int], nn.Module], kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, 1, padding_mode="reflect"), norm(c_out), nn.ReLU(inplace=True)
    )


class Down(nn.Module):
    """Strided 4×4 convolution, then a 3×3 and a residual 3×3 convolution, group norm, on every date."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.down = _conv(c_in, c_in, _group, kernel=4, stride=2)
        self.first = _conv(c_in, c_out, _group)
        self.second = _conv(c_out, c_out, _group)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` → ``[N, c_out, H / 2, W / 2]``."""
        x = self.first(self.down(x))
        out: Tensor = x + self.second(x)
        return out


class Up(nn.Module):
    """Transposed 4×4 convolution, concatenation with the collapsed skip, then a 3×3 and a residual 3×3 convolution."""

    def __init__(self, c_in: int, c_out: int, c_skip: int) -> None:
        super().__init__()
        self.skip = nn.Sequential(nn.Conv2d(c_skip, c_skip, 1), nn.BatchNorm2d(c_skip), nn.ReLU(inplace=True))
        self.up = nn.Sequential(nn.ConvTranspose2d(c_in, c_out, 4, 2, 1), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))
        self.first = _conv(c_out + c_skip, c_out, nn.BatchNorm2d)
        self.second = _conv(c_out, c_out, nn.BatchNorm2d)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Coarse ``[B, c_in, h, w]`` and skip ``[B, c_skip, 2 h, 2 w]`` → ``[B, c_out, 2 h, 2 w]``."""
        x = self.first(torch.cat([self.up(x), self.skip(skip)], 1))
        out: Tensor = x + self.second(x)
        return out


class LightTemporalAttention(nn.Module):
    """L-TAE on every pixel of the coarsest map, returning the collapsed map and the attention weights."""

    def __init__(self, c_in: int, c_out: int, heads: int, d_model: int, d_k: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.d_k, self.groups = heads, d_k, heads
        self.in_weight = nn.Parameter(torch.ones(c_in))
        self.in_bias = nn.Parameter(torch.zeros(c_in))
        self.lift = nn.Linear(c_in, d_model)
        self.query = nn.Parameter(torch.randn(heads, d_k) * math.sqrt(2.0 / d_k))
        self.keys = nn.Linear(d_model, heads * d_k)
        self.mlp = nn.Linear(d_model, c_out)
        self.mlp_norm = nn.BatchNorm1d(c_out)
        self.dropout = nn.Dropout(dropout)
        self.out_norm = nn.GroupNorm(heads, c_out)
        index = torch.arange(d_model // heads)
        denominator = torch.pow(1000.0, 2 * (index // 2) / (d_model // heads))
        self.register_buffer("denominator", denominator, persistent=False)
        self.denominator: Tensor

    def forward(self, x: Tensor, there: Tensor, day: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, T, C, h, w]``, ``[B, T]`` bool, ``[B, T]`` days → ``[B, c_out, h, w]``, ``[B, heads, T, h, w]``."""
        batch, _, _, h, w = x.shape
        tokens = self.lift(self._normalise(x.permute(0, 3, 4, 1, 2), there[:, None, None, :, None]))
        tokens = tokens + self._position(day)[:, None, None]
        keys = torch.unflatten(self.keys(tokens), -1, (self.heads, self.d_k))
        scores = torch.einsum("bhwtnk,nk->bnthw", keys, self.query) / math.sqrt(self.d_k)
        weights = masked_softmax(scores, there[:, None, :, None, None], dim=2)
        values = torch.unflatten(tokens, -1, (self.heads, -1))
        out = torch.einsum("bhwtnc,bnthw->bhwnc", values, weights.to(values.dtype)).reshape(batch * h * w, -1)
        out = self.out_norm(self.dropout(functional.relu(self.mlp_norm(self.mlp(out)))))
        return out.view(batch, h, w, -1).permute(0, 3, 1, 2).contiguous(), weights

    def _normalise(self, x: Tensor, there: Tensor) -> Tensor:
        """Group norm of each pixel over its dates that are there: ``[B, h, w, T, C]``."""
        grouped = torch.unflatten(x.float(), -1, (self.groups, -1))
        mask = there.unsqueeze(-1)
        count = (mask.sum(3, keepdim=True) * grouped.shape[-1]).clamp_min(1)
        mean = (grouped * mask).sum((3, 5), keepdim=True) / count
        variance = (((grouped - mean) * mask) ** 2).sum((3, 5), keepdim=True) / count
        normed = ((grouped - mean) * torch.rsqrt(variance + 1e-5)).flatten(-2)
        return torch.addcmul(self.in_bias, normed, self.in_weight)

    def _position(self, day: Tensor) -> Tensor:
        angle = day.float().unsqueeze(-1) / self.denominator
        even = torch.arange(len(self.denominator), device=day.device) % 2 == 0
        return torch.where(even, angle.sin(), angle.cos()).repeat(1, 1, self.heads)


def collapse(x: Tensor, weights: Tensor) -> Tensor:
    """Attention-weighted sum over dates, one head per group of channels: ``[B, T, C, H, W]`` → ``[B, C, H, W]``."""
    heads = weights.shape[1]
    resized = functional.interpolate(weights.flatten(1, 2), size=x.shape[-2:], mode="bilinear", align_corners=False)
    groups = torch.unflatten(x, 2, (heads, -1))
    resized = torch.unflatten(resized, 1, (heads, x.shape[1])).to(x.dtype)
    return torch.einsum("btgchw,bgthw->bgchw", groups, resized).flatten(1, 2)


class Model(nn.Module):
    """One series → logits ``[B, K, H, W]``. Patches are at least 16 pixels wide (reflected borders at stride 8).

    Args:
        ports: One series.
        n_classes: K.
        encoder_widths: Channels per level of the encoder; each further level halves the edges.
        decoder_widths: Channels per level of the decoder; the last equals the encoder's last.
        out_width: Channels before the last convolution.
        heads: Attention heads.
        d_model: Width of the attention's tokens.
        d_k: Width of keys and queries.
        dropout: Dropout after the attention's MLP.
    """

    SOURCE: ClassVar[str] = "Garnot & Landrieu, ICCV 2021, arXiv:2107.07933"
    LICENCE: ClassVar[str] = "Apache-2.0"
    TINY: ClassVar[dict[str, Any]] = {
        "encoder_widths": [8, 8, 16],
        "decoder_widths": [8, 8, 16],
        "out_width": 8,
        "heads": 4,
        "d_model": 16,
        "d_k": 4,
    }
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("s2", "series", bands(10), 10.0, "reflectance"),), 20, 128, dates=60, parameters=1_087_260
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        encoder_widths: Sequence[int] = (64, 64, 64, 128),
        decoder_widths: Sequence[int] = (32, 32, 64, 128),
        out_width: int = 32,
        heads: int = 16,
        d_model: int = 256,
        d_k: int = 4,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if len(ports) != 1 or ports[0].kind != "series":
            raise ValueError("U-TAE takes exactly one series; for several inputs use fusion_utae")
        if len(encoder_widths) != len(decoder_widths) or encoder_widths[-1] != decoder_widths[-1]:
            raise ValueError("encoder_widths and decoder_widths need the same length and the same last width")
        if any(width % heads for width in encoder_widths):
            raise ValueError(f"heads = {heads} does not divide every encoder width of {list(encoder_widths)}")
        self.ports = tuple(ports)
        first = encoder_widths[0]
        self.stem = nn.Sequential(_conv(len(ports[0].bands), first, _group), _conv(first, first, _group))
        self.downs = nn.ModuleList(Down(a, b) for a, b in pairwise(encoder_widths))
        self.attention = LightTemporalAttention(encoder_widths[-1], encoder_widths[-1], heads, d_model, d_k, dropout)
        self.ups = nn.ModuleList(
            Up(decoder_widths[level], decoder_widths[level - 1], encoder_widths[level - 1])
            for level in range(len(decoder_widths) - 1, 0, -1)
        )
        self.head = nn.Sequential(
            _conv(decoder_widths[0], out_width, nn.BatchNorm2d), _conv(out_width, n_classes, nn.BatchNorm2d)
        )
        channels_last_(self)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``; not negative, as the published head ends in a ReLU."""
        aligned, (height, width) = align(inputs, self.ports, 1 << len(self.downs))
        item = aligned[self.ports[0].name]
        batch, dates = item.valid.shape[:2]
        there = item.valid.flatten(2).any(-1)
        x = self.stem(item.data.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        skips = [x]
        for down in self.downs:
            x = down(x)
            skips.append(x)
        deep, weights = self.attention(torch.unflatten(skips.pop(), 0, (batch, dates)), there, item.day)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            deep = up(deep, collapse(torch.unflatten(skip, 0, (batch, dates)), weights))
        logits: Tensor = self.head(deep)
        return logits[..., :height, :width]
