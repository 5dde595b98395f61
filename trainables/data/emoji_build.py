"""Builds the emoji data set: fetch, select, render, write. Atomic, and resumable where it was interrupted.

The work folder beside the target keeps packages and rendered vendors until the end; one builder works at a time.
"""

import csv
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from trainables.data.emoji_packages import PACKAGES, Package, fetch, find_npm
from trainables.data.emoji_rendering import SIZE, near_copies, render
from trainables.data.emoji_selection import Drawing, Vendor, read_vendor, select
from trainables.data.locks import alone

Progress = Callable[[str, int, int], None]
FORMAT = 1
SMALLEST_CLASS = 4
COLUMNS = ("path", "label", "super_label", "vendor", "codepoint")


def build(target: Path, progress: Progress, packages: Sequence[Package] = PACKAGES) -> None:
    """Makes `target` whole; where another process has just made it, nothing is left to do."""
    find_npm()  # refuse before anything is created
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.work")
    with alone(target.with_name(f".{target.name}.lock")):
        if (target / "meta.json").is_file():
            return
        assert not target.exists(), "the caller has looked: what is there is not ours to replace"
        work.mkdir(exist_ok=True)
        folders = {}
        for done, package in enumerate(packages, start=1):
            folders[package.vendor] = fetch(package, work)
            progress("fetch emoji packages", done, len(packages))
        vendors = {name: read_vendor(name, folder) for name, folder in folders.items()}
        drawings, pictures = _kept(_rendered(vendors, work, progress))
        _write(target, work, drawings, pictures, folders, packages)
        shutil.rmtree(work)


def _rendered(vendors: dict[str, Vendor], work: Path, progress: Progress) -> list[tuple[Drawing, np.ndarray | None]]:
    """Every selected drawing with its picture; a vendor that is done is kept on disk for a next attempt."""
    drawings = select(vendors)
    total, done = len(drawings), 0
    found: list[tuple[Drawing, np.ndarray | None]] = []
    for name in vendors:
        own = [drawing for drawing in drawings if drawing.vendor == name]
        key = hashlib.sha256("\n".join(drawing.svg for drawing in own).encode()).hexdigest()[:16]
        file = work / f"rendered-{name}-{key}.npz"
        if file.is_file():
            with np.load(file, allow_pickle=False) as saved:
                pixels, drawn = saved["pixels"], saved["drawn"]
        else:
            pixels = np.zeros((len(own), SIZE, SIZE, 3), dtype=np.uint8)
            drawn = np.zeros(len(own), dtype=bool)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for position, picture in enumerate(pool.map(render, (drawing.svg for drawing in own))):
                    if picture is not None:
                        pixels[position], drawn[position] = picture, True
                    progress("render emoji", done + position + 1, total)
            partial = file.with_suffix(".partial.npz")
            np.savez(partial, pixels=pixels, drawn=drawn)
            os.replace(partial, file)
        done += len(own)
        progress("render emoji", done, total)
        found += [(drawing, pixels[i] if drawn[i] else None) for i, drawing in enumerate(own)]
    return found


def _kept(rendered: list[tuple[Drawing, np.ndarray | None]]) -> tuple[list[Drawing], np.ndarray]:
    """Without the empty, the drawn twice for two classes, the near copies, and the classes that are then too small."""
    visible = [(drawing, picture) for drawing, picture in rendered if picture is not None]
    uses = Counter((drawing.vendor, picture.tobytes()) for drawing, picture in visible)
    by_label: dict[str, list[tuple[Drawing, np.ndarray]]] = {}
    for drawing, picture in visible:
        if uses[drawing.vendor, picture.tobytes()] == 1:
            by_label.setdefault(drawing.label, []).append((drawing, picture))
    kept: list[tuple[Drawing, np.ndarray]] = []
    for label in sorted(by_label):
        own = by_label[label]
        copies = near_copies([picture for _, picture in own])
        unlike = [pair for pair, copy in zip(own, copies, strict=True) if not copy]
        if len(unlike) >= SMALLEST_CLASS:
            kept += unlike
    return [drawing for drawing, _ in kept], np.stack([picture for _, picture in kept])


def _write(
    target: Path,
    work: Path,
    drawings: list[Drawing],
    pictures: np.ndarray,
    folders: dict[str, Path],
    packages: Sequence[Package],
) -> None:
    new = work / "new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    np.save(new / "images.npy", pictures)
    with (new / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for drawing, picture in zip(drawings, pictures, strict=True):
            path = f"{drawing.vendor}/{drawing.label}.png"
            (new / drawing.vendor).mkdir(exist_ok=True)
            Image.fromarray(picture).save(new / path, compress_level=1)
            rows.writerow([path, drawing.label, drawing.super_label, drawing.vendor, drawing.codepoint])
    (new / "SOURCES.txt").write_text(_sources(folders, packages))
    meta = {
        "format": FORMAT,
        "images": len(drawings),
        "classes": len({drawing.label for drawing in drawings}),
        "packages": [package.name for package in packages],
        "rendered_by": [f"{name} {version(name)}" for name in ("resvg-py", "pillow")],
        "sha256": hashlib.sha256((new / "images.npy").read_bytes()).hexdigest(),
    }
    (new / "meta.json").write_text(json.dumps(meta, indent=2))
    os.replace(new, target)


def _sources(folders: dict[str, Path], packages: Sequence[Package]) -> str:
    lines = [
        "The pictures in this folder are renderings of the emoji sets below, each under its own licence.",
        "",
    ]
    for package in packages:
        info = json.loads((folders[package.vendor] / "info.json").read_text())
        author, licence = info["author"], info["license"]
        lines.append(f"{info['name']} ({package.name}) by {author['name']}, {author.get('url', '')}")
        lines.append(f"    {licence['title']} ({licence.get('spdx', '')}), {licence.get('url', '')}")
    return "\n".join(lines) + "\n"
