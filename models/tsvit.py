"""TSViT: a transformer over dates with one token per class, then one over space; 1,657,476 parameters.

Source: Tarasiou, Chavez, Zafeiriou, "ViTs for SITS: Vision Transformers for Satellite Image Time Series" (CVPR 2023),
arXiv:2301.04944; sizes of the PASTIS configuration from the authors' public code (Apache-2.0): 10 bands, 24×24 px,
patches of 2×2, width 128, depths 4 and 4, 4 heads of 32. The count is that with 20 class tokens. Own implementation.

Ours: dates that a patch did not observe are masked as keys; larger maps are cut into blocks of 24×24 px, each with the
learned positions (the published network takes one such block).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models._transformer import Block
from models.batch import Modality
from models.layers import align, one_series, shrink_mask
from models.spec import Port, Reference, bands

_DAYS = 365


class Transformer(nn.Module):
    """Pre-norm blocks and a last norm."""

    def __init__(self, width: int, depth: int, heads: int, head_width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, head_width=head_width, bias=False, dropout=dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``[N, L, D]``, keys ``[N, L]``."""
        for block in self.blocks:
            x = block(x, mask)
        out: Tensor = self.norm(x)
        return out


class Model(nn.Module):
    """One series of any length → logits ``[B, K, H, W]``.

    Args:
        ports: One series.
        n_classes: K.
        block_px: Edge of the blocks within which patches see each other.
        patch: Edge of a patch in pixels; divides `block_px`.
        width: Features of a token.
        temporal_depth: Blocks over dates.
        spatial_depth: Blocks over patches.
        heads: Attention heads.
        head_width: Features per head.
        mlp_ratio: Hidden width of the MLPs over `width`.
        dropout: In both transformers.
    """

    SOURCE: ClassVar[str] = "Tarasiou et al., TSViT, CVPR 2023, arXiv:2301.04944"
    LICENCE: ClassVar[str] = "Apache-2.0"
    TINY: ClassVar[dict[str, Any]] = {
        "block_px": 8,
        "width": 8,
        "temporal_depth": 1,
        "spatial_depth": 1,
        "heads": 2,
        "head_width": 4,
        "mlp_ratio": 1,
    }
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("s2", "series", bands(10), 10.0, "reflectance"),),
        20,
        24,
        dates=60,
        parameters=1_657_476,
        printed="1.6 M; the STSNet paper prints 8.76 M for its comparison",
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        block_px: int = 24,
        patch: int = 2,
        width: int = 128,
        temporal_depth: int = 4,
        spatial_depth: int = 4,
        heads: int = 4,
        head_width: int = 32,
        mlp_ratio: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        port = one_series(ports, "tsvit")
        if block_px % patch:
            raise ValueError(f"block_px = {block_px} is no multiple of patch = {patch}")
        self.ports = tuple(ports)
        self.patch, self.side, self.n_classes = patch, block_px // patch, n_classes
        self.embed = nn.Linear(len(port.bands) * patch * patch, width)
        self.days = nn.Linear(_DAYS, width)
        self.classes = nn.Parameter(torch.randn(n_classes, width) * 0.02)
        sizes = (heads, head_width, mlp_ratio * width, dropout)
        self.temporal = Transformer(width, temporal_depth, *sizes)
        self.position = nn.Parameter(torch.randn(self.side * self.side, width) * 0.02)
        self.spatial = Transformer(width, spatial_depth, *sizes)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, patch * patch))

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, (height, width) = align(inputs, self.ports, self.patch * self.side)
        item = aligned[self.ports[0].name]
        batch, dates = item.valid.shape[:2]
        rows, columns = item.valid.shape[2] // self.patch, item.valid.shape[3] // self.patch
        seen = shrink_mask(item.valid.flatten(0, 1), (rows, columns)).view(batch, dates, rows, columns)
        tokens = self._over_dates(item, seen)  # [B, rows, columns, K, D]
        inside = torch.ones(1, 1, height, width, device=tokens.device)
        pad = (0, item.valid.shape[3] - width, 0, item.valid.shape[2] - height)
        inside = functional.max_pool2d(functional.pad(inside, pad), self.patch)[0, 0] > 0  # [rows, columns]
        values = self.head(self._over_space(tokens, inside))  # [B, rows, columns, K, p²]
        values = torch.unflatten(values, -1, (self.patch, self.patch)).permute(0, 3, 1, 4, 2, 5)
        logits: Tensor = values.reshape(batch, self.n_classes, rows * self.patch, columns * self.patch)
        return logits[..., :height, :width]

    def _over_dates(self, item: Modality, seen: Tensor) -> Tensor:
        """The class tokens of each patch after looking at its dates."""
        batch, dates, channels = item.data.shape[:3]
        rows, columns = seen.shape[-2:]
        x = item.data.view(batch, dates, channels, rows, self.patch, columns, self.patch)
        x = self.embed(x.permute(0, 3, 5, 1, 4, 6, 2).flatten(4))  # [B, rows, columns, T, D]
        day = functional.one_hot((item.doy - 1).clamp(0, _DAYS - 1), _DAYS).to(x.dtype)  # [B, T, 365]
        x = (x + self.days(day)[:, None, None]).flatten(0, 2)  # [B · patches, T, D]
        x = torch.cat([self.classes.to(x.dtype).expand(len(x), -1, -1), x], 1)
        mask = functional.pad(seen.permute(0, 2, 3, 1).flatten(0, 2), (self.n_classes, 0), value=True)
        out: Tensor = self.temporal(x, mask)[:, : self.n_classes]
        return out.reshape(batch, rows, columns, self.n_classes, -1)

    def _over_space(self, tokens: Tensor, inside: Tensor) -> Tensor:
        """The same tokens after each class looked at all patches of its block."""
        batch, rows, columns, classes, width = tokens.shape
        nr, nc, side = rows // self.side, columns // self.side, self.side
        x = tokens.view(batch, nr, side, nc, side, classes, width).permute(0, 5, 1, 3, 2, 4, 6)
        x = x.reshape(-1, side * side, width) + self.position  # [B · K · blocks, patches, D]
        mask = inside.view(nr, side, nc, side).permute(0, 2, 1, 3).reshape(1, nr * nc, side * side)
        mask = mask.expand(batch * classes, -1, -1).flatten(0, 1)
        out: Tensor = self.spatial(x, mask).view(batch, classes, nr, nc, side, side, width)
        return out.permute(0, 2, 4, 3, 5, 1, 6).reshape(batch, rows, columns, classes, width)
