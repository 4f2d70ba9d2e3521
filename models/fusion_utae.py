"""Fusion U-TAE: the default network. One U-TAE-style encoder per series, fused level by level, one decoder.

Follows Garnot & Landrieu, "Panoptic Segmentation of Satellite Image Time Series with Convolutional Temporal Attention
Networks" (ICCV 2021) in its idea: convolutions shared over dates, temporal attention (L-TAE) at the coarsest level, its
weights reused to collapse the finer levels. Departures, each with its reason:

* validity is an input of its own (a channel, and the key mask of the attention), never inferred from values;
* attention weights brought to a finer level are masked and normalised again there, so that a pixel that is cloudy on a
  date takes nothing from that date though its cell does;
* channel norm per pixel in place of group norm over the patch: a value does not depend on where a window was laid;
* day of year by harmonics, so that a model transfers between years;
* several inputs: their collapsed maps are summed per level after a projection each; where an input has no valid
  observation at a pixel, a learned token stands in its place.
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
from models.layers import ChannelNorm, ConvBlock, DayEncoding, align, channels_last_, masked_softmax, shrink_mask
from models.spec import Port


class Encoder(nn.Module):
    """Spatial convolutions on every date: ``[N, C, H, W]`` → one map per level, each level half as fine."""

    def __init__(self, c_in: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList([ConvBlock(c_in, widths[0])])
        for before, width in pairwise(widths):
            self.levels.append(nn.Sequential(ConvBlock(before, width, stride=2), ConvBlock(width, width)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps from fine to coarse."""
        maps = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        return maps


class TemporalAttention(nn.Module):
    """L-TAE weights: one learned master query per head asks every date of a pixel.

    Source: Garnot & Landrieu, "Lightweight Temporal Self-Attention" (AALTD 2020).
    """

    def __init__(self, width: int, heads: int, key_width: int) -> None:
        super().__init__()
        self.heads, self.key_width = heads, key_width
        self.days = DayEncoding(width)
        self.norm = nn.LayerNorm(width)
        self.keys = nn.Linear(width, heads * key_width)
        self.query = nn.Parameter(torch.randn(heads, key_width) * math.sqrt(2.0 / key_width))

    def forward(self, x: Tensor, valid: Tensor, doy: Tensor) -> Tensor:
        """Weights over dates.

        Args:
            x: ``[B, T, D, h, w]``.
            valid: ``[B, T, h, w]`` bool.
            doy: ``[B, T]``.

        Returns:
            ``[B, heads, T, h, w]`` float32; sums to one over T, or to zero where no date is valid.
        """
        tokens = self.norm(x.movedim(2, -1) + self.days(doy)[:, :, None, None])
        keys = torch.unflatten(self.keys(tokens), -1, (self.heads, self.key_width))
        scores = torch.einsum("bthwnk,nk->bnthw", keys, self.query) / math.sqrt(self.key_width)
        return masked_softmax(scores, valid.unsqueeze(1), dim=2)


class Collapse(nn.Module):
    """Dates → one map: each head weights its own group of channels, then a 1×1 convolution mixes them."""

    def __init__(self, width: int, heads: int, c_out: int) -> None:
        super().__init__()
        self.heads = heads
        self.mix = nn.Conv2d(width, c_out, 1)

    def forward(self, x: Tensor, weights: Tensor, valid: Tensor) -> Tensor:
        """``[B, T, C, H, W]``, weights ``[B, heads, T, h, w]``, validity ``[B, T, H, W]`` → ``[B, c_out, H, W]``."""
        size = x.shape[-2:]
        if weights.shape[-2:] != size:
            weights = functional.interpolate(weights.flatten(1, 2), size=size, mode="bilinear", align_corners=False)
            weights = torch.unflatten(weights, 1, (self.heads, x.shape[1])) * valid.unsqueeze(1)
            weights = weights / weights.sum(2, keepdim=True).clamp_min(1e-6)
        groups = torch.unflatten(x, 2, (self.heads, -1))
        collapsed = torch.einsum("btgchw,bgthw->bgchw", groups, weights.to(x.dtype)).flatten(1, 2)
        out: Tensor = self.mix(collapsed)
        return out


class SeriesBranch(nn.Module):
    """One series → one map per level, and where it observed anything."""

    def __init__(self, port: Port, widths: Sequence[int], fused: Sequence[int], heads: int, key_width: int) -> None:
        super().__init__()
        self.encoder = Encoder(len(port.bands) + 1, widths)
        self.attention = TemporalAttention(widths[-1], heads, key_width)
        self.collapse = nn.ModuleList(Collapse(width, heads, out) for width, out in zip(widths, fused, strict=True))

    def forward(self, item: Modality) -> tuple[list[Tensor], list[Tensor]]:
        """Maps ``[B, C, h, w]`` and where they stand on an observation ``[B, h, w]``, from fine to coarse."""
        size, dates = item.valid.shape[:2]
        maps, masks = encode_dates(self.encoder, item)
        deep = torch.unflatten(maps[-1], 0, (size, dates))
        weights = self.attention(deep, masks[-1], item.doy)
        collapsed = [
            collapse(torch.unflatten(level, 0, (size, dates)), weights, mask)
            for collapse, level, mask in zip(self.collapse, maps, masks, strict=True)
        ]
        return collapsed, [mask.any(1) for mask in masks]


class ImageBranch(nn.Module):
    """One image → one map per level, and where it has values."""

    def __init__(self, port: Port, widths: Sequence[int], fused: Sequence[int]) -> None:
        super().__init__()
        self.encoder = Encoder(len(port.bands) + 1, widths)
        self.project = nn.ModuleList(nn.Conv2d(width, out, 1) for width, out in zip(widths, fused, strict=True))

    def forward(self, item: Modality) -> tuple[list[Tensor], list[Tensor]]:
        """Maps ``[B, C, h, w]`` and where they stand on an observation ``[B, h, w]``, from fine to coarse."""
        first = item._replace(data=item.data[:, :1], valid=item.valid[:, :1])
        maps, masks = encode_dates(self.encoder, first)
        return [project(level) for project, level in zip(self.project, maps, strict=True)], [m[:, 0] for m in masks]


def encode_dates(encoder: Encoder, item: Modality) -> tuple[list[Tensor], list[Tensor]]:
    """Encode every date with its validity as a channel: maps ``[B·T, C, h, w]``, masks ``[B, T, h, w]`` per level."""
    flat = item.valid.flatten(0, 1)
    x = torch.cat([item.data.flatten(0, 1), flat.unsqueeze(1).to(item.data.dtype)], 1)
    maps = encoder(x.contiguous(memory_format=torch.channels_last))
    masks = [
        torch.unflatten(shrink_mask(flat, (level.shape[-2], level.shape[-1])), 0, item.valid.shape[:2])
        for level in maps
    ]
    return maps, masks


class Fuse(nn.Module):
    """Sum of the inputs' maps at one level, a learned token standing in for what an input did not observe."""

    def __init__(self, ports: Sequence[Port], width: int) -> None:
        super().__init__()
        self.tokens = nn.ParameterDict({port.name: nn.Parameter(torch.zeros(width)) for port in ports})
        self.norm = ChannelNorm(width)

    def forward(self, maps: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
        """``{name: (map [B, C, h, w], observed [B, h, w])}`` of the inputs that are there → ``[B, C, h, w]``."""
        total: Tensor | None = None
        for name, token in self.tokens.items():
            stand_in = token[None, :, None, None]
            if name in maps:
                values, observed = maps[name]
                part = torch.where(observed.unsqueeze(1), values, stand_in.to(values.dtype))
            else:
                part = stand_in
            total = part if total is None else total + part
        assert total is not None
        out: Tensor = self.norm(total.contiguous(memory_format=torch.channels_last))
        return out


class Decoder(nn.Module):
    """From the coarsest level up: project, double the edges, add the finer map, convolve."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.up = nn.ModuleList(nn.Conv2d(deep, fine, 1) for fine, deep in pairwise(widths))
        self.join = nn.ModuleList(ConvBlock(2 * width, width) for width in widths[:-1])

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps from fine to coarse → one map at the finest."""
        x = maps[-1]
        for up, join, fine in zip(reversed(self.up), reversed(self.join), reversed(maps[:-1]), strict=True):
            x = functional.interpolate(up(x), size=fine.shape[-2:], mode="bilinear", align_corners=False)
            x = join(torch.cat([fine, x], 1))
        return x


class Model(nn.Module):
    """Any number of series and images → logits ``[B, K, H, W]`` at the finest input's pixels.

    Args:
        ports: Inputs; at least one. Lengths of series are free.
        n_classes: K.
        widths: Channels per level; each further level halves the edges.
        image_widths: Channels per level of an image branch.
        heads: Attention heads; divides every width.
        key_width: Width of keys and queries.
        dropout: Share of channels of the decoded map dropped in training.
    """

    SOURCE: ClassVar[str] = "after Garnot & Landrieu, ICCV 2021 (U-TAE); own design for several inputs"
    LICENCE: ClassVar[str] = "Apache-2.0"
    TINY: ClassVar[dict[str, Any]] = {"widths": [8, 16], "image_widths": [8, 8], "heads": 4, "key_width": 4}

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        widths: Sequence[int] = (16, 32, 64),
        image_widths: Sequence[int] = (8, 16, 32),
        heads: int = 8,
        key_width: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not ports:
            raise ValueError("no input: give at least one port")
        if len(widths) != len(image_widths):
            raise ValueError(f"widths has {len(widths)} levels, image_widths has {len(image_widths)}")
        if any(width % heads for width in widths):
            raise ValueError(f"heads = {heads} does not divide every width of {list(widths)}")
        self.ports = tuple(ports)
        self.multiple = 1 << (len(widths) - 1)
        self.branches = nn.ModuleDict(
            {
                port.name: SeriesBranch(port, widths, widths, heads, key_width)
                if port.kind == "series"
                else ImageBranch(port, image_widths, widths)
                for port in ports
            }
        )
        self.fuse = nn.ModuleList(Fuse(ports, width) for width in widths)
        self.decoder = Decoder(widths)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(widths[0], n_classes, 1)
        channels_last_(self)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``; where no input observed anything they say nothing and are to be masked."""
        aligned, (height, width) = align(inputs, self.ports, self.multiple)
        branches = {name: self.branches[name](item) for name, item in aligned.items()}
        fused = [
            fuse({name: (maps[level], masks[level]) for name, (maps, masks) in branches.items()})
            for level, fuse in enumerate(self.fuse)
        ]
        logits: Tensor = self.head(self.dropout(self.decoder(fused)))
        return logits[..., :height, :width]
