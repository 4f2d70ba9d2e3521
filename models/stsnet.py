"""STSNet: a fine image with many bands and a coarse series, joined at the image's coarsest map.

Source: Yu, Li, Huang, "STSNet", Information Fusion 2024: 249 bands at 1 m (300×300 px) with 10 bands × 31 dates at
10 m (30×30 px), 8 classes. Own implementation; the parts are `stsnet_spectral` and `stsnet_temporal`, which stand
alone, too. Printed total 28.71 M, less than the sum of the printed parts: the series' decoder takes no part in it.

The fusion is F = F_SS + α (F_SS · W_SS + F_ST · W_ST) with α = (fine pixel / coarse pixel)², 1/100 for 1 m with 10 m
and 1/900 for 1 m with 30 m; `alpha` overrides it. Reconstructed: F_ST is the mean over dates of the second block's
output, brought to the image's width by a 1×1 convolution and to its pixels by bilinear interpolation. So the number of
dates is free, and the series may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models._fusions import FUSIONS, Fusion, Weights
from models.batch import Modality
from models.layers import align, resize
from models.spec import Port, Reference, bands
from models.stsnet_spectral import SpectralDecoder, SpectralEncoder, spectral_widths
from models.stsnet_temporal import TemporalEncoder, prepare


class Model(nn.Module):
    """One image and one coarser series → logits ``[B, K, H, W]`` at the image's pixels.

    Args:
        ports: One image and one series; the series may be optional.
        n_classes: K.
        widths: Of the image's four branches; None: the number of bands.
        series_widths: D2 and the widths of the two spatio-temporal blocks.
        heads: Attention heads of the two blocks.
        window: Dates, rows, columns of an attention window.
        mlp_ratio: Hidden width of the MLPs over their width.
        fusion: ``weights`` (the paper's), or one that it compares with: direct, mse, affb, ffm, dpfn.
        weights: Form of the paper's fusion: ``code`` or ``equation``.
        alpha: Weight of the fused part; default (fine pixel / coarse pixel)².
        gates: Spectral gates in ``all`` branches or the ``first``.
        decoder: ``concat`` or ``sum``.
        reduction: Of the spectral gates.
    """

    SOURCE: ClassVar[str] = "Yu, Li, Huang, STSNet, Information Fusion 2024"
    LICENCE: ClassVar[str] = "Apache-2.0"
    STRIDE: ClassVar[int] = 4
    TINY: ClassVar[dict[str, Any]] = {
        "widths": [8, 8, 16, 16],
        "series_widths": [4, 8, 8],
        "heads": [2, 2],
        "window": [4, 4, 4],
        "mlp_ratio": 1,
        "reduction": 2,
    }
    REFERENCE: ClassVar[Reference] = Reference(
        (
            Port("hyperspectral", "image", bands(249), 1.0, "reflectance"),
            Port("s2", "series", bands(10), 10.0, "reflectance"),
        ),
        8,
        300,
        dates=31,
        printed="28.71 M",
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        widths: Sequence[int | None] = (None, 300, 512, 512),
        series_widths: Sequence[int] = (16, 88, 176),
        heads: Sequence[int] = (4, 8),
        window: Sequence[int] = (2, 7, 7),
        mlp_ratio: int = 4,
        fusion: Literal["weights", "direct", "mse", "affb", "ffm", "dpfn"] = "weights",
        weights: Literal["code", "equation"] = "code",
        alpha: float | None = None,
        gates: Literal["all", "first"] = "all",
        decoder: Literal["concat", "sum"] = "concat",
        reduction: int = 16,
    ) -> None:
        super().__init__()
        if sorted(port.kind for port in ports) != ["image", "series"]:
            raise ValueError("stsnet takes one image and one series; for one of them use stsnet_spectral or _temporal")
        if fusion not in FUSIONS:
            raise ValueError(f"fusion = {fusion!r}: choose from {', '.join(FUSIONS)}")
        self.ports = tuple(ports)
        self.image, self.series = sorted(ports, key=lambda port: port.kind)
        if self.image.optional:
            raise ValueError(f"{self.image.name}: stsnet cannot do without the image")
        channels = len(self.image.bands)
        filled = spectral_widths(widths, channels)
        self.encoder = SpectralEncoder(channels, filled, gates, reduction)
        self.series_encoder = TemporalEncoder(len(self.series.bands), series_widths, heads, window, mlp_ratio)
        self.project = nn.Conv2d(series_widths[-1], filled[-1], 1)
        weight = (self.image.gsd_m / self.series.gsd_m) ** 2 if alpha is None else alpha
        self.fusion: Fusion = (
            Weights(filled[-1], weight, weights) if fusion == "weights" else FUSIONS[fusion](filled[-1], weight)
        )
        self.decoder = SpectralDecoder(filled, n_classes, decoder)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, (height, width) = align(
            {name: item for name, item in inputs.items() if name == self.image.name}, (self.image,), 4
        )
        image = aligned[self.image.name].data[:, 0]  # [B, C, H, W]
        maps = self.encoder(image)
        item = inputs.get(self.series.name)
        if item is None and not self.series.optional:
            raise ValueError(f"inputs missing: {self.series.name}")
        if item is not None:
            coarse, observed = self._coarse(item, maps[-1].shape[-2:])
        else:
            coarse, observed = torch.zeros_like(maps[-1]), maps[-1].new_zeros(len(image))
        logits = resize(self.decoder([*maps[:-1], self.fusion(maps[-1], coarse, observed)]), image.shape[-2:])
        return logits[..., :height, :width]

    def _coarse(self, item: Modality, size: torch.Size) -> tuple[Tensor, Tensor]:
        """The series' map at the image's coarsest pixels ``[B, C, h, w]``, and which samples have one ``[B]``."""
        ratio = self.series.gsd_m / self.image.gsd_m
        aligned, _ = align({self.series.name: item}, (self.series,), 4)
        series = aligned[self.series.name]
        x, there = prepare(series, None)
        deep, masks = self.series_encoder(x, there)
        count = masks[-1].sum(1).clamp_min(1).view(-1, 1, 1, 1)
        found = self.project(deep[-1].sum(2) / count)  # [B, C, h', w']
        # A cell of the image's coarsest map is 32 fine pixels wide, one of the series' map 4 coarse ones.
        return sample_cells(found, size, 32 / (4 * ratio)), there.any(1)


def sample_cells(x: Tensor, size: torch.Size, step: float) -> Tensor:
    """Bilinear values of a map at the centres of another's cells; both start at the same corner.

    Args:
        x: ``[B, C, h', w']``.
        size: Rows and columns of the other map.
        step: Width of its cells in cells of `x`.
    """
    rows, columns = (
        (torch.arange(cells, device=x.device, dtype=torch.float32) + 0.5) * step * 2 / there - 1
        for cells, there in zip(size, x.shape[-2:], strict=True)
    )
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)  # [h, w, 2] as x, y in -1 .. 1
    grid = grid.expand(len(x), -1, -1, -1)
    found = functional.grid_sample(x.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found.to(x.dtype)
