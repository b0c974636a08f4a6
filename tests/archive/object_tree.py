"""Folders of small images."""

from __future__ import annotations

from pathlib import Path

from synthetic import file, image


def write_objects(folder: Path, n: int, *, start: int = 0) -> list[Path]:
    """``n`` small images, ten in each folder."""
    made = []
    for i in range(start, start + n):
        path = folder / f"s{i // 10:03}" / f"i{i:05}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file(image(i.to_bytes(8, "big") * 8, uid=f"1.2.3.{i}")))
        made.append(path)
    return made


def files(folder: Path) -> list[str]:
    """All files below, hidden ones too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) if folder.exists() else []
