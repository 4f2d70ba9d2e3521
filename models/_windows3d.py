"""Attention within windows of dates × rows × columns.

Source: Liu et al., "Video Swin Transformer" (2022): 3-D windows, every other one shifted by half, relative position
bias. Shifting is done by padding in front, not by rolling round: the windows at the rim are smaller, and no mask is
needed between what a roll would bring together. Own implementation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models._transformer import Attention

Sizes = tuple[int, int, int]


class WindowAttention(nn.Module):
    """Multi-head attention within 3-D windows, with a learned bias per relative position.

    Args:
        width: Features of a token.
        heads: Number of heads.
        window: Dates, rows, columns of a window.
        shifted: Windows are shifted by half their size.
    """

    def __init__(self, width: int, heads: int, window: Sizes, *, shifted: bool) -> None:
        super().__init__()
        self.window = window
        # A shift by s of a window of w: the first window holds s tokens.
        self.front: Sizes = tuple(w - w // 2 if shifted and w > 1 else 0 for w in window)  # type: ignore[assignment]
        self.attention = Attention(width, heads)
        t, h, w = window
        self.bias = nn.Parameter(torch.randn(heads, 2 * t - 1, 2 * h - 1, 2 * w - 1) * 0.02)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """``[B, T, H, W, D]``, dates that are there ``[B, T]`` → ``[B, T, H, W, D]``."""
        size = x.shape[1:4]
        pad: list[int] = []
        for length, front, window in zip(reversed(size), reversed(self.front), reversed(self.window), strict=True):
            pad += [front, -(length + front) % window]
        mask = functional.pad(there[:, :, None, None].expand(x.shape[:4]), pad)
        tokens = functional.pad(x, [0, 0, *pad])
        out = self._join(self.attention(self._split(tokens), self._split(mask), scores=self._scores()), tokens.shape)
        t, h, w = self.front
        return out[:, t : t + size[0], h : h + size[1], w : w + size[2]]

    def _split(self, x: Tensor) -> Tensor:
        """``[B, T, H, W, ...]`` → ``[B · windows, tokens, ...]``."""
        for axis, window in zip((1, 3, 5), self.window, strict=True):
            x = torch.unflatten(x, axis, (-1, window))  # ends as [B, nt, t, nh, h, nw, w, ...]
        x = x.movedim((1, 3, 5), (1, 2, 3))  # [B, nt, nh, nw, t, h, w, ...]
        return x.flatten(4, 6).flatten(0, 3)

    def _join(self, x: Tensor, shape: torch.Size) -> Tensor:
        t, h, w = self.window
        counts = (shape[1] // t, shape[2] // h, shape[3] // w)
        x = x.view(shape[0], *counts, t, h, w, shape[-1])
        return x.movedim((1, 2, 3), (1, 3, 5)).reshape(shape)

    def _scores(self) -> Tensor:
        """``[heads, L, L]``: the bias of every pair of positions of a window."""
        grids = torch.meshgrid(*(torch.arange(n, device=self.bias.device) for n in self.window), indexing="ij")
        place = [grid.flatten() for grid in grids]  # [L] each
        t, h, w = (at[:, None] - at[None] + n - 1 for at, n in zip(place, self.window, strict=True))
        return self.bias[:, t, h, w]
