"""`roadmap-tune index IMAGES --model EXPORT` and `roadmap-tune search INDEX PHOTO`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.errors import UserError
from tuner.remote.options import add_options

if TYPE_CHECKING:
    from PIL import Image

HERE = "it reads the pictures of this machine"
NAMED = 10  # unreadable pictures that are named on the screen; meta.json has all
FLAT_UNTIL = 1_000_000  # pictures up to which an exact search answers in a blink


def add_commands(commands: Any) -> None:
    index = commands.add_parser("index", help="a folder of pictures as a faiss index of a model's embeddings")
    index.add_argument("images", type=Path, metavar="IMAGES", help="a folder; its folders too")
    index.add_argument("--model", type=Path, required=True, metavar="EXPORT", help="a folder of `roadmap-tune export`")
    index.add_argument("--out", type=Path, metavar="INDEX", help="where to (IMAGES.index, in this folder)")
    index.add_argument(
        "--factory", default="Flat", metavar="TEXT", help="faiss' own description of an index (Flat: exact)"
    )
    add_options(index)
    index.set_defaults(command=_index, here=HERE)
    search = commands.add_parser("search", help="the pictures of an index that are nearest to a photo")
    search.add_argument("index", type=Path, metavar="INDEX", help="a folder of `roadmap-tune index`")
    search.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    search.add_argument("--k", type=int, default=10, metavar="N", help="neighbours of each (10)")
    search.add_argument("--model", type=Path, metavar="EXPORT", help="where the index's model is by now")
    search.add_argument("--out", type=Path, default=Path("neighbours.png"), metavar="PNG", help="(neighbours.png)")
    add_options(search)
    search.set_defaults(command=_search, here=HERE)


def _index(arguments: argparse.Namespace) -> int:
    from trainables.console import Bars
    from trainables.exported import load_model
    from trainables.exported.index import build, check_out, shown, told

    images = arguments.images.expanduser()
    if not images.is_dir():
        raise UserError(f"there is no folder {str(images)!r}")
    out = arguments.out or Path(f"{images.resolve().name}.index")
    check_out(out)
    model = load_model(arguments.model)
    with Bars(sys.stderr) as bars:
        built = build(model, images, out, bars, arguments.factory)
    for error in built.unreadable[:NAMED]:
        print(f"unreadable: {told(error)}", file=sys.stderr)
    if len(built.unreadable) > NAMED:
        print(f"unreadable: {len(built.unreadable) - NAMED:,} more, all of them in {out}/meta.json", file=sys.stderr)
    if built.left_aside:
        first, count = built.left_aside[0], len(built.left_aside)
        print(f"left aside as no pictures by their ending: {count:,}, such as {shown(first)}", file=sys.stderr)
    missed = f"; {len(built.unreadable):,} could not be read and are not in it" if built.unreadable else ""
    rate = f"{built.count / built.seconds:,.0f} a second"
    print(f"indexed: {out}: {built.count:,} pictures, {model.dims} dimensions, {rate}{missed}")
    if built.found is not None:
        print(f"of the nearest that an exact search finds, this index finds {built.found:.1%}".replace("%", " %"))
    elif built.count > FLAT_UNTIL:
        print("an exact search of so many takes its time: --factory IVF4096,Flat is quicker, and says what it misses")
    return 0


def _search(arguments: argparse.Namespace) -> int:
    from trainables.exported import load_model
    from trainables.exported.index import PictureIndex, open_photo, shown

    if arguments.k < 1:
        raise UserError(f"--k={arguments.k}: the number of neighbours must be a whole number from 1")
    if arguments.out.is_dir() or not arguments.out.absolute().parent.is_dir():
        raise UserError(f"--out={str(arguments.out)!r}: a PNG in a folder that is there")
    index = PictureIndex(arguments.index.expanduser())
    photos = [open_photo(path.expanduser()) for path in arguments.photos]
    model = load_model(arguments.model or index.model)
    index.check_model(model)
    found = index.search(model.embed(photos), arguments.k)
    for path, neighbours in zip(arguments.photos, found, strict=True):
        print(shown(str(path)))
        for rank, (cosine, name) in enumerate(neighbours, start=1):
            print(f"  {rank:>4}  {cosine:.4f}  {shown(name)}")
    gone = _draw(arguments.photos, photos, found, index.images, arguments.out)
    if gone:
        print(f"warning: {len(gone)} of them cannot be drawn any more, such as {gone[0]}", file=sys.stderr)
    print(f"drawn: {arguments.out}")
    return 0


def _draw(
    paths: Sequence[Path],
    photos: "Sequence[Image.Image]",
    found: Sequence[Sequence[tuple[float, str]]],
    images: Path,
    out: Path,
) -> list[str]:
    """A row a photo, its neighbours behind it; which of those could not be opened."""
    from PIL import Image

    from trainables.exported.index import open_photo
    from trainables.panels import Tile, draw
    from trainables.pictures import rgb

    rows, gone = [], []
    for path, photo, neighbours in zip(paths, photos, found, strict=True):
        row = [Tile(Image.fromarray(rgb(photo)), _caption(path), "query")]
        for rank, (cosine, name) in enumerate(neighbours, start=1):
            try:
                picture = Image.fromarray(rgb(open_photo(images / name)))
            except UserError as error:
                gone.append(str(error))
                picture = Image.new("RGB", (32, 32), "white")
            row.append(Tile(picture, f"{rank}: {cosine:.3f}\n{_caption(Path(name))}"))
        rows.append(row)
    try:
        draw(rows).save(out, "PNG")
    except OSError as error:
        raise UserError(f"cannot write {str(out)!r}: {error.strerror}") from None
    return gone


def _caption(path: Path) -> str:
    """The file, and the folder that it is in: often that says what it is."""
    from trainables.exported.index import shown

    return f"{shown(path.parent.name)}\n{shown(path.name)}".strip()
