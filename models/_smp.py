"""``smp:<architecture>:<encoder>``: segmentation-models-pytorch over its own encoders or over timm's (``tu-...``).

Source: the libraries' own (segmentation-models-pytorch, MIT; timm, Apache-2.0), the optional extra ``encoders``. Fresh
weights only: nothing is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from models.batch import Modality
from models.layers import align, dates_as_channels, resize, stack_images
from models.spec import Port


class Model(nn.Module):
    """Images (or series of a fixed length, dates as channels) → logits ``[B, K, H, W]``.

    Args:
        ports: Inputs; their bands are stacked.
        n_classes: K.
        options: Further arguments of the library's network (``decoder_channels``, ``encoder_depth``, ...).
        multiple: Rows and columns are padded to a multiple of it.
    """

    ARCHITECTURE: ClassVar[str] = ""
    ENCODER: ClassVar[str] = ""
    SOURCE: ClassVar[str] = "segmentation-models-pytorch"
    LICENCE: ClassVar[str] = "MIT (segmentation-models-pytorch), Apache-2.0 (timm)"
    FIXED_T: ClassVar[bool] = True
    TINY: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        options: Mapping[str, Any] | None = None,
        multiple: int = 32,
    ) -> None:
        super().__init__()
        self.ports, self.multiple = tuple(ports), multiple
        channels = sum(dates_as_channels(port) for port in ports)
        try:
            self.network: nn.Module = smp.create_model(
                self.ARCHITECTURE,
                encoder_name=self.ENCODER,
                encoder_weights=None,
                in_channels=channels,
                classes=n_classes,
                **dict(options or {}),
            )
        except KeyError as error:
            raise ValueError(f"smp:{self.ARCHITECTURE}:{self.ENCODER}: {error}") from None

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, (height, width) = align(inputs, self.ports, self.multiple)
        image = stack_images(aligned, self.ports)
        return resize(self.network(image), image.shape[-2:])[..., :height, :width]


def network(name: str) -> type[Model]:
    """The network class of ``<architecture>:<encoder>``.

    Raises:
        ValueError: Not of that form.
    """
    architecture, _, encoder = name.partition(":")
    if not architecture or not encoder:
        raise ValueError(f"smp:{name}: write smp:<architecture>:<encoder>, e.g. smp:unet:resnet34")
    return type(
        "Model",
        (Model,),
        {"ARCHITECTURE": architecture, "ENCODER": encoder, "SOURCE": f"{Model.SOURCE}: {architecture} on {encoder}"},
    )
