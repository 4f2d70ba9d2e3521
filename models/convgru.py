"""ConvGRU: one recurrent layer over dates, classes from its last state.

Source: Ballas et al., "Delving Deeper into Convolutional Networks for Learning Video Representations", ICLR 2016.
Own implementation. Width 20 gives the 0.02 M parameters that the STSNet paper prints for its comparison: 17,708 with
10 bands and 8 classes. Dates without any observation are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from models._recurrent import ConvGRU, last_state
from models.batch import Modality
from models.layers import align, one_series, ordered
from models.spec import Port, Reference, bands


class Model(nn.Module):
    """One series of any length → logits ``[B, K, H, W]``.

    Args:
        ports: One series.
        n_classes: K.
        width: Features of the state.
        kernel: Edge of the convolutions.
    """

    SOURCE: ClassVar[str] = "Ballas et al., ConvGRU, ICLR 2016"
    LICENCE: ClassVar[str] = "Apache-2.0"
    TINY: ClassVar[dict[str, Any]] = {"width": 6}
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("s2", "series", bands(10), 10.0, "reflectance"),), 8, 30, dates=31, parameters=17_708, printed="0.02 M"
    )

    def __init__(self, ports: Sequence[Port], n_classes: int, *, width: int = 20, kernel: int = 3) -> None:
        super().__init__()
        port = one_series(ports, "convgru")
        self.ports = tuple(ports)
        self.recurrence = ConvGRU(len(port.bands), width, kernel)
        self.head = nn.Conv2d(width, n_classes, 3, padding=1)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, _ = align(inputs, self.ports, 1)
        item = ordered(aligned[self.ports[0].name], observed=True)
        states = self.recurrence(item.data)  # [B, T, D, H, W]
        logits: Tensor = self.head(last_state(states, item.present))
        return logits
