"""Images per second and core of the recipe of Stanford Online Products: from JPEG, and from a cache of pixels.

python -m benchmarks.loading

The peer is the recipe as it was published, torchvision's transforms on PIL images, to a batch of numbers. Ours is what
a loader's core does for the same batch, which leaves as bytes; what it takes to normalise it on that core too, where
there is no other device to do that, stands beside it. Freed memory stays with the process, as in a training.
"""

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor
from torchvision import transforms

import trainables
from benchmarks.harness import Row, in_turn, median, ratio, table
from trainables.allocator import keep_freed_memory
from trainables.data import FileImages, build_transform, read_image, short_side
from trainables.data.cache_build import build
from trainables.data.cached_images import CachedImages
from trainables.data.loading import Item, Pictures
from trainables.errors import UserError

SUBJECT = "loading"
IMAGES = 96
BATCH = 32
GOALS = {
    "from JPEG": 2.2,
    "from the cache": 5.0,
    "from JPEG, and normalised": 2.2,
    "from the cache, and normalised": 5.0,
}
RECIPE = Path(trainables.__file__).parent / "config" / "transform" / "sop.yaml"


def run(full: bool, images: int = IMAGES, rounds: int | None = None) -> list[Row]:
    """full: more rounds, where their number is not given."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torchvision's, of its decoders, once an image
            return _rows(Path(folder), images, rounds or (15 if full else 5))
    finally:
        torch.set_num_threads(threads)


def _rows(folder: Path, images: int, rounds: int) -> list[Row]:
    names = photographs(folder, images)
    steps = yaml.safe_load(RECIPE.read_text())
    train, test = build_transform(steps["train"]), build_transform(steps["test"])
    files = FileImages(folder, names)
    build(folder / "cached", files, np.arange(images), short_side({"train": train, "test": test}), lambda *_: None)
    from_files, from_cache = Pictures(files, [train]), Pictures(CachedImages(folder / "cached"), [train])
    published = pil_recipe(steps["train"])
    parts = [range(start, min(start + BATCH, images)) for start in range(0, images, BATCH)]

    def on_pil(part: range) -> Tensor:
        return torch.stack([published(Image.open(folder / names[image]).convert("RGB")) for image in part])

    def ours(batches: Pictures, part: range) -> Tensor:
        rows = np.asarray(part)
        batch = batches[Item(0, part, rows, np.zeros_like(rows), rows)]
        assert not isinstance(batch, UserError)
        return batch[0]

    times = in_turn(
        {
            "on PIL": lambda: [on_pil(part) for part in parts],
            "from JPEG": lambda: [ours(from_files, part) for part in parts],
            "from the cache": lambda: [ours(from_cache, part) for part in parts],
            "from JPEG, and normalised": lambda: [train.normalised(ours(from_files, part)) for part in parts],
            "from the cache, and normalised": lambda: [train.normalised(ours(from_cache, part)) for part in parts],
            "decoding alone": lambda: [read_image(folder / name) for name in names],
        },
        rounds,
    )
    faster = [
        Row(SUBJECT, f"SOP recipe, {way}: times faster than on PIL", GOALS.get(way), ratio(times["on PIL"], times[way]))
        for way in times
        if way.startswith("from")
    ]
    speeds = [
        Row(SUBJECT, f"SOP recipe, {way}", None, images / median(timings), unit="images/s")
        for way, timings in times.items()
    ]
    size = float(np.mean([(folder / name).stat().st_size for name in names])) / 1e3
    return [*faster, *speeds, Row(SUBJECT, "a JPEG of them", None, size, unit="kB")]


def photographs(folder: Path, count: int) -> list[str]:
    """Names of JPEGs of 500 pixels and about 53 kB: smooth, with some grain."""
    random = np.random.default_rng(0)
    names = [f"{number}.jpg" for number in range(count)]
    for number, name in enumerate(names):
        width, height = 500, (500, 375)[number % 2]
        coarse = random.integers(0, 256, (60 * height // 500, 60, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        grain = random.normal(0, 4, (height, width, 1))
        pixels = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name, quality=79)
    return names


def pil_recipe(steps: dict[str, dict[str, Any] | None]) -> transforms.Compose:
    """The same steps by torchvision's first transforms, as published trainings use them."""
    return transforms.Compose([getattr(transforms, name)(**(kwargs or {})) for name, kwargs in steps.items()])


def main(argv: Sequence[str] = ()) -> None:
    print(table(run("--full" in argv)))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
