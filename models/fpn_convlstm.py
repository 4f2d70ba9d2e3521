"""FPN-ConvLSTM: a feature pyramid of every date, one ConvLSTM over dates at each of its levels.

Sources: Lin et al., "Feature Pyramid Networks" (CVPR 2017); Shi et al., "Convolutional LSTM Network" (NeurIPS 2015);
named as a comparison in the STSNet paper (0.76 M parameters), which gives no layers. Reconstructed: three levels of
widths 32, 64, 128, pyramid width 64, one ConvLSTM whose weights all levels share, levels summed at full size.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models._recurrent import ConvLSTM, last_state
from models.batch import Modality
from models.layers import align, one_series, ordered, resize
from models.spec import Port, Reference, bands


def _level(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for before, step in ((c_in, stride), (c_out, 1)):
        conv = nn.Conv2d(before, c_out, 3, step, 1, bias=False)
        parts += [conv, nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts)


class Model(nn.Module):
    """One series of any length → logits ``[B, K, H, W]``.

    Args:
        ports: One series.
        n_classes: K.
        widths: Features per level; each further level halves rows and columns.
        width: Features of the pyramid and of the states.
    """

    SOURCE: ClassVar[str] = "after Lin et al., CVPR 2017, and Shi et al., NeurIPS 2015"
    LICENCE: ClassVar[str] = "Apache-2.0"
    TINY: ClassVar[dict[str, Any]] = {"widths": [6, 8], "width": 6}
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("s2", "series", bands(10), 10.0, "reflectance"),), 8, 32, dates=31, printed="0.76 M"
    )

    def __init__(
        self, ports: Sequence[Port], n_classes: int, *, widths: Sequence[int] = (32, 64, 128), width: int = 64
    ) -> None:
        super().__init__()
        port = one_series(ports, "fpn_convlstm")
        self.ports = tuple(ports)
        pairs = list(pairwise([len(port.bands), *widths]))
        self.levels = nn.ModuleList(_level(a, b, 2 if i else 1) for i, (a, b) in enumerate(pairs))
        self.lateral = nn.ModuleList(nn.Conv2d(w, width, 1) for w in widths)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in widths)
        self.recurrence = ConvLSTM(width, width)
        self.head = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, n_classes, 1),
        )

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, (height, width) = align(inputs, self.ports, 1 << (len(self.levels) - 1))
        item = ordered(aligned[self.ports[0].name], observed=True)
        x, maps = item.data.flatten(0, 1), []  # [B · T, C, H, W]
        for level in self.levels:
            x = level(x)
            maps.append(x)
        above: Tensor | None = None
        total: Tensor | None = None
        for lateral, smooth, found in zip(reversed(self.lateral), reversed(self.smooth), reversed(maps), strict=True):
            above = lateral(found) if above is None else lateral(found) + resize(above, found.shape[-2:])
            dates = torch.unflatten(smooth(above), 0, item.present.shape)  # [B, T, D, h, w]
            state = resize(last_state(self.recurrence(dates), item.present), maps[0].shape[-2:])
            total = state if total is None else total + state
        logits: Tensor = self.head(total)
        return logits[..., :height, :width]
