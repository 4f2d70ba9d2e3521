"""A table of field points: `pixel_ltae` and a random forest of 300 trees, on the same series and held-away cells.

``python tests/benchmarks/points_vs_forest.py FOLDER [--seeds 3] [--epochs 40] [--inputs s1 s2] [--set KEY=VALUE]``
where FOLDER holds ``points_2017.parquet`` of worldcereal-canada-2017. Cells (h3, level 3) are dealt to training,
validation and test by the seed; the forest is fitted on training and validation cells together, the network keeps the
epoch that is best on validation cells. Prints overall accuracy and macro F1 on test cells, per seed and in the mean.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from landcover_cli.config.labels import SplitConfig, TableConfig, TileConfig
from landcover_cli.config.learning import TrainConfig
from landcover_cli.core.unit import RunContext
from landcover_cli.io.patchindex import read_index
from landcover_cli.io.patchstore import PatchStore
from landcover_cli.labels.crosswalk import parse_crosswalk
from landcover_cli.labels.legend import parse_legend
from landcover_cli.learn.loop import train
from landcover_cli.learn.metrics import Agreement
from landcover_cli.learn.tabling import make_table_patches

CODES = {
    1110: "winter wheat", 1120: "spring wheat", 1200: "maize", 1520: "spring barley", 4100: "soya", 5100: "potatoes",
    7920: "perennial legumes", 9120: "permanent grass",
}  # fmt: skip
LEGEND = parse_legend({"id": "canada", "classes": CODES}, "canada")
SOURCES = {
    "s2": {
        "bands": {band: f"S2-L2A-{band}" for band in ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B11", "B12")},
        "scale": 1e-4, "nodata": [65535],
    },
    # dB = 20 log10(DN) − 83 (SOURCE.md of the data).
    "s1": {
        "bands": {"VV": "S1-SIGMA0-VV", "VH": "S1-SIGMA0-VH"}, "exponent": 2, "scale": 10**-8.3,
        "units": "sigma0_linear", "nodata": [65535, 0],
    },
}  # fmt: skip


def features(folder: Path, indices: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Series of some points in a row, NaN where there is none, S1 in dB; and their class indices."""
    store = PatchStore(folder)
    rows, labels = [], []
    for index in indices:
        patch = store.read(index)
        parts = []
        for name, part in sorted(patch.inputs.items()):
            values = np.where(part.valid_tyx[:, 0, 0, None], part.data_tbyx[:, :, 0, 0], np.nan)
            parts.append((10 * np.log10(values) if name == "s1" else values).ravel())
        rows.append(np.concatenate(parts))
        labels.append(int(patch.labels_yx[0, 0]))
    return np.array(rows), np.array(labels)


def forest(folder: Path, seed: int) -> dict[str, float]:
    """Figures of a forest on the test points of a folder of patches."""
    from sklearn.ensemble import RandomForestClassifier

    index = read_index(folder)
    fit = features(folder, [i for i, record in enumerate(index) if record.split != "test"])
    test = features(folder, [i for i, record in enumerate(index) if record.split == "test"])
    found = RandomForestClassifier(300, random_state=seed, n_jobs=1).fit(*fit).predict(test[0])
    agreement = Agreement(len(CODES))
    agreement.feed(test[1], found)
    return agreement.result()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--inputs", nargs="+", default=["s1", "s2"])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other keys of the section train")
    args = parser.parse_args()
    document = {
        "path": "points_2017.parquet", "id": "sample_id", "time": "timestamp", "label": "CROPTYPE_LABEL",
        "group": "h3_l3_cell", "period": {"start": "2016-12", "end": "2017-11"},
        "sources": {name: SOURCES[name] for name in args.inputs},
    }  # fmt: skip
    crosswalk = parse_crosswalk({"map": {code: code for code in CODES}, "rest": "ignore"}, "keep", LEGEND)
    rows = []
    for seed in range(args.seeds):
        with tempfile.TemporaryDirectory() as scratch:
            patches, model = Path(scratch) / "patches", Path(scratch) / "model"
            patches.mkdir()
            model.mkdir()
            split = SplitConfig(method="attribute", ratios=(0.6, 0.15, 0.25))
            make_table_patches(
                TableConfig.model_validate(document), args.folder, LEGEND, TileConfig(split=split, seed=seed), patches,
                RunContext(), crosswalk=crosswalk,
            )  # fmt: skip
            given = {key: json.loads(value) for key, _, value in (text.partition("=") for text in args.set)}
            settings = {"model": "pixel_ltae", "epochs": args.epochs, "batch": 64, "seed": seed, "threads": 1} | given
            config = TrainConfig.model_validate(settings)
            ours = train(patches, model, config, RunContext(device="cpu"))["test"]
            theirs = forest(patches, seed)
        row = {
            "seed": seed, "points": ours["pixels"],
            **{f"network_{key}": ours[key] for key in ("overall_accuracy", "macro_f1")},
            **{f"forest_{key}": theirs[key] for key in ("overall_accuracy", "macro_f1")},
        }  # fmt: skip
        rows.append(row)
        print(json.dumps(row), flush=True)
    keys = [key for key in rows[0] if key not in {"seed", "points"}]
    print(json.dumps({key: round(float(np.mean([row[key] for row in rows])), 4) for key in keys}))


if __name__ == "__main__":
    main()
