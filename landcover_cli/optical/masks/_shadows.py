"""Cloud shadows: dark hollows of the near infrared, matched with clouds moved along the sun's and the sensor's rays.

Z. Zhu, C. E. Woodcock, RSE 118, 2012, section 3.3. Three things are decided here. A hollow that opens to the edge of
the image is filled up to the level of dark clear land. Of all heights the one is taken whose moved cloud agrees most:
hits less half the pixels that could be seen; similarity alone would favour small moves, of which only a rim is seen.
And water, dark with and without shadow, speaks neither for nor against a height; else shadows move into lakes.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(nogil=True, cache=True)
def fill_hollows(values: NDArray[np.uint16], level: int) -> NDArray[np.uint16]:
    """Raise every hollow to the lowest level over which it would spill out of the image, 8-connected.

    Args:
        values: [H, W]; 0 (nodata) lies outside of the image.
        level: What the outside is filled up to.

    Returns:
        [H, W], `values` or more; `level` where nodata.
    """
    height, width = values.shape
    filled = np.zeros((height, width), np.uint16)
    done = np.zeros((height, width), np.bool_)
    # A stack of pixels per level, linked through `after`: pixels leave it in the order of their levels.
    top = np.full(65536, -1, np.int32)
    after = np.empty(height * width, np.int32)
    for y in range(height):
        for x in range(width):
            if values[y, x] == 0 or y == 0 or x == 0 or y == height - 1 or x == width - 1:
                reached = max(int(values[y, x]), level)
                filled[y, x], done[y, x] = reached, True
                after[y * width + x] = top[reached]
                top[reached] = y * width + x
    for lowest in range(65536):
        while top[lowest] >= 0:
            place = top[lowest]
            top[lowest] = after[place]
            y0, x0 = place // width, place % width
            for y in range(max(y0 - 1, 0), min(y0 + 2, height)):
                for x in range(max(x0 - 1, 0), min(x0 + 2, width)):
                    if done[y, x]:
                        continue
                    reached = max(int(values[y, x]), lowest)
                    filled[y, x], done[y, x] = reached, True
                    after[y * width + x] = top[reached]
                    top[reached] = y * width + x
    return filled


@njit(nogil=True, cache=True)
def group_pixels(labels: NDArray[np.int32], number: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Pixels of every object: ``pixels[first[k] : first[k + 1]]`` are the flat indices of label k + 1, ascending."""
    first = np.zeros(number + 1, np.int64)
    flat = labels.ravel()
    for i in range(flat.size):
        if flat[i] > 0:
            first[flat[i]] += 1
    for k in range(number):
        first[k + 1] += first[k]
    pixels = np.empty(first[number], np.int32)
    place = first[:-1].copy()
    for i in range(flat.size):
        if flat[i] > 0:
            pixels[place[flat[i] - 1]] = i
            place[flat[i] - 1] += 1
    return first, pixels


@njit(nogil=True, cache=True)
def _agreement(
    pixels: NDArray[np.int32],
    labels: NDArray[np.int32],
    dark: NDArray[np.uint8],
    move: tuple[int, int],
) -> tuple[int, int]:
    """How many moved pixels are dark land, and how many fall on clear land of the image."""
    height, width = dark.shape
    hits = seen = 0
    for i in pixels:
        y, x = i // width + move[0], i % width + move[1]
        if 0 <= y < height and 0 <= x < width and labels[y, x] == 0 and dark[y, x] < 2:
            seen += 1
            hits += dark[y, x]
    return hits, seen


@njit(nogil=True, cache=True)
def match_shadows(
    labels: NDArray[np.int32],
    first: NDArray[np.int64],
    pixels: NDArray[np.int32],
    dark: NDArray[np.uint8],
    drift_yx: NDArray[np.float64],
    heights_m: tuple[float, float],
    least_similarity: float,
) -> NDArray[np.bool_]:
    """Shadows of all clouds.

    Args:
        labels: [H, W], cloud objects from 1, 0 elsewhere.
        first: From `group_pixels`.
        pixels: From `group_pixels`.
        dark: [H, W] of land: 1 potential shadow, 0 not; 2 nodata; 3 water.
        drift_yx: [objects, 2], pixels that an object's shadow lies south and east of it per metre of height.
        heights_m: Lowest and highest base.
        least_similarity: Share of the seen pixels that must be dark, exclusive.

    Returns:
        [H, W], true where an accepted shadow falls on ground that is no cloud.
    """
    height, width = dark.shape
    shadow = np.zeros((height, width), np.bool_)
    for k in range(first.size - 1):
        own = pixels[first[k] : first[k + 1]]
        dy, dx = drift_yx[k]
        farthest = max(abs(dy), abs(dx))
        if farthest <= 0.0:
            continue
        # One step moves the object by one pixel along the longer axis.
        steps = int((heights_m[1] - heights_m[0]) * farthest) + 1
        best, best_move, similarity = -np.inf, (0, 0), 0.0
        for step in range(steps):
            base = heights_m[0] + step / farthest
            move = (int(np.floor(base * dy + 0.5)), int(np.floor(base * dx + 0.5)))
            hits, seen = _agreement(own, labels, dark, move)
            if seen > 0 and hits - 0.5 * seen > best:
                best, best_move, similarity = hits - 0.5 * seen, move, hits / seen
        if similarity > least_similarity:
            for i in own:
                y, x = i // width + best_move[0], i % width + best_move[1]
                if 0 <= y < height and 0 <= x < width and labels[y, x] == 0 and dark[y, x] != 2:
                    shadow[y, x] = True
    return shadow
