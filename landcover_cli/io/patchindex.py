"""The index of a patch store: one row per patch as GeoParquet, so that any GIS shows where the patches lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from landcover_cli.core.windows import PixelBox
from landcover_cli.errors import InputError

__all__ = ["INDEX", "PatchRecord", "read_index", "write_index"]

INDEX = "index.parquet"


@dataclass(frozen=True)
class PatchRecord:
    """One patch.

    Attributes:
        region: Region it was cut from.
        tile: Product tile that holds its centre.
        box: Ground in pixels of the product grid from the CRS origin.
        split: ``train``, ``validation`` or ``test``.
        class_px: Labelled pixels per class index.
    """

    region: str
    tile: str
    box: PixelBox
    split: str
    class_px: tuple[int, ...]


def write_index(path: Path, records: Sequence[PatchRecord], codes: Sequence[int], crs: str, gsd_m: float) -> None:
    """Write the index: ``patch``, ``region``, ``tile``, ``split``, ``row``, ``col``, ``labelled_px``, ``px_<code>``,
    and the footprint in the grid's CRS.

    Args:
        path: File to write.
        records: Patches in the order of the store.
        codes: Class codes in index order; they name the columns of counts.
        crs: CRS of the grid.
        gsd_m: Pixel edge in metres.
    """
    import geopandas
    import shapely

    columns = {
        "patch": range(len(records)),
        "region": [record.region for record in records],
        "tile": [record.tile for record in records],
        "split": [record.split for record in records],
        "row": [record.box.row0 for record in records],
        "col": [record.box.col0 for record in records],
        "size": [record.box.height for record in records],
        "labelled_px": [sum(record.class_px) for record in records],
        **{f"px_{code}": [record.class_px[k] for record in records] for k, code in enumerate(codes)},
    }
    footprints = [shapely.box(*record.box.bounds_m(gsd_m)) for record in records]
    frame = geopandas.GeoDataFrame(columns, geometry=footprints, crs=crs)
    frame.to_parquet(path, index=False, compression="zstd", schema_version="1.1.0")


def read_index(folder: Path) -> tuple[PatchRecord, ...]:
    """The patches of a folder of `lc tile`, in the order of the store.

    Raises:
        InputError: No index, or a damaged one.
    """
    import geopandas
    import pyarrow

    path = folder / INDEX
    if not path.is_file():
        raise InputError(
            f"{folder} holds no patches ({INDEX} is missing)", remedy="give the folder that `lc tile` wrote"
        )
    try:
        frame = geopandas.read_parquet(path)
        counts = frame[[name for name in frame.columns if name.startswith("px_")]].to_numpy()
        return tuple(
            PatchRecord(
                row.region,
                row.tile,
                PixelBox(row.row, row.col, row.row + row.size, row.col + row.size),
                row.split,
                tuple(int(value) for value in counts[position]),
            )
            for position, row in enumerate(frame.drop(columns="geometry").itertuples(index=False))
        )
    except (OSError, ValueError, KeyError, AttributeError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} is no patch index ({error})", remedy="run `lc tile` again") from None
