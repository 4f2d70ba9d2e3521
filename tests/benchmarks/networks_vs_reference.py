"""Networks beside a straightforward reference, CPU seconds of one thread, both in one run, alternating.

ConvLSTM beside a loop that convolves inputs and state together, the transformer of TSViT beside torch's own encoder,
ResNet-18 and Swin-T beside timm's (skipped without timm). Prints ours / reference; below 1 means that lc is quicker.

    OMP_NUM_THREADS=1 PYTHONPATH=. python tests/benchmarks/networks_vs_reference.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from models._recurrent import ConvLSTM
from models._resnet import ResNet
from models._swin import SwinEncoder
from models.tsvit import Transformer


def naive_convlstm(cell: ConvLSTM, x: Tensor) -> Tensor:
    """The equations, date by date, with one convolution of inputs and state side by side."""
    weight = torch.cat([cell.inputs.weight, cell.state.weight], 1)
    h = c = x.new_zeros(x.shape[0], cell.width, *x.shape[-2:])
    states = []
    for date in range(x.shape[1]):
        gates = nn.functional.conv2d(torch.cat([x[:, date], h], 1), weight, cell.inputs.bias, padding=1)
        i, f, o, g = gates.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        states.append(h)
    return torch.stack(states, 1)


def ratio(ours: Callable[[], object], reference: Callable[[], object], repeat: int) -> tuple[float, float, float]:
    """Median of ours / reference over pairs, and the median seconds of both."""
    ours(), reference()
    pairs = []
    for _ in range(repeat):
        seconds = []
        for run in (ours, reference):
            start = time.process_time()
            run()
            seconds.append(time.process_time() - start)
        pairs.append(seconds)
    return (
        statistics.median(a / b for a, b in pairs),
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
    )


def pairs(size: int) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """What is compared."""
    torch.manual_seed(0)
    found: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {}
    cell, series = ConvLSTM(10, 32).eval(), torch.randn(2, 12, 10, size // 2, size // 2)
    torch.testing.assert_close(cell(series), naive_convlstm(cell, series), rtol=1e-4, atol=1e-5)
    found["ConvLSTM"] = (lambda: cell(series), lambda: naive_convlstm(cell, series))

    ours = Transformer(128, 4, 4, 32, 512, 0.0).eval()
    layer = nn.TransformerEncoderLayer(128, 4, 512, 0.0, "gelu", batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, 4, nn.LayerNorm(128), enable_nested_tensor=False).eval()
    tokens, mask = torch.randn(size * size // 16, 50, 128), torch.rand(size * size // 16, 50) > 0.3
    mask[:, 0] = True
    found["transformer over dates"] = (
        lambda: ours(tokens, mask),
        lambda: theirs(tokens, src_key_padding_mask=~mask),
    )
    try:
        import timm
    except (ImportError, RuntimeError):
        print("timm is not there: ResNet-18 and Swin-T are left out")
        return found
    image = torch.randn(2, 10, 224, 224)
    resnet = ResNet(10, (2, 2, 2, 2), bottleneck=False).eval()
    timm_resnet = timm.create_model("resnet18", in_chans=10, features_only=True, out_indices=(1, 2, 3, 4)).eval()
    found["ResNet-18"] = (lambda: resnet(image), lambda: timm_resnet(image))
    swin = SwinEncoder(10, 96, (2, 2, 6, 2), (3, 6, 12, 24), 7, 4).eval()
    timm_swin = timm.create_model("swin_tiny_patch4_window7_224", in_chans=10, features_only=True).eval()
    found["Swin-T"] = (lambda: swin(image), lambda: timm_swin(image))
    return found


def main() -> None:
    """Print one line per pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64, help="edge of the patches in pixels")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with torch.inference_mode():
        for name, (ours, reference) in pairs(arguments.size).items():
            found, a, b = ratio(ours, reference, arguments.repeat)
            print(f"{name:24} ours / reference {found:.2f}  ({a:.2f} s, {b:.2f} s)")


if __name__ == "__main__":
    main()
