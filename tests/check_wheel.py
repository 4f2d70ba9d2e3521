"""Check what a built wheel holds: both packages, package data, nothing else. Usage: check_wheel.py WHEEL."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(wheel: str) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {
        str(path.relative_to(ROOT))
        for package in ("landcover_cli", "models")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    missing, extra = sorted(wanted - names), sorted(names - wanted)
    if missing or extra:
        sys.exit(f"{wheel}: missing {missing}, unexpected {extra}")
    print(f"{Path(wheel).name}: {len(names)} files of landcover_cli and models, nothing else")


if __name__ == "__main__":
    main(sys.argv[1])
