"""Convolutions on every date, then L-TAE over dates: a small network in two halves, for incomplete series.

Source: Garnot & Landrieu, "Lightweight Temporal Self-Attention" (AALTD 2020) for the attention over dates; own design
for the rest. One of the two backbones (with `multibranch`) that reconstruction of missing dates is built on: `encode`
gives features per date at half the resolution, `predict` classes from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from models._backbone import Features
from models.batch import Modality
from models.fusion_utae import Collapse, Encoder, TemporalAttention, encode_dates
from models.layers import ConvBlock, align, channels_last_, one_series, resize
from models.spec import Port, Reference, bands


class Model(nn.Module):
    """One series of any length → logits ``[B, K, H, W]``, decided at stride 2.

    Args:
        ports: One series.
        n_classes: K.
        widths: Features at strides 1 and 2; the last is that of the features per date.
        heads: Attention heads; divides the last width.
        key_width: Width of keys and queries.
        decoder: Features of the map after the dates are collapsed.
    """

    SOURCE: ClassVar[str] = "after Garnot & Landrieu, L-TAE, AALTD 2020; own design"
    LICENCE: ClassVar[str] = "Apache-2.0"
    STRIDE: ClassVar[int] = 2
    TINY: ClassVar[dict[str, Any]] = {"widths": [8, 8], "heads": 2, "key_width": 4, "decoder": 8}
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("s2", "series", bands(10), 10.0, "reflectance"),), 10, 128, dates=24
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        widths: Sequence[int] = (32, 64),
        heads: int = 8,
        key_width: int = 8,
        decoder: int = 64,
    ) -> None:
        super().__init__()
        port = one_series(ports, "series_ltae")
        if widths[-1] % heads:
            raise ValueError(f"heads = {heads} does not divide the last width {widths[-1]}")
        self.ports = tuple(ports)
        self.width = widths[-1]
        self.encoder = Encoder(len(port.bands) + 1, widths)
        self.attention = TemporalAttention(widths[-1], heads, key_width)
        self.collapse = Collapse(widths[-1], heads, decoder)
        self.decoder = nn.Sequential(ConvBlock(decoder, decoder), ConvBlock(decoder, decoder))
        self.head = nn.Conv2d(decoder, n_classes, 1)
        channels_last_(self)

    def encode(self, inputs: dict[str, Modality]) -> Features:
        """Features of every date by itself, at the coarsest level's pixels."""
        aligned, size = align(inputs, self.ports, 1 << (len(self.encoder.levels) - 1))
        item = aligned[self.ports[0].name]
        maps, masks = encode_dates(self.encoder, item)
        x = maps[-1].unflatten(0, item.valid.shape[:2])  # type: ignore[no-untyped-call]
        return Features(x, masks[-1], item.doy, size)

    def predict(self, features: Features) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        x, valid, doy, (height, width) = features
        collapsed = self.collapse(x, self.attention(x, valid, doy), valid)
        logits: Tensor = self.head(self.decoder(collapsed))
        step = 1 << (len(self.encoder.levels) - 1)
        return resize(logits, (step * logits.shape[-2], step * logits.shape[-1]))[..., :height, :width]

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        return self.predict(self.encode(inputs))
