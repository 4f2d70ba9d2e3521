"""Draw the README's picture from a finished demo. Usage: make_picture.py DEMO_FOLDER OUT.png."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rasterio
from matplotlib.patches import Patch


def main(folder: str, out: str) -> None:
    """Class map with its legend, and confidence."""
    products = Path(folder) / "work" / "products" / "map" / "main"
    with rasterio.open(products / "main_class.tif") as source:
        classes, colours, nodata = source.read(1), source.colormap(1), source.nodata
    with rasterio.open(products / "main_confidence.tif") as source:
        confidence = np.where(source.read(1) == source.nodata, np.nan, source.read(1) * source.scales[0])
    legend = json.loads((products / "legend.json").read_text(encoding="utf-8"))["classes"]
    table = np.array([colours.get(index, (255, 255, 255, 0)) for index in range(256)], np.uint8)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    axes[0].imshow(np.where(classes == nodata, 255, table[classes].transpose(2, 0, 1)[:3]).transpose(1, 2, 0))
    axes[0].set_title("classes")
    picture = axes[1].imshow(confidence, vmin=0.3, vmax=1.0, cmap="viridis")
    axes[1].set_title("confidence")
    figure.colorbar(picture, ax=axes[1], shrink=0.8)
    for axis in axes:
        axis.set_axis_off()
    handles = [Patch(facecolor=entry["color"], edgecolor="#444444", label=entry["name"]) for entry in legend]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    figure.savefig(out, dpi=80, metadata={"Software": None})


if __name__ == "__main__":
    main(*sys.argv[1:3])
