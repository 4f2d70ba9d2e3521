"""Check a finished standard demo: strict COGs, accuracy on the unlabelled half. Usage: check_demo.py FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path

REQUIRED_OVERALL_ACCURACY = 0.90


def main(folder: str) -> None:
    from rio_cogeo.cogeo import cog_validate

    products = Path(folder) / "work" / "products"
    maps = sorted(products.rglob("*.tif"))
    if not maps:
        sys.exit(f"no map below {products}")
    for path in maps:
        valid, errors, warnings = cog_validate(path, strict=True, quiet=True)
        if not valid:
            sys.exit(f"{path} is no strict COG: {errors} {warnings}")
        print(f"{path.name}: strict COG")
    (assessment,) = products.rglob("assessment.json")
    accuracy = json.loads(assessment.read_text(encoding="utf-8"))["overall_accuracy"]
    print(f"overall accuracy on the unlabelled half: {accuracy:.4f} (required: {REQUIRED_OVERALL_ACCURACY})")
    if accuracy < REQUIRED_OVERALL_ACCURACY:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
