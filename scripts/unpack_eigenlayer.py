"""Unpacks contract artifacts of an eigensdk wheel: `unpack_eigenlayer.py WHEEL FOLDER NAME...`."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path


def unpack(wheel: Path, folder: Path, names: list[str]) -> None:
    """Write FOLDER/NAME.json for each name, all or nothing."""
    staging = folder.with_name(folder.name + ".new")
    staging.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in names:
            artifact = archive.read(f"eigensdk/contracts/ABI/{name}.json")
            (staging / f"{name}.json").write_bytes(artifact)
    staging.rename(folder)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
