"""Training, prediction, assessment, report."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from landcover_cli.config.base import Section


class TrainConfig(Section):
    """The network and how it is trained."""

    model: str = Field("fusion_utae", description="Model plug-in (see `lc plugins`).")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the network.")
    inputs: tuple[str, ...] = Field((), description="Sources to learn from; default: all.")
    objective: str = Field("cross_entropy", description="Objective plug-in (see `lc plugins`).")
    objective_options: dict[str, Any] = Field(default_factory=dict, description="Options of the objective.")
    epochs: int = Field(30, ge=1, le=10_000, description="Passes over the training patches.")
    batch: int = Field(8, ge=1, le=4096, description="Patches per step.")
    accumulate: int = Field(
        1, ge=1, le=4096, description="Steps whose gradients make one update together: larger batches than fit."
    )
    optimiser: Literal["adamw", "adam", "sgd"] = Field("adamw", description="Optimiser.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD.")
    learning_rate: float = Field(4e-3, gt=0, le=10, description="Peak learning rate.")
    schedule: Literal["one_cycle", "cosine", "poly", "constant"] = Field(
        "one_cycle",
        description="Up over `warmup` of the updates, then down: `one_cycle` and `cosine` along a cosine, `poly` as "
        "(1 - share)^`poly_power`; or constant from the first update on.",
    )
    poly_power: float = Field(0.9, gt=0, description="Power of the schedule `poly`.")
    warmup: float = Field(0.15, ge=0, lt=1, description="Share of the updates in which the learning rate rises.")
    weight_decay: float = Field(1e-2, ge=0, description="Weight decay (convolution and linear weights).")
    clip: float | None = Field(1.0, gt=0, description="Greatest norm of an update's gradient; null: not limited.")
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay of a running average of the weights, which is validated and kept in their place; 0: none.",
    )
    patience: int | None = Field(
        None, ge=1, description="Epochs without a better `select` after which training ends; null: all `epochs`."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Label smoothing of cross-entropy and focal loss.")
    class_weights: Literal["none", "sqrt", "inverse"] = Field(
        "none", description="Weight of a class in the loss: none, 1 / sqrt(pixels), 1 / pixels."
    )
    augment: bool = Field(
        True, description="Flips, quarter turns, and what the keys from `drop_dates` to `jitter_days` say."
    )
    drop_dates: float = Field(0.3, ge=0, lt=1, description="Most of a series' dates that a variant of a patch lacks.")
    drop_inputs: float = Field(0.2, ge=0, le=1, description="How often a variant of a patch lacks an optional input.")
    rotate: float = Field(0.0, ge=0, le=1, description="How often a variant is rotated by any angle.")
    warp: float = Field(0.0, ge=0, le=1, description="How often a variant is warped smoothly, by up to `warp_m`.")
    warp_m: float = Field(30.0, ge=0, description="Greatest displacement of a warp in metres.")
    noise: float = Field(0.0, ge=0, description="Gaussian noise on valid values, in standard deviations of the band.")
    stretch: float = Field(0.0, ge=0, le=1, description="How often a band is stretched linearly from 2 to 98 %.")
    solarize: float = Field(
        0.0, ge=0, le=1, description="How often the upper half of a band's range (2 to 98 %) is mirrored down."
    )
    jitter_days: int = Field(0, ge=0, le=182, description="Most days that a series is shifted by, either way.")
    select: Literal["overall_accuracy", "macro_f1", "mean_iou", "average_accuracy", "loss"] = Field(
        "overall_accuracy", description="Validation figure that decides which epoch's weights are kept."
    )
    samples: int = Field(
        0, ge=0, le=400, description="Validation patches on a sheet with pictures, labels and predictions; 0: no sheet."
    )
    seed: int = Field(0, ge=0, description="Seed of weights, order and augmentation.")
    threads: int = Field(
        2, ge=1, le=1024, description="Compute threads; a parameter, because it decides the last bits of the weights."
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Arithmetic of forward and backward passes; float16 with a scaled loss, for GPUs."
    )


class PredictConfig(Section):
    """How the map is made from the model."""

    stride_px: int | None = Field(
        None, ge=1, description="Step between windows in pixels; default: three quarters of the model's patch."
    )
    batch: int = Field(8, ge=1, description="Windows per forward pass; the last batch is padded to it.")
    blend: Literal["linear", "hann", "trim"] = Field("linear", description="How overlapping windows are joined.")
    probabilities: bool = Field(False, description="Also write one scaled uint8 probability band per class.")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="Arithmetic of the forward pass.")


class AssessConfig(Section):
    """What the map is compared with."""

    source: str | None = Field(None, description="Reference raster or vector; default: the labels of the test split.")
    attribute: str | None = Field(None, description="Attribute of vector references with the class code or name.")
    layer: str | None = Field(None, description="Layer of a GeoPackage, or variable of a NetCDF.")
    crosswalk: str | None = Field(None, description="Crosswalk file from the reference's codes to the legend's.")
    ignore: tuple[int, ...] = Field((), description="Codes that mean `no reference`.")
    rule: Literal["centre", "all_touched"] = Field("centre", description="Which pixels a reference polygon labels.")
    exclude_training: bool = Field(True, description="Leave out ground that a training or validation patch covers.")
    design: Literal["none", "stratified", "random"] = Field(
        "none",
        description="How the reference was drawn: `stratified` by the map's classes or simple `random` gives areas and "
        "accuracy with standard errors; `none`: the figures are counts over the reference ground and claim no more.",
    )


class ReportConfig(Section):
    """The HTML page."""

    title: str = Field("Land-cover map", description="Heading of the page.")
