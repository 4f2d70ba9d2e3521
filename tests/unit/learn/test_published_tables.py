"""What published metric tables rest on, in the figures of training: AA, F1 = 2 IoU / (1 + IoU), trace / total."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from landcover_cli.assess.matrix import accuracy
from landcover_cli.learn.metrics import Agreement

# Yu et al., PE&RS 2021: printed average accuracy, and recall per present class, in percent.
PUBLISHED = {
    "validation baseline": (41.34, [62.61, 1.07, 48.21, 14.02, 43.54, 66.35, 0.21, 94.72]),
    "validation refined": (51.95, [85.67, 13.58, 26.23, 29.98, 75.04, 84.51, 3.74, 96.87]),
    "test baseline": (41.12, [60.04, 2.31, 50.05, 12.45, 41.59, 69.26, 0.37, 92.92]),
    "test refined": (50.18, [74.53, 14.17, 46.75, 28.48, 64.29, 77.78, 1.20, 94.22]),
}


@pytest.mark.parametrize("row", PUBLISHED)
def test_average_accuracy_is_the_mean_recall_of_present_classes(row: str) -> None:
    average, recalls = PUBLISHED[row]
    agreement = Agreement(10)  # two of ten classes have no reference
    for label, percent in enumerate(recalls):
        hits = round(100 * percent)
        agreement.feed(np.full(10_000, label), np.repeat([label, (label + 1) % 8], [hits, 10_000 - hits]))
    # Every printed figure is rounded to 0.01 by itself.
    assert 100 * agreement.result()["average_accuracy"] == pytest.approx(average, abs=0.011)


@given(arrays(np.int64, (4, 4), elements=st.integers(0, 50)))
def test_identities_of_the_published_tables(counts: np.ndarray) -> None:
    agreement = Agreement(4)
    agreement.counts = counts  # rows are labels
    found, assessed = agreement.result(), accuracy(counts.T)  # rows are the map
    for f1, iou in zip(found["f1"], found["iou"], strict=True):
        if f1 is not None:
            assert f1 == pytest.approx(2 * iou / (1 + iou), abs=2e-6)
    ious = [iou for iou in found["iou"] if iou is not None]
    if ious:
        assert found["mean_iou"] == pytest.approx(np.mean(ious), abs=1e-6)
        assert found["overall_accuracy"] == pytest.approx(np.trace(counts) / counts.sum(), abs=1e-6)
        # The figures of training and those of an assessment are the same ones.
        assert found["mean_iou"] == pytest.approx(assessed.mean_iou, abs=1e-6)
        assert found["average_accuracy"] == pytest.approx(assessed.average, abs=1e-6)
