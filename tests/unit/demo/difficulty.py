"""How hard the demo region is: a random forest on pixels, trained on the label polygons, scored on the eastern half.

Run as a script for the table in the demo's report: ``python tests/unit/demo/difficulty.py 7 8 9``.
"""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from landcover_cli.demo.backscatter import speckle
from landcover_cli.demo.clouds import half
from landcover_cli.demo.noise import stream
from landcover_cli.demo.reflectance import BANDS, BANDS_20M
from landcover_cli.demo.region import day_to_datetime, region
from landcover_cli.demo.simulation import OpticalScene, Simulation, labelled_units, simulate


def as_delivered(reflectance: NDArray) -> NDArray:
    """20 m bands as a product holds them, repeated to 10 m."""
    out = reflectance.copy()
    for name in BANDS_20M:
        out[BANDS.index(name)] = half(out[BANDS.index(name)]).repeat(2, axis=0).repeat(2, axis=1)
    return out


def split(sim: Simulation) -> tuple[NDArray, NDArray]:
    """Flat masks: pixels mostly inside a label polygon, and pixels of the eastern half."""
    land = sim.landscape
    share = np.zeros(sim.region.rows * sim.region.cols)
    inside = np.isin(land.unit, labelled_units(land, sim.seed))
    np.add.at(share, land.pixel[inside], land.weight[inside])
    east = np.zeros((sim.region.rows, sim.region.cols), bool)
    east[:, sim.region.cols // 2 :] = True
    return share > 0.5, east.ravel()


def forest_accuracy(sim: Simulation, features: NDArray, trees: int = 100, sample: int | None = None) -> float:
    """Overall accuracy on the eastern half of a random forest on ``(features, rows, cols)``; NaN counts as -1."""
    x = np.nan_to_num(features.reshape(len(features), -1).T, nan=-1.0).astype(np.float32)
    y = sim.landscape.truth_yx.ravel()
    train, test = split(sim)
    rows = np.flatnonzero(train)
    if sample is not None:
        rows = np.random.default_rng(0).permutation(rows)[:sample]
    forest = RandomForestClassifier(trees, random_state=0, n_jobs=2).fit(x[rows], y[rows])
    return float((forest.predict(x[test]) == y[test]).mean())


def monthly(values: list[NDArray], valid: list[NDArray], months: list[int]) -> NDArray:
    """Monthly means of the valid pixels, ``(12 · bands, rows, cols)``; NaN where a month has none."""
    bands = values[0].shape[0]
    total = np.zeros((12, *values[0].shape), np.float64)
    count = np.zeros((12, 1, *values[0].shape[1:]))
    for value, ok, month in zip(values, valid, months, strict=True):
        total[month - 1] += np.where(ok, value, 0.0)
        count[month - 1] += ok
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / np.where(count, count, np.nan)).reshape(12 * bands, *values[0].shape[1:])


def fill_gaps(series: NDArray) -> NDArray:
    """Linear interpolation over empty months, per pixel and band; the year's ends repeat their nearest month."""
    months = series.reshape(12, -1, series.shape[-2] * series.shape[-1]).copy()
    position = np.arange(12)
    known = np.isfinite(months[:, 0])
    for pattern in np.unique(known, axis=1).T:
        where = (known == pattern[:, None]).all(axis=0)
        if pattern.all() or not pattern.any():
            continue
        have = position[pattern]
        after = np.clip(np.searchsorted(have, position), 0, len(have) - 1)
        before = np.clip(np.searchsorted(have, position, side="right") - 1, 0, len(have) - 1)
        span = np.maximum(have[after] - have[before], 1)
        part = np.clip((position - have[before]) / span, 0, 1)[:, None, None]
        block = months[:, :, where]
        months[:, :, where] = block[have[before]] * (1 - part) + block[have[after]] * part
    return months.reshape(series.shape)


def optical_scenes(sim: Simulation) -> list[OpticalScene]:
    """All Sentinel-2 dates."""
    return [sim.optical(acquisition) for acquisition in sim.acquisitions]


def without_clouds(sim: Simulation, scene: OpticalScene) -> NDArray:
    """The date as it would have been delivered under a clear sky: its own haze, gain and sensor noise stay."""
    nothing = np.zeros_like(scene.sky.cloud)
    sky = dataclasses.replace(scene.sky, cloud=nothing, cirrus=nothing, sunlight=nothing + 1)
    rng = stream(sim.seed, "noise", scene.acquisition.day, scene.acquisition.platform)
    return as_delivered(sky.through(scene.surface, rng))


def best_single_date(sim: Simulation, scenes: list[OpticalScene]) -> tuple[float, int]:
    """Accuracy on the best date of the year, were it cloud-free, and its day; a small forest finds the candidates."""
    dates = [(without_clouds(sim, scene), scene.acquisition.day) for scene in scenes]
    rough = [forest_accuracy(sim, values, trees=15, sample=5000) for values, _ in dates]
    best = np.argsort(rough)[-2:]
    return max((forest_accuracy(sim, dates[i][0]), dates[i][1]) for i in best)


def optical_series(scenes: list[OpticalScene]) -> NDArray:
    """Monthly means of the truly clear pixels, empty months filled linearly."""
    return fill_gaps(
        monthly(
            [as_delivered(s.reflectance) for s in scenes],
            [s.clear for s in scenes],
            [s.acquisition.when.month for s in scenes],
        )
    )


def radar_series(sim: Simulation) -> NDArray:
    """Monthly means of gamma0 in dB, with the speckle of a product but without its terrain."""
    shape = (sim.region.rows, sim.region.cols)
    rng = stream(sim.seed, "difficulty")
    seen = [np.stack([band * speckle(shape, rng) for band in sim.radar(day).gamma0]) for day in sim.radar_days]
    mean = monthly(seen, [np.ones(shape, bool)] * len(seen), [day_to_datetime(day).month for day in sim.radar_days])
    return 10 * np.log10(mean)


def table(seed: int, size: str = "standard") -> dict[str, float]:
    """The four figures of one seed."""
    sim = simulate(region(size), seed)
    scenes = optical_scenes(sim)
    single, day = best_single_date(sim, scenes)
    optical, radar = optical_series(scenes), radar_series(sim)
    return {
        "single_date": single,
        "day": day,
        "clear": float(np.mean([scene.clear.mean() for scene in scenes])),
        "s2_series": forest_accuracy(sim, optical),
        "s1_series": forest_accuracy(sim, radar),
        "both": forest_accuracy(sim, np.concatenate([optical, radar])),
    }


if __name__ == "__main__":
    for argument in sys.argv[1:] or ["7"]:
        figures = table(int(argument))
        print(argument, {key: round(value, 3) for key, value in figures.items()}, flush=True)
