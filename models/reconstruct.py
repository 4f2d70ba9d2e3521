"""Joint reconstruction and prediction for incomplete series: missing dates get features, classes come from all.

Source of the idea: joint feature reconstruction and prediction for incomplete satellite image time series
(arXiv:2505.19159): a student that reconstructs, in feature space, what prediction needs of the dates it lacks. No code
is public; the network is ours (see `models._backbone`). The losses that go with it (a frozen teacher on complete
series, distilled logits, cosine distance of reconstructed features) belong to a training objective, which finds the
halves it needs in `encode`, `fill` and `predict`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

from torch import Tensor, nn

from models import multibranch, series_ltae
from models._backbone import Backbone, Features, Reconstructor
from models.batch import Modality
from models.layers import one_series
from models.spec import Port, Reference, bands

_BACKBONES: dict[str, type[nn.Module]] = {"series_ltae": series_ltae.Model, "multibranch": multibranch.Model}


class Model(nn.Module):
    """One series of any length → logits ``[B, K, H, W]``.

    Every real date of the calendar (one with a day of year) that a pixel did not observe is reconstructed there;
    padding is not.

    Args:
        ports: One series.
        n_classes: K.
        backbone: Network in two halves.
        options: Its options; default its own defaults.
        layers: Attention layers of the reconstructor.
        heads: Their heads.
    """

    SOURCE: ClassVar[str] = "after joint feature reconstruction and prediction, arXiv:2505.19159; own design"
    LICENCE: ClassVar[str] = "Apache-2.0"
    STRIDE: ClassVar[int] = 2
    TINY: ClassVar[dict[str, Any]] = {"options": series_ltae.Model.TINY, "layers": 1, "heads": 2}
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("s2", "series", bands(10), 10.0, "reflectance"),), 10, 128, dates=24
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        backbone: Literal["series_ltae", "multibranch"] = "series_ltae",
        options: Mapping[str, Any] | None = None,
        layers: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__()
        one_series(ports, "reconstruct")
        if backbone not in _BACKBONES:
            raise ValueError(f"backbone = {backbone!r}: choose from {', '.join(_BACKBONES)}")
        self.ports = tuple(ports)
        self.backbone = _BACKBONES[backbone](ports, n_classes, **dict(options or {}))
        self.reconstructor = Reconstructor(cast(int, self.backbone.width), layers, heads)

    @property
    def halves(self) -> Backbone:
        """The backbone, as what it promises."""
        return cast(Backbone, self.backbone)

    def encode(self, inputs: dict[str, Modality]) -> Features:
        """Features of the observed dates."""
        return self.halves.encode(inputs)

    def fill(self, features: Features) -> Features:
        """The same with the dates that pixels lack."""
        real = (features.doy > 0)[:, :, None, None]
        filled: Features = self.reconstructor(features, real.expand_as(features.valid))
        return filled

    def predict(self, features: Features) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        return self.halves.predict(features)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        return self.predict(self.fill(self.encode(inputs)))
