"""The patch store: Zarr format 3, one chunk per patch, many patches per shard.

``patches.zarr`` holds one group per input with ``data`` ``[N, T, C, h, w]`` (as stored in the cube), ``valid``
``[N, T, h, w]`` and ``n_clear`` ``[N, T, h, w]`` at the input's pixel size, and ``labels`` ``[N, H, W]``. A shard is a
file that is written once and read by one request per patch; a file per patch would be slow to list and to copy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from landcover_cli.core.digest import pretty_json
from landcover_cli.core.types import Period
from landcover_cli.errors import InputError

if TYPE_CHECKING:
    import zarr

__all__ = ["STORE", "PatchPort", "PatchSample", "PatchStore", "PatchWriter", "StoredInput"]

STORE = "patches.zarr"
_SHARD_BYTES = 32 * 1024**2
_MAX_IN_SHARD = 256
_SMALL_BYTES = 8 * 1024**2
"""Arrays up to this size are read as a whole."""


@dataclass(frozen=True)
class PatchPort:
    """One input of the patches.

    Attributes:
        name: Name of the source.
        kind: ``series`` or ``image``.
        bands: Band names in order.
        units: What stored · scale + offset means.
        scale: See `units`.
        offset: See `units`.
        gsd_m: Pixel edge in metres.
        dtype: Type of the stored values.
        optional: Patches without it are allowed.
        periods: Region → its periods; a region that lacks the input is absent. Empty tuples for images.
    """

    name: str
    kind: Literal["series", "image"]
    bands: tuple[str, ...]
    units: str
    scale: float
    offset: float
    gsd_m: float
    dtype: str
    optional: bool
    periods: Mapping[str, tuple[Period, ...]]

    @property
    def length(self) -> int:
        """Dates of the stored arrays: the longest region's; 1 for an image."""
        return max([1, *(len(periods) for periods in self.periods.values())])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        periods = {
            region: [[p.start.isoformat(), p.end.isoformat()] for p in found] for region, found in self.periods.items()
        }
        return {**self.__dict__, "bands": list(self.bands), "periods": periods}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> PatchPort:
        """From the JSON form.

        Raises:
            KeyError, TypeError, ValueError: Not the JSON form.
        """
        periods = {
            region: tuple(Period(date.fromisoformat(a), date.fromisoformat(b)) for a, b in found)
            for region, found in value["periods"].items()
        }
        return cls(**{**value, "bands": tuple(value["bands"]), "periods": periods})


@dataclass(frozen=True)
class StoredInput:
    """One input of one patch, as stored.

    Attributes:
        data_tbyx: ``[T, C, h, w]``; 0 where invalid.
        valid_tyx: ``[T, h, w]`` bool.
        n_clear_tyx: ``[T, h, w]`` uint16, clear observations per period.
        periods: The T periods; empty for an image.
    """

    data_tbyx: np.ndarray
    valid_tyx: np.ndarray
    n_clear_tyx: np.ndarray
    periods: tuple[Period, ...]


@dataclass(frozen=True)
class PatchSample:
    """One patch.

    Attributes:
        inputs: By name.
        labels_yx: Class indices, nodata where there is no label.
        weights_yx: What each label counts, float32; None where all count 1.
    """

    inputs: Mapping[str, StoredInput]
    labels_yx: np.ndarray
    weights_yx: np.ndarray | None = None


class PatchWriter:
    """Writes patches one after the other; holds at most one shard. A context manager.

    Args:
        path: New folder ``patches.zarr``.
        ports: Inputs.
        regions: Region of every patch, in order; its length is the number of patches.
        patch_px: Patch edge in pixels of the product grid.
        gsd_m: Pixel edge of the product grid in metres.
        dtype: Type of the labels.
        nodata: Label value that means none.
        weighted: Whether samples carry weights, too.
    """

    def __init__(
        self,
        path: Path,
        ports: Sequence[PatchPort],
        regions: Sequence[str],
        *,
        patch_px: int,
        gsd_m: float,
        dtype: str,
        nodata: int,
        weighted: bool = False,
    ) -> None:
        import zarr

        self._ports, self._count = tuple(ports), len(regions)
        attributes = {
            "ports": [port.to_dict() for port in ports],
            "regions": list(regions),
            "patch_px": patch_px,
            "gsd_m": gsd_m,
            "nodata": nodata,
        }
        self._root = path
        self._group = zarr.create_group(path, zarr_format=3, attributes=attributes)
        self._arrays: dict[str, zarr.Array] = {}
        largest = patch_px * patch_px * np.dtype(dtype).itemsize
        shapes: dict[str, tuple[tuple[int, ...], str]] = {"labels": ((patch_px, patch_px), dtype)}
        if weighted:
            shapes["weights"] = ((patch_px, patch_px), "float32")
        for port in ports:
            edge = round(patch_px * gsd_m / port.gsd_m)
            tyx = (port.length, edge, edge)
            shapes[f"{port.name}/data"] = ((port.length, len(port.bands), edge, edge), port.dtype)
            shapes[f"{port.name}/valid"] = (tyx, "bool")
            shapes[f"{port.name}/n_clear"] = (tyx, "uint16")
            largest = max(largest, int(np.prod(shapes[f"{port.name}/data"][0])) * np.dtype(port.dtype).itemsize)
        # A property of the data, not of the memory at hand: the same patches give the same files everywhere.
        self._per_shard = max(1, min(_MAX_IN_SHARD, _SHARD_BYTES // largest, self._count))
        for name, (shape, kind) in shapes.items():
            self._arrays[name] = self._create(name, shape, kind, nodata if name == "labels" else 0)
        self._pending: list[PatchSample] = []
        self._written = 0

    def _create(self, name: str, shape: tuple[int, ...], dtype: str, fill: int) -> zarr.Array:
        from zarr.codecs import BloscCodec

        size = np.dtype(dtype).itemsize
        parent, _, leaf = name.rpartition("/")
        group = self._group.require_group(parent) if parent else self._group
        return group.create_array(
            leaf,
            shape=(self._count, *shape),
            chunks=(1, *shape),
            shards=(self._per_shard, *shape),
            dtype=dtype,
            # A fixed item size keeps the bytes the same whatever library version guesses it.
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle", typesize=size, blocksize=0),
            fill_value=fill,
        )

    def write(self, sample: PatchSample) -> None:
        """Add the next patch; inputs that it lacks stay invalid."""
        self._pending.append(sample)
        if len(self._pending) == self._per_shard:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        where = slice(self._written, self._written + len(self._pending))
        for name, array in self._arrays.items():
            block = np.full((len(self._pending), *array.shape[1:]), array.fill_value, array.dtype)
            for index, sample in enumerate(self._pending):
                port, _, leaf = name.rpartition("/")
                if name == "weights":
                    block[index] = 1.0 if sample.weights_yx is None else sample.weights_yx
                elif not port:
                    block[index] = sample.labels_yx
                elif port in sample.inputs:
                    stored = sample.inputs[port]
                    values = {"data": stored.data_tbyx, "valid": stored.valid_tyx, "n_clear": stored.n_clear_tyx}[leaf]
                    block[index, : len(values)] = values
            array[where] = block
        self._written += len(self._pending)
        self._pending.clear()

    def close(self) -> None:
        """Write what is pending.

        Raises:
            ValueError: Fewer or more patches than announced.
        """
        self._flush()
        if self._written != self._count:
            raise ValueError(f"{self._written} patches written, {self._count} announced")
        # Sorted keys: the bytes of the metadata do not hang on the order of a library's dictionary.
        for path in sorted(self._root.rglob("zarr.json")):
            path.write_text(pretty_json(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")

    def __enter__(self) -> PatchWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()


class PatchStore:
    """Patches opened for reading; metadata only until `read`.

    Attributes:
        ports: Inputs.
        regions: Region of every patch.
        patch_px: Patch edge in pixels of the product grid.
        gsd_m: Pixel edge of the product grid in metres.
        nodata: Label value that means none.
    """

    def __init__(self, folder: Path) -> None:
        """Open ``<folder>/patches.zarr``.

        Raises:
            InputError: Not there, or damaged.
        """
        import zarr

        self._path = folder / STORE
        remedy = "give the folder that `lc tile` wrote"
        if not (self._path / "zarr.json").is_file():
            raise InputError(f"{folder} holds no patches ({STORE} is missing)", remedy=remedy)
        try:
            group = zarr.open_group(self._path, mode="r", zarr_format=3)
            attributes: dict[str, Any] = dict(group.attrs)
            self.ports = tuple(PatchPort.from_dict(cast(dict[str, Any], port)) for port in attributes["ports"])
            self.regions = tuple(str(region) for region in attributes["regions"])
            self.patch_px, self.gsd_m = int(attributes["patch_px"]), float(attributes["gsd_m"])
            self.nodata = int(attributes["nodata"])
            names = ["labels", *(f"{port.name}/{leaf}" for port in self.ports for leaf in ("data", "valid", "n_clear"))]
            if "weights" in group:
                names.append("weights")
            self._arrays = {name: cast("zarr.Array", group[name]) for name in names}
            self._whole: dict[str, np.ndarray] = {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self._path} is no patch store ({error})", remedy=remedy) from None

    def __len__(self) -> int:
        return len(self.regions)

    def labels(self, index: int) -> np.ndarray:
        """Class indices of one patch, ``[H, W]``."""
        return self._get("labels", index)

    def read(self, index: int) -> PatchSample:
        """One patch with the inputs that its region has.

        Raises:
            InputError: A damaged chunk.
        """
        inputs = {}
        for port in self.ports:
            periods = port.periods.get(self.regions[index])
            if periods is None:
                continue
            length = max(1, len(periods))
            data, valid, n_clear = (
                self._get(f"{port.name}/{leaf}", index)[:length] for leaf in ("data", "valid", "n_clear")
            )
            inputs[port.name] = StoredInput(data, valid, n_clear, periods)
        weights = self._get("weights", index) if "weights" in self._arrays else None
        return PatchSample(inputs, self.labels(index), weights)

    def _get(self, name: str, index: int) -> np.ndarray:
        try:
            array = self._arrays[name]
            if array.nbytes > _SMALL_BYTES:
                return np.asarray(array[index])
            # Thousands of single pixels: one request for all of them, not one each.
            if name not in self._whole:
                self._whole[name] = np.asarray(array[:])
            return self._whole[name][index].copy()
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise InputError(
                f"{self._path}: {name} of patch {index} is damaged ({error})", remedy="run `lc tile` again"
            ) from None
