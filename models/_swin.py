"""Windowed attention on maps, as stages of an encoder.

Source: Liu et al., "Swin Transformer" (ICCV 2021): windows of 7×7, every other block shifted by half a window, patch
merging between stages. Own implementation on the 3-D windows with one date.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models._windows3d import WindowAttention


class SwinBlock(nn.Module):
    """x + attention(norm x), then x + MLP(norm x), on tokens ``[B, H, W, D]``."""

    def __init__(self, width: int, heads: int, window: int, mlp_ratio: int, *, shifted: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, (1, window, window), shifted=shifted)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, mlp_ratio * width), nn.GELU(), nn.Linear(mlp_ratio * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[B, H, W, D]``."""
        there = torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
        x = x + self.attention(self.norm(x).unsqueeze(1), there).squeeze(1)
        out: Tensor = x + self.mlp(x)
        return out


def swin_stage(width: int, depth: int, heads: int, window: int, mlp_ratio: int) -> nn.Sequential:
    """Blocks, every other one shifted."""
    return nn.Sequential(
        *(SwinBlock(width, heads, window, mlp_ratio, shifted=index % 2 == 1) for index in range(depth))
    )


class SwinEncoder(nn.Module):
    """Maps at strides 4, 8, 16, ... of an image whose edges are multiples of the last.

    Args:
        channels: Bands.
        width: Of the first stage; each further stage doubles it.
        depths: Blocks per stage.
        heads: Attention heads per stage.
        window: Edge of a window in tokens.
        mlp_ratio: Hidden width of the MLPs over their width.
    """

    def __init__(
        self, channels: int, width: int, depths: Sequence[int], heads: Sequence[int], window: int, mlp_ratio: int
    ) -> None:
        super().__init__()
        self.widths = [width << stage for stage in range(len(depths))]
        self.embed = nn.Conv2d(channels, width, 4, 4)
        self.embed_norm = nn.LayerNorm(width)
        self.stages = nn.ModuleList(
            swin_stage(w, d, h, window, mlp_ratio) for w, d, h in zip(self.widths, depths, heads, strict=True)
        )
        self.merge = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(4 * w), nn.Linear(4 * w, 2 * w, bias=False)) for w in self.widths[:-1]
        )
        self.norms = nn.ModuleList(nn.LayerNorm(w) for w in self.widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """``[B, C, H, W]`` → maps ``[B, D, h, w]``, from fine to coarse."""
        x = self.embed_norm(self.embed(x).permute(0, 2, 3, 1))  # [B, h, w, D]
        maps = []
        for index, stage in enumerate(self.stages):
            if index:
                x = self.merge[index - 1](_merge(x))
            x = stage(x)
            maps.append(self.norms[index](x).permute(0, 3, 1, 2))
        return maps


def _merge(x: Tensor) -> Tensor:
    """2×2 tokens side by side: ``[B, h, w, D]`` → ``[B, h / 2, w / 2, 4 D]``."""
    x = torch.unflatten(torch.unflatten(x, 2, (-1, 2)), 1, (-1, 2))  # [B, h/2, 2, w/2, 2, D]
    return x.permute(0, 1, 3, 2, 4, 5).flatten(3)
