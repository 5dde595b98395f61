"""`roadmap-tune data`: what is on this machine or on a cluster's nodes, whether it is whole, and what can be made."""

import argparse
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.errors import UserError

if TYPE_CHECKING:
    from trainables.data import LabelledImages, RetrievalDataset

NAMED = 5  # bad files shown of each problem
UNITS = ("B", "kB", "MB", "GB", "TB")


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", reachable: argparse.ArgumentParser
) -> None:
    """The command `data` with its actions. reachable: the options of a sweep and of where it is to happen."""
    data = commands.add_parser("data", help="data sets on this machine")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    stage = actions.add_parser("stage", parents=[reachable], help="a sweep's data sets on every node, made there once")
    stage.set_defaults(command=_stage)
    for name, command, told in (
        ("build", _build, "make a data set that can be made here"),
        ("check", _check, "decode every image; exit code 1 where one is bad or a file is missing"),
        ("info", _info, "counts, sizes and fingerprint"),
        ("unpack", _unpack, "the pictures of a data set that keeps them in one array, as files"),
    ):
        action = actions.add_parser(name, help=told)
        action.add_argument("name", metavar="NAME", help="a data set, such as emoji, sop or folder")
        action.set_defaults(command=command)
        action.add_argument(
            "--root", metavar="DIR", help="its folder (default: NAME in $ROADMAP_TUNE_DATA or the cache folder)"
        )
        action.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            dest="settings",
            help="one of its kwargs, such as file=labels.csv",
        )
        if name == "unpack":
            action.add_argument("--out", type=Path, required=True, metavar="DIR", help="SET/CLASS/NUMBER.png, in there")


def _dataset(arguments: argparse.Namespace) -> "RetrievalDataset":
    import yaml

    from trainables.registry import DATASETS, construct

    kwargs: dict[str, Any] = {} if arguments.root is None else {"data_dir": arguments.root}
    for text in arguments.settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"cannot read --set {text!r}: it is KEY=VALUE")
        kwargs[key] = yaml.safe_load(value)
    return construct("dataset", DATASETS, arguments.name, kwargs)


def _build(arguments: argparse.Namespace) -> int:
    from trainables.console import Bars
    from trainables.data import FileDataset

    dataset = _dataset(arguments)
    if isinstance(dataset, FileDataset):
        raise UserError(
            f"{arguments.name} cannot be built here: {dataset.home}; then `roadmap-tune data check {arguments.name}`"
        )
    with Bars() as bars:
        dataset.ensure(bars.update)
    print(f"{arguments.name} is in {dataset.folder}, fingerprint {dataset.fingerprint[:12]}")
    return 0


def _stage(arguments: argparse.Namespace) -> int:
    from trainables.console import Bars
    from tuner import cluster, nodes, staging
    from tuner.plan import make_plan
    from tuner.sweep import load_sweep

    sweep = load_sweep(arguments.sweep, arguments.settings)
    with cluster.joined(sweep, arguments.address), Bars() as bars:
        plan = make_plan(sweep, here=False)
        if cluster.is_joined():
            nodes.room()  # those that are announced shall have the data too
            found = staging.stage(plan.data, plan.sweep.resources, bars)
        else:
            found = {"here": staging.stage_here(plan.data, bars.update)}
    width = max((len(address) for address in found), default=0)
    for address, staged in sorted(found.items()):
        print(f"{address:{width}}  {staged.state:6}  {staged.seconds:5.0f} s  {'; '.join(staged.told)}")
    if not found:
        raise UserError("no node of the cluster has room for a trial")
    return 1 if any(staged.state == staging.FAILED for staged in found.values()) else 0


def _unpack(arguments: argparse.Namespace) -> int:
    from PIL import Image

    from trainables.console import Bars
    from trainables.data import FileDataset, image_sets

    dataset, out = _dataset(arguments), arguments.out.expanduser()
    if isinstance(dataset, FileDataset):
        raise UserError(f"the pictures of {arguments.name} are files already, in {dataset.folder}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out={str(out)!r} is there and is not empty: name another folder")
    written = 0
    with Bars() as bars:
        dataset.ensure(bars.update)
        for name, images in image_sets(dataset).items():
            counted: Counter[int] = Counter()
            for done, (row, label) in enumerate(
                zip(images.rows.tolist(), images.labels.tolist(), strict=True), start=1
            ):
                counted[label] += 1
                folder = out / name / images.class_names[label].replace("/", "_")
                folder.mkdir(parents=True, exist_ok=True)
                pixels = images.source[row].permute(1, 2, 0).contiguous().numpy()
                Image.fromarray(pixels).save(folder / f"{counted[label]}.png")
                bars.update(f"write {name} pictures", done, len(images))
            written += len(images)
    print(f"{written:,} pictures: {out}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from trainables.console import Bars
    from trainables.data import bad_images, image_sets, summary

    dataset = _dataset(arguments)
    by_problem: dict[str, list[str]] = defaultdict(list)
    looked_at = 0
    try:
        with Bars() as bars:
            for name, images in image_sets(dataset).items():
                looked_at += len(images)
                for error in bad_images(images, bars.update, f"decode {name} images").values():
                    problem, file = _problem(error)
                    by_problem[problem].append(file)
        lines = summary(dataset)
    except UserError as error:
        print(f"roadmap-tune: {error}", file=sys.stderr)
        return 1
    print("\n".join([f"{arguments.name} in {dataset.folder}", *(f"  {line}" for line in lines)]))
    for problem, files in sorted(by_problem.items(), key=lambda pair: -len(pair[1])):
        print(f"{len(files):,} of {looked_at:,} images: {problem}")
        print("\n".join(f"  {file}" for file in files[:NAMED]))
        if len(files) > NAMED:
            print(f"  and {len(files) - NAMED:,} more")
    if not by_problem:
        print(f"all {looked_at:,} images decode")
    return 1 if by_problem else 0


def _problem(error: UserError) -> tuple[str, str]:
    """(what is wrong, as one phrase for many files; the file)."""
    from trainables.data import BadImage

    if not isinstance(error, BadImage):
        return "cannot be used", str(error)
    return error.problem, f"{error.path} ({error.detail})" if error.detail else str(error.path)


def _info(arguments: argparse.Namespace) -> int:
    from trainables.data import image_sets, summary

    dataset = _dataset(arguments)
    rows = [("", "images", "classes", "super-classes", "images a class", "on disk")]
    sizes: dict[str, dict[str, int]] = {}
    sets = image_sets(dataset)
    for name, images in sets.items():
        sizes[name] = _bytes_by_file(images)
        rows.append((name, *_counts(images), _readable(sum(sizes[name].values())) if sizes[name] else "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print(f"{arguments.name} in {dataset.folder}")
    for first, *cells in rows:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *padded]))
    print("\n".join(summary(dataset)))
    listed = {file: size for files in sizes.values() for file, size in files.items()}
    everything = listed or _bytes_below(dataset.folder)
    print(f"size on disk {_readable(sum(everything.values()))} in {len(everything):,} files")
    print(f"fingerprint {dataset.fingerprint}")
    return 0


def _counts(images: "LabelledImages") -> tuple[str, str, str, str]:
    """Images, classes, super-classes, images a class (least, median, most)."""
    import numpy as np

    sizes = np.unique(images.labels, return_counts=True)[1]
    supers = "-" if images.super_labels is None else f"{len(np.unique(images.super_labels)):,}"
    spread = f"{sizes.min()} / {np.median(sizes):g} / {sizes.max()}"
    return f"{len(images):,}", f"{len(sizes):,}", supers, spread


def _bytes_by_file(images: "LabelledImages") -> dict[str, int]:
    """Size of every file that these images come from and that is there."""
    from trainables.data import FileImages

    source = images.source
    if not isinstance(source, FileImages):
        return {}
    stamps = (source.stamp(int(row)) for row in images.rows)
    return {stamp[0]: stamp[1] for stamp in stamps if stamp is not None}


def _bytes_below(folder: "Path") -> dict[str, int]:
    """Where the pictures are not files of their own: the size of every file in the data set's folder."""
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def _readable(size: float) -> str:
    """1234567 -> "1.2 MB"."""
    for unit in UNITS:
        if size < 1000 or unit == UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("the last unit holds everything")
