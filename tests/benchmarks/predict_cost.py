"""What prediction costs beside the bare forward passes over the same windows, reading and writing included.

    python tests/benchmarks/predict_cost.py --size 3000 --network unet --precision bfloat16

Prints one line: seconds of the whole prediction, seconds of the bare passes on the same number of threads, their
ratio, and the peak of memory beyond the start. Both are timed in one run; compare ratios, not seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from landcover_cli.config.learning import PredictConfig
from landcover_cli.core.types import split_periods
from landcover_cli.core.unit import RunContext
from landcover_cli.core.windows import PixelBox
from landcover_cli.io.cubestore import CubeSeries, CubeSpec, CubeWriter
from landcover_cli.learn.predict_files import predict_to_files
from landcover_cli.learn.predictor import Predictor
from models.batch import Modality
from models.spec import ModelSpec, Port

BANDS, CLASSES, PATCH = ("a", "b", "c", "d"), 10, 256


def double(c_in: int, c_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (c_in, c_out):
        layers += [nn.Conv2d(before, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """A plain U-Net of 1.9 M parameters on the first date."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = [width << level for level in range(4)]
        self.down = nn.ModuleList(double(a, b) for a, b in zip([len(BANDS), *widths], widths, strict=False))
        self.up = nn.ModuleList(double(3 * w, w) for w in widths[-2::-1])
        self.head = nn.Conv2d(width, CLASSES, 1)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        x = inputs["s2"].data[:, 0].contiguous(memory_format=torch.channels_last)
        kept = []
        for level, layer in enumerate(self.down):
            x = layer(nn.functional.max_pool2d(x, 2) if level else x)
            kept.append(x)
        for layer, skip in zip(self.up, kept[-2::-1], strict=True):
            x = layer(torch.cat([nn.functional.interpolate(x, scale_factor=2), skip], 1))
        return self.head(x)


class OneConvolution(nn.Module):
    """The cheapest model that looks around itself: all cost is the harness's."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(len(BANDS), CLASSES, 3, padding=1)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        return self.layer(inputs["s2"].data[:, 0])


def write_cube(path: Path, size: int) -> PixelBox:
    bounds = (500_000.0, 5_200_000.0 - size * 10, 500_000.0 + size * 10, 5_200_000.0)
    periods = split_periods(date(2021, 1, 1), date(2021, 2, 1), "month")
    facts = ("s2", "s2", "series", BANDS, "reflectance_dn", 1e-4, -0.1, 10.0, "EPSG:32633", bounds, periods, "uint16")
    writer, rng = CubeWriter(path, CubeSpec(*facts)), np.random.default_rng(0)
    for row in range(0, size, 512):
        height = min(512, size - row)
        count = np.ones((height, size), np.uint16)
        values = rng.integers(1000, 6000, (len(BANDS), height, size), dtype=np.uint16)
        writer.write(0, row, 0, values, count > 0, count, count)
    writer.close()
    return PixelBox.from_bounds(bounds, 10.0)


def bare_seconds(network: nn.Module, batch: int, windows: int, precision: str, threads: int) -> float:
    torch.set_num_threads(threads)
    rest = (torch.ones(batch, 1, PATCH, PATCH, dtype=torch.bool), *(torch.zeros(batch, 1, dtype=torch.int64),) * 2)
    item = Modality(torch.randn(batch, 1, len(BANDS), PATCH, PATCH), *rest, torch.ones(batch, 1, dtype=torch.bool))
    cast = torch.autocast("cpu", dtype=torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
    passes = min(40, -(-windows // batch))
    with torch.inference_mode(), cast:
        network({"s2": item})
        started = time.perf_counter()
        for _ in range(passes):
            network({"s2": item})
        return (time.perf_counter() - started) / passes * windows / batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1500)
    parser.add_argument("--network", choices=["one", "unet"], default="one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--memory-gb", type=float, default=1.0)
    given = parser.parse_args()
    torch.manual_seed(0)
    network = (OneConvolution() if given.network == "one" else UNet()).eval()
    network = network.to(memory_format=torch.channels_last)
    port = Port("s2", "series", BANDS, 10.0, "reflectance_dn")
    classes = tuple({"code": k, "name": f"class {k}", "color": "#000000"} for k in range(CLASSES))
    spec = ModelSpec("bench", {}, (port,), classes, {"id": "bench", "version": "1"}, 10.0, PATCH, 0)
    with tempfile.TemporaryDirectory() as folder:
        box = write_cube(Path(folder) / "cube.zarr", given.size)
        cubes = {"s2": CubeSeries.open([Path(folder) / "cube.zarr"])}
        predictor = Predictor(spec, network, cubes, PredictConfig(batch=given.batch, precision=given.precision))
        context = RunContext(memory_bytes=int(given.memory_gb * 2**30), threads=given.threads)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        predict_to_files(predictor, box, Path(folder), context)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    windows = len(list(predictor.lattice.windows(box)))
    bare = bare_seconds(network, given.batch, windows, given.precision, given.threads)
    planned = predictor.memory_plan(box, context.memory_bytes, given.threads).total_bytes
    print(
        f"{given.network} {given.size}² {given.precision} {given.threads} threads: {windows} windows, "
        f"{seconds:.1f} s, bare {bare:.1f} s, ratio {seconds / bare:.2f}; "
        f"peak {peak / 1e6:.2f} GB, planned {planned / 2**30:.2f} GB"
    )


if __name__ == "__main__":
    main()
