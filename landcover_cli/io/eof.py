"""Precise and restituted orbit files (`.EOF`, also inside `.EOF.zip`): choosing and reading them.

Source: Sentinel-1 POD Product File Format, GMES-GSEG-EOPG-FS-10-0075. File names carry mission, kind, creation and
validity: S1A_OPER_AUX_POEORB_OPOD_<creation>_V<start>_<stop>.EOF.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from landcover_cli.errors import InputError
from landcover_cli.io.safe_archive import MAX_XML_BYTES, parse_xml
from landcover_cli.io.safe_s1_xml import parse_time
from landcover_cli.sar.orbit import interpolate_orbit
from landcover_cli.sar.types import OrbitStateVectors, seconds_since

_NAME = re.compile(
    r"^(S1[A-Z])_OPER_AUX_(POEORB|RESORB)_[A-Z0-9]+_(\d{8}T\d{6})_V(\d{8}T\d{6})_(\d{8}T\d{6})\.EOF(\.zip)?$",
    re.IGNORECASE,
)
_KINDS = ("POEORB", "RESORB")  # the first is preferred: 5 cm against 10 cm
COVER_MARGIN_S = 60.0  # vectors needed before and after the acquisition for interpolation
MAX_APART_M = 1000.0  # from the annotation's vectors; another pass is hundreds of kilometres away


@dataclass(frozen=True, slots=True)
class OrbitFile:
    """An orbit file as its name describes it.

    Attributes:
        path: Where it lies.
        mission: "S1A".. "S1D".
        kind: "POEORB" or "RESORB".
        created: Creation, UTC.
        start: Start of validity, UTC.
        stop: Stop of validity, UTC.
    """

    path: Path
    mission: str
    kind: str
    created: np.datetime64
    start: np.datetime64
    stop: np.datetime64

    def covers(self, mission: str, start: np.datetime64, stop: np.datetime64) -> bool:
        """Whether it is of this mission and valid from a minute before `start` to a minute after `stop`."""
        margin = np.timedelta64(int(COVER_MARGIN_S), "s")
        return self.mission == mission and bool(self.start <= start - margin) and bool(self.stop >= stop + margin)


def _compact(text: str) -> np.datetime64:
    t = text.upper()
    return np.datetime64(f"{t[0:4]}-{t[4:6]}-{t[6:8]}T{t[9:11]}:{t[11:13]}:{t[13:15]}", "ns")


def list_orbit_files(folder: Path) -> tuple[OrbitFile, ...]:
    """Every file below a folder that is named as an orbit file, sorted by name.

    Args:
        folder: Folder to search, with its sub-folders.

    Returns:
        The files; files of other names are ignored.
    """
    named = ((path, name_orbit_file(path)) for path in sorted(folder.rglob("*")))
    return tuple(file for path, file in named if file is not None and path.is_file())


def name_orbit_file(path: Path) -> OrbitFile | None:
    """What the name of a file says of it; None where it is not that of an orbit file. Nothing is opened."""
    match = _NAME.match(path.name)
    if match is None:
        return None
    try:
        times = [_compact(match.group(i)) for i in (3, 4, 5)]
    except ValueError:
        return None
    return OrbitFile(path, match.group(1).upper(), match.group(2).upper(), *times)


def best_orbit_file(
    files: Iterable[OrbitFile], mission: str, start: np.datetime64, stop: np.datetime64
) -> OrbitFile | None:
    """The best of some orbit files for an acquisition: POEORB before RESORB, then the newest creation.

    Args:
        files: What there is.
        mission: "S1A".. "S1D".
        start: Start of sensing, UTC.
        stop: Stop of sensing, UTC.

    Returns:
        The file; None if none covers the acquisition.
    """
    fitting = [f for f in files if f.covers(mission, start, stop)]
    return min(
        fitting, key=lambda f: (_KINDS.index(f.kind), -int(f.created.astype(np.int64)), f.path.name), default=None
    )


def select_orbit_file(folder: Path, mission: str, start: np.datetime64, stop: np.datetime64) -> OrbitFile:
    """The best orbit file for an acquisition: POEORB before RESORB, then the newest creation.

    Args:
        folder: Folder with orbit files.
        mission: "S1A".. "S1D".
        start: Start of sensing, UTC.
        stop: Stop of sensing, UTC.

    Returns:
        The file.

    Raises:
        InputError: The folder does not exist, or holds no file of this mission and date.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of orbit files", remedy="check the path given as --orbits")
    files = list_orbit_files(folder)
    best = best_orbit_file(files, mission, start, stop)
    if best is None:
        of_mission = sum(f.mission == mission for f in files)
        raise InputError(
            f"{folder}: none of {len(files)} orbit files ({of_mission} of {mission}) covers {mission} from {start} "
            f"to {stop} with {COVER_MARGIN_S:.0f} s to spare",
            remedy="fetch it with `lc fetch orbits`, or use the orbit of the annotation",
        )
    return best


def read_eof(
    path: Path,
    *,
    mission: str,
    start: np.datetime64,
    stop: np.datetime64,
    epoch: np.datetime64,
    margin_s: float = 120.0,
) -> OrbitStateVectors:
    """Read the state vectors around an acquisition.

    Args:
        path: An .EOF file, or a zip that holds one.
        mission: "S1A".. "S1D", which the file must be of.
        start: Start of sensing, UTC.
        stop: Stop of sensing, UTC.
        epoch: Reference of the times to return.
        margin_s: How far before and after the acquisition vectors are kept.

    Returns:
        The vectors; their source is the file's name.

    Raises:
        InputError: The file is missing, damaged, of another mission, or does not reach a minute beyond the
            acquisition on both sides.
    """
    try:
        root = parse_xml(_eof_bytes(path), path.name)
    except InputError as error:
        raise InputError(
            f"orbit file {error.problem}", remedy="fetch the orbit file again, for example with `lc fetch orbits`"
        ) from error
    found = (root.findtext(".//Fixed_Header/Mission") or "").strip()
    if found.replace("Sentinel-1", "S1") != mission:
        raise InputError(
            f"{path.name}: orbit of {found or 'an unnamed mission'}, the product is of {mission}",
            remedy=f"give an orbit file of {mission}",
        )
    if (root.findtext(".//Variable_Header/Ref_Frame") or "EARTH_FIXED").strip() != "EARTH_FIXED":
        raise InputError(f"{path.name}: vectors are not Earth-fixed", remedy="use a POEORB or RESORB file")
    time_s, state = _vectors(root, path.name, epoch)
    first_s, last_s = seconds_since(epoch, start), seconds_since(epoch, stop)
    if not len(time_s) or time_s[0] > first_s - COVER_MARGIN_S or time_s[-1] < last_s + COVER_MARGIN_S:
        reach = "none"
        if len(time_s):
            ends = [epoch + np.timedelta64(round(t * 1e6), "us") for t in (time_s[0], time_s[-1])]
            reach = " to ".join(str(e.astype("datetime64[s]")) for e in ends)
        raise InputError(
            f"{path.name}: state vectors ({reach}) do not cover {start} to {stop} with {COVER_MARGIN_S:.0f} s to spare",
            remedy="give the orbit file of the product's date",
        )
    keep = (time_s >= first_s - margin_s) & (time_s <= last_s + margin_s)
    return OrbitStateVectors(
        epoch=epoch,
        time_s=time_s[keep],
        position_m=np.ascontiguousarray(state[keep, :3]),
        velocity_ms=np.ascontiguousarray(state[keep, 3:]),
        source=path.name.removesuffix(".zip"),
    )


def _vectors(root: ET.Element, name: str, epoch: np.datetime64) -> tuple[np.ndarray, np.ndarray]:
    times, states = [], []
    for vector in root.iterfind(".//List_of_OSVs/OSV"):
        times.append(seconds_since(epoch, parse_time(vector.findtext("UTC") or "", f"{name}: OSV/UTC")))
        try:
            states.append([float(vector.findtext(axis) or "nan") for axis in ("X", "Y", "Z", "VX", "VY", "VZ")])
        except ValueError as error:
            raise InputError(f"{name}: a state vector is no number", remedy="download the file again") from error
    return np.array(times, dtype=np.float64), np.array(states, dtype=np.float64).reshape(-1, 6)


def _eof_bytes(path: Path) -> bytes:
    try:
        # A download is checked before it has its name.
        if path.suffix.lower() != ".zip" and not zipfile.is_zipfile(path):
            return path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            inside = [m for m in archive.infolist() if m.filename.upper().endswith(".EOF")]
            if len(inside) != 1 or inside[0].file_size > MAX_XML_BYTES:
                raise InputError(f"{path.name}: holds no single orbit file", remedy="download the file again")
            return archive.read(inside[0])
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error})", remedy="check the path, download it again") from error


def check_same_orbit(orbit: OrbitStateVectors, annotated: OrbitStateVectors, start_s: float, stop_s: float) -> None:
    """Refuse an orbit file that is not of the product's pass.

    Compared at the annotation's own vectors in and around the acquisition. Even predicted orbits are within some
    hundred metres.

    Args:
        orbit: From `find_orbit`.
        annotated: State vectors of the annotation, of the same epoch.
        start_s: First zero-Doppler time of the acquisition, seconds since the epoch.
        stop_s: Its last zero-Doppler time.

    Raises:
        InputError: They are more than `MAX_APART_M` apart.
    """
    time_s = annotated.time_s
    near = (time_s >= start_s - COVER_MARGIN_S / 2) & (time_s <= stop_s + COVER_MARGIN_S / 2)
    if not near.any():
        return
    first_s, last_s = float(time_s[near].min()), float(time_s[near].max())
    position_m = interpolate_orbit(orbit, first_s, last_s).state(time_s[near])[0]
    apart_m = float(np.linalg.norm(position_m - annotated.position_m[near], axis=1).max())
    if not apart_m <= MAX_APART_M:
        raise InputError(
            f"orbit file {orbit.source}: up to {apart_m / 1000:.1f} km from the orbit in the product's annotation: it "
            "is of another pass or damaged",
            remedy="give the orbit file of the product, for example with `lc fetch orbits`",
        )


def find_orbit(
    path: Path, *, mission: str, start: np.datetime64, stop: np.datetime64, epoch: np.datetime64
) -> OrbitStateVectors:
    """State vectors for an acquisition from a folder of orbit files or one file.

    Args:
        path: Folder, or .EOF file.
        mission: "S1A".. "S1D".
        start: Start of sensing, UTC.
        stop: Stop of sensing, UTC.
        epoch: Reference of the times to return.

    Returns:
        The vectors around the acquisition; their source is the name of the file.

    Raises:
        InputError: No file fits, or it is damaged.
    """
    file = path if path.is_file() else select_orbit_file(path, mission, start, stop).path
    return read_eof(file, mission=mission, start=start, stop=stop, epoch=epoch)
