"""Files of one SAFE product, whether it is a folder or a zip; nothing is ever extracted.

A zip is judged by its directory before a byte is read: names that would leave the folder, a declared size beyond any
real product, or a compression ratio of a bomb are refused. XML is refused when it declares a document type, because
entities are the one way in which a small XML file can expand; no Sentinel-1 annotation declares any.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET

from landcover_cli.errors import InputError

# An IW SLC of three swaths and two polarisations is 8 GB, an annotation 2 MB.
MAX_TOTAL_BYTES = 64 * 2**30
MAX_XML_BYTES = 64 * 2**20
MAX_RATIO = 500
FREE_BYTES = 2**30  # below this size no ratio is suspicious: test products hold constant measurements


@dataclass(frozen=True, slots=True)
class SafeArchive:
    """The files of one product.

    Attributes:
        path: Folder or zip.
        root: Name of the SAFE folder; inside the zip where it is one.
        is_zip: Whether `path` is a zip.
        sizes: {path relative to the SAFE folder, with forward slashes: size in bytes}.
    """

    path: Path
    root: str
    is_zip: bool
    sizes: dict[str, int]

    def read_xml(self, member: str) -> ET.Element:
        """Parse one XML file of the product.

        Args:
            member: Path relative to the SAFE folder.

        Returns:
            The root element.

        Raises:
            InputError: It is missing, too large, damaged, not XML, or declares a document type.
        """
        if self.sizes.get(member, 0) > MAX_XML_BYTES:
            raise InputError(
                f"{self.root}: {member} has {self.sizes[member]} bytes, more than any annotation",
                remedy="download the product again",
            )
        try:
            if self.is_zip:
                with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.root}/{member}") as stream:
                    data = stream.read(MAX_XML_BYTES + 1)
            else:
                data = (self.path / member).read_bytes()
        except (OSError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(
                f"{self.root}: {member} cannot be read ({error})", remedy="download the product again"
            ) from error
        return parse_xml(data, f"{self.root}/{member}")

    def gdal_path(self, member: str) -> str:
        """Path of a member that rasterio opens in place."""
        if self.is_zip:
            # The braces keep a zip whose name does not end in .zip readable.
            return f"/vsizip/{{{self.path.resolve()}}}/{self.root}/{member}"
        return str(self.path / member)


def parse_xml(data: bytes, name: str) -> ET.Element:
    """Parse XML that may come from anywhere.

    Args:
        data: The document, UTF-8 or ASCII.
        name: What to call it in errors.

    Returns:
        The root element.

    Raises:
        InputError: It is larger than 64 MiB, declares a document type or entities, or is not well-formed.
    """
    if len(data) > MAX_XML_BYTES:
        raise InputError(f"{name}: larger than {MAX_XML_BYTES} bytes", remedy="download the product again")
    # A NUL byte betrays UTF-16 or UTF-32, in which a declaration would escape the search.
    if b"\x00" in data or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise InputError(
            f"{name}: the XML declares a document type or is not UTF-8; no Sentinel product does",
            remedy="download the product again",
        )
    try:
        return ET.fromstring(data)  # noqa: S314 - declarations, the only means of expansion, are refused above
    except ET.ParseError as error:
        raise InputError(f"{name}: not well-formed XML ({error})", remedy="download the product again") from error


def open_archive(path: Path, *, family: str = "Sentinel-1") -> SafeArchive:
    """List the files of a SAFE product.

    Args:
        path: A SAFE folder, its manifest.safe, or a zip that holds one SAFE folder.
        family: What to call the expected product in errors.

    Returns:
        The archive, ready to read.

    Raises:
        InputError: It does not exist, is no SAFE product, or is a zip that must not be trusted.
    """
    if path.name == "manifest.safe" and path.is_file():
        path = path.parent
    if path.is_dir():
        if not (path / "manifest.safe").is_file():
            raise InputError(
                f"{path}: no manifest.safe in this folder, so it is no {family} product",
                remedy="give the .SAFE folder itself, or the zip as downloaded",
            )
        files = sorted(p for p in path.rglob("*") if p.is_file())
        sizes = {p.relative_to(path).as_posix(): p.stat().st_size for p in files}
        return SafeArchive(path=path, root=path.name, is_zip=False, sizes=sizes)
    if not path.is_file():
        raise InputError(f"{path}: no such {family} product", remedy="check the path")
    return _open_zip(path, family)


def _open_zip(path: Path, family: str) -> SafeArchive:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(
            f"{path}: not a readable zip ({error}); a cut-off download looks like this",
            remedy="download the product again, or give the .SAFE folder",
        ) from error
    for member in members:
        _refuse_unsafe_name(path, member.filename)
    total = sum(m.file_size for m in members)
    if total > MAX_TOTAL_BYTES or total > max(FREE_BYTES, MAX_RATIO * path.stat().st_size):
        raise InputError(
            f"{path}: would expand to {total / 2**30:.1f} GiB from {path.stat().st_size / 2**20:.1f} MiB, "
            "more than any real product",
            remedy="download the product again from a source that you trust",
        )
    manifests = [m.filename for m in members if PurePosixPath(m.filename).name == "manifest.safe"]
    roots = sorted({str(PurePosixPath(m).parent) for m in manifests if len(PurePosixPath(m).parts) == 2})
    if len(roots) != 1:
        raise InputError(
            f"{path}: {len(roots)} SAFE folders with a manifest.safe in this zip instead of one, "
            f"so it is no {family} product",
            remedy="give one product per zip, as downloaded",
        )
    prefix = roots[0] + "/"
    sizes = {
        m.filename.removeprefix(prefix): m.file_size
        for m in sorted(members, key=lambda m: m.filename)
        if m.filename.startswith(prefix) and not m.is_dir()
    }
    return SafeArchive(path=path, root=roots[0], is_zip=True, sizes=sizes)


def _refuse_unsafe_name(path: Path, name: str) -> None:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise InputError(
            f"{path}: holds a file named {name!r}, which would be written outside its folder",
            remedy="download the product again from a source that you trust",
        )
