"""Multi-branch fusion: one convolution + transformer branch per input, joined by channel attention.

Source: Chen et al., "Land Cover Classification Based on Multimodal Remote Sensing Fusion": depthwise separable
convolution (3×3, then 1×1 to 256), transformer of depth 3 with 8 heads and a hidden width of 1296, channel attention
with a ReLU gate and two fully connected layers. No code is public; own implementation. Patches are 16×16 and the label
belongs to the pixel of index 8.

Reconstructed, where the text leaves it open or contradicts itself:

* mode `temporal` (default): the same separable convolution on every date gives one token per date and pixel, and the
  transformer runs over dates, with the day of year added and validity as key mask. The printed eq. 1 stacks dates as
  channels, which takes away the very axis the transformer needs.
* mode `literal`: eq. 1 as printed (dates × bands as channels, depthwise with as many groups, pointwise to 256, a second
  separable convolution 256 → 256); the transformer's tokens are then the pixels of a patch, with a learned position.
* a class token per branch collects the dates; alone, it says "nothing observed", so any input may be missing.
* the channel attention averages over the patch around each pixel, so that a map is made in one pass; it equals the
  prediction of patch after patch but for what the 3×3 convolution sees beyond a patch's rim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from models._backbone import Features
from models._transformer import Block
from models.batch import Modality
from models.layers import DayEncoding, align, complete, dates_as_channels, local_mean, ordered
from models.spec import Port, Reference

_CHUNK_TOKENS = 1 << 17
"""Tokens per pass of the transformer: bounds memory (one token takes about 20 kB on its way)."""


class Separable(nn.Sequential):
    """3×3 convolution per channel, then 1×1 across channels, ReLU: ``[N, C, H, W]`` → ``[N, c_out, H, W]``."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(
            nn.Conv2d(c_in, c_in, 3, padding=1, groups=c_in), nn.Conv2d(c_in, c_out, 1), nn.ReLU(inplace=True)
        )


class TemporalBranch(nn.Module):
    """One input → features per pixel, by a transformer over its dates."""

    def __init__(self, port: Port, width: int, depth: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.spatial = Separable(len(port.bands), width)
        self.days = DayEncoding(width) if port.kind == "series" else None
        self.token = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def encode(self, item: Modality) -> Tensor:
        """One token per date: ``[B, T, D, H, W]``."""
        batch, dates = item.valid.shape[:2]
        return torch.unflatten(self.spatial(item.data.flatten(0, 1)), 0, (batch, dates))

    def collect(self, features: Tensor, valid: Tensor, doy: Tensor) -> Tensor:
        """``[B, T, D, H, W]``, ``[B, T, H, W]``, ``[B, T]`` → ``[B, D, H, W]``."""
        batch, dates, width, height, across = features.shape
        if self.days is not None:
            features = features + self.days(doy)[:, :, :, None, None]
        tokens = features.permute(0, 3, 4, 1, 2).reshape(-1, dates, width)  # [B·H·W, T, D]
        mask = valid.permute(0, 2, 3, 1).reshape(-1, dates)
        step = max(1, _CHUNK_TOKENS // (dates + 1))
        parts = zip(torch.split(tokens, step), torch.split(mask, step), strict=True)
        if torch.is_grad_enabled() and len(tokens) > step:  # what a chunk computed on its way is computed again
            out = torch.cat([checkpoint(self._attend, *part, use_reentrant=False) for part in parts])
        else:
            out = torch.cat([self._attend(*part) for part in parts])
        return out.view(batch, height, across, width).permute(0, 3, 1, 2)

    def _attend(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """``[N, T, D]``, ``[N, T]`` → the class token's ``[N, D]``."""
        x = torch.cat([self.token.to(tokens.dtype).expand(len(tokens), 1, -1), tokens], 1)
        mask = functional.pad(mask, (1, 0), value=True)
        for block in self.blocks:
            x = block(x, mask)
        out: Tensor = self.norm(x[:, 0])
        return out

    def forward(self, item: Modality) -> Tensor:
        """``[B, D, H, W]``."""
        return self.collect(self.encode(item), item.valid, item.doy)


class LiteralBranch(nn.Module):
    """Dates as channels (eq. 1 as printed), then a transformer over the pixels of each patch."""

    def __init__(self, port: Port, width: int, depth: int, heads: int, hidden: int, dropout: float, patch: int) -> None:
        super().__init__()
        self.length = port.length if port.kind == "series" else 1
        self.patch = patch
        self.spatial = nn.Sequential(Separable(dates_as_channels(port), width), Separable(width, width))
        self.token = nn.Parameter(torch.randn(width) * 0.02)
        self.position = nn.Parameter(torch.randn(patch * patch, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, item: Modality) -> Tensor:
        """``[B, D, H, W]``; H and W are multiples of the patch."""
        item = ordered(item, self.length)
        x = self.spatial(item.data.flatten(1, 2))
        valid = item.valid.any(1)
        x = torch.where(valid.unsqueeze(1), x, self.token.to(x.dtype)[None, :, None, None])
        batch, width, height, across = x.shape
        rows, columns, edge = height // self.patch, across // self.patch, self.patch
        x = x.view(batch, width, rows, edge, columns, edge).permute(0, 2, 4, 3, 5, 1)
        tokens = x.reshape(-1, edge * edge, width) + self.position  # [B · patches, pixels, D]
        for block in self.blocks:
            tokens = block(tokens)
        x = self.norm(tokens).view(batch, rows, columns, edge, edge, width)
        out: Tensor = x.permute(0, 5, 1, 3, 2, 4).reshape(batch, width, height, across)
        return out


class ChannelAttention(nn.Module):
    """w = sigmoid(W2 relu(W1 mean(F))), F · w; the mean is over the patch around each pixel."""

    def __init__(self, width: int, reduction: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.squeeze = nn.Conv2d(width, max(1, width // reduction), 1)
        self.excite = nn.Conv2d(max(1, width // reduction), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, D, H, W]`` → the same."""
        gate = functional.relu(self.squeeze(local_mean(x, self.patch)))
        out: Tensor = x * torch.sigmoid(self.excite(gate))
        return out


class Model(nn.Module):
    """Any number of series and images → logits ``[B, K, H, W]``.

    Args:
        ports: Inputs, one branch each; at least one.
        n_classes: K.
        mode: ``temporal``: tokens are dates; ``literal``: dates are channels (every series needs a fixed length).
        width: Features per branch.
        depth: Transformer blocks.
        heads: Attention heads.
        hidden: Width of the transformer's hidden layer.
        reduction: Of the channel attention.
        patch: Edge in pixels of the patch that the channel attention averages over (and of `literal`'s attention).
        dropout: In the transformer.
    """

    SOURCE: ClassVar[str] = "Chen et al., Land Cover Classification Based on Multimodal Remote Sensing Fusion"
    LICENCE: ClassVar[str] = "Apache-2.0"
    TINY: ClassVar[dict[str, Any]] = {
        "width": 8,
        "depth": 1,
        "heads": 2,
        "hidden": 12,
        "reduction": 2,
        "patch": 8,
        "dropout": 0.0,
    }
    REFERENCE: ClassVar[Reference] = Reference(
        (
            Port("ndvi", "series", ("ndvi",), 10.0, "1"),
            Port("backscatter", "series", ("vv", "vh"), 10.0, "gamma0_linear", "db"),
            Port("decomposition", "series", ("entropy", "alpha", "anisotropy"), 10.0, "1"),
        ),
        7,
        16,
        dates=12,
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        mode: Literal["temporal", "literal"] = "temporal",
        width: int = 256,
        depth: int = 3,
        heads: int = 8,
        hidden: int = 1296,
        reduction: int = 16,
        patch: int = 16,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not ports:
            raise ValueError("no input: give at least one port")
        if mode not in {"temporal", "literal"}:
            raise ValueError(f"mode = {mode!r}: choose temporal or literal")
        self.ports = tuple(ports)
        self.width = width
        self.multiple = patch if mode == "literal" else 1
        sizes = (width, depth, heads, hidden, dropout)
        self.branches = nn.ModuleDict(
            {
                p.name: TemporalBranch(p, *sizes) if mode == "temporal" else LiteralBranch(p, *sizes, patch)
                for p in ports
            }
        )
        self.attention = ChannelAttention(width * len(ports), reduction, patch)
        self.head = nn.Conv2d(width * len(ports), n_classes, 1)

    def embed(self, inputs: dict[str, Modality]) -> Tensor:
        """Fused features ``[B, width · inputs, H, W]``, before the classifier (what contrastive learning compares)."""
        aligned, (height, width) = align(inputs, self.ports, self.multiple)
        whole = complete(aligned, self.ports)
        fused: Tensor = self.attention(torch.cat([self.branches[name](item) for name, item in whole.items()], 1))
        return fused[..., :height, :width]

    def _only_branch(self) -> TemporalBranch:
        branch = self.branches[self.ports[0].name]
        if len(self.ports) != 1 or not isinstance(branch, TemporalBranch):
            raise ValueError("multibranch has features per date with one input in mode temporal only")
        return branch

    def encode(self, inputs: dict[str, Modality]) -> Features:
        """Features of every date by itself, for reconstruction of missing dates; one input, mode `temporal`.

        Raises:
            ValueError: Several inputs, or mode `literal`.
        """
        branch = self._only_branch()
        aligned, size = align(inputs, self.ports, 1)
        item = aligned[self.ports[0].name]
        return Features(branch.encode(item), item.valid, item.doy, size)

    def predict(self, features: Features) -> Tensor:
        """Logits ``[B, K, H, W]`` from features per date."""
        collected = self._only_branch().collect(features.x, features.valid, features.doy)
        logits: Tensor = self.head(self.attention(collected))
        return logits

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        logits: Tensor = self.head(self.embed(inputs))
        return logits
