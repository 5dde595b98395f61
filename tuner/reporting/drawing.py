"""From the checkpoints of a sweep's winner and defaults to panels of neighbours, scores and maps."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainables import bucket
from trainables.checkpoint import CHECKPOINT
from trainables.commands import seen_in_validation
from trainables.errors import UserError
from trainables.evaluation import (
    Inspection,
    confusions,
    group_means,
    hardest,
    inspected,
    median,
    most_confused,
    principal_plane,
)
from trainables.folded import fold_file
from trainables.panels import Tile, draw
from tuner.reporting.pictures import FILE, Arm, Panel, Pictures, Point, Role, Score
from tuner.reporting.retrieval import figures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainables.console import Bars
    from trainables.data import LabelledImages
    from tuner.journal import Trial
    from tuner.results import Results

QUERIES, PAIRS, EXAMPLES, POINTS = 5, 6, 5, 1200
FOLD = 0  # of several the one that is looked at


@dataclass(frozen=True)
class Seen:
    """What one arm's network does with the N images; places (N, 2): on its map."""

    arm: Arm
    found: Inspection
    places: "NDArray[np.float64]"

    @property
    def named(self) -> str:
        return f"the {self.arm.role} (trial {self.arm.trial})"


@dataclass(frozen=True)
class Sheet:
    """A panel that is still to be drawn."""

    panel: Panel
    rows: list[list[Tile]]


def make(results: "Results", bars: "Bars") -> tuple[Pictures, dict[str, bytes]]:
    """The record, and name -> PNG of each of its panels. UserError where there is no checkpoint or no data."""
    chosen = _chosen(results)
    checkpoints = [_place(results, trial) for _, trial in chosen]
    looked: list[Seen] = []
    for (role, trial), checkpoint in zip(chosen, checkpoints, strict=True):
        with bucket.local(checkpoint) as folder:
            images, embeddings = seen_in_validation(folder / _file(results), bars)
        if looked and not np.array_equal(images.class_numbers, looked[0].found.labels):
            raise UserError(f"trials {looked[0].arm.trial} and {trial.id} are validated on different images")
        found = inspected(embeddings, images.labels)
        places, explained = principal_plane(embeddings)
        arm = Arm(
            role=role,
            trial=trial.id,
            epoch=_epoch(results, trial),
            map_at_r=float(np.nanmean(found.map_at_r)),
            recall_at_1=float(np.nanmean(found.recall_at_1)),
            explained=explained,
        )
        looked.append(Seen(arm, found, places))
    sheets = [_hardest(images, looked), _median(images, looked), *_confused(images, looked)]
    classes, groups = images.class_numbers, images.super_labels
    record = Pictures(
        arms=tuple(seen.arm for seen in looked),
        fold=FOLD if results.sweep.validation.protocol == "kfold" else None,
        images=len(images),
        by_class=_scores(images, looked, classes, _class_names(images)),
        by_group=() if groups is None else _scores(images, looked, groups, images.super_names),
        points=_points(images, looked),
        panels=tuple(sheet.panel for sheet in sheets),
    )
    return record, {sheet.panel.name: _png(sheet) for sheet in sheets}


def write(record: Pictures, panels: dict[str, bytes], folder: Path) -> None:
    """NAME.png of each panel, the figures and the record, instead of those that were there.

    UserError where the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for earlier in folder.glob("*.png"):
            earlier.unlink()
        for name, panel in panels.items():
            (folder / f"{name}.png").write_bytes(panel)
        for figure in figures(record):
            figure.write(folder)
        (folder / FILE).write_text(record.model_dump_json() + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write the pictures to {str(folder)!r}: {error.strerror}") from None


def _png(sheet: Sheet) -> bytes:
    packed = io.BytesIO()
    draw(sheet.rows, sheet.panel.title).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def _chosen(results: "Results") -> list[tuple[Role, "Trial"]]:
    """The winner and, where it is another trial that has a value, the defaults."""
    best = results.best
    if best is None:
        raise UserError(f"no trial of sweep {results.sweep.name!r} has a value: there is nothing to show")
    chosen: list[tuple[Role, Trial]] = [("winner", best)]
    defaults = next(trial for trial in results.trials if trial.number == 0)
    if defaults is not best and results.best_metrics(defaults):
        chosen.append(("defaults", defaults))
    return chosen


def _epoch(results: "Results", trial: "Trial") -> int:
    return int(results.best_metrics(trial)["epoch"])


def _place(results: "Results", trial: "Trial") -> str:
    """Of the checkpoint of its best epoch. UserError where that is gone."""
    epoch = _epoch(results, trial)
    place = trial.checkpoints.get(epoch)
    if place is None:
        raise UserError(f"trial {trial.id} has no checkpoint of its best epoch, {epoch}: there is nothing to look with")
    if not bucket.exists(place):
        gone = f"{bucket.shown(place)}/{_file(results)}"
        raise UserError(f"trial {trial.id}: the checkpoint of its best epoch is not there any more: {gone}")
    return place


def _file(results: "Results") -> str:
    """In it; with folds that of the first."""
    file = Path(CHECKPOINT)
    return str(fold_file(file, FOLD) if results.sweep.validation.protocol == "kfold" else file)


def _class_names(images: "LabelledImages") -> tuple[str, ...]:
    """By the class' number among the classes that there are."""
    return tuple(images.class_names[label] for label in np.unique(images.labels))


def _hardest(images: "LabelledImages", looked: Sequence[Seen]) -> Sheet:
    panel = Panel(
        name="hardest",
        title=f"The hardest queries of {looked[0].named}",
        said=f"Those of the lowest AP@R, one of a class. {_read(looked)}",
    )
    return Sheet(panel, _neighbours(images, looked, hardest(looked[0].found, QUERIES)))


def _median(images: "LabelledImages", looked: Sequence[Seen]) -> Sheet:
    panel = Panel(
        name="median",
        title=f"Queries of median difficulty for {looked[0].named}",
        said=f"From the middle of the order of its AP@R, one of a class: what to expect of it. {_read(looked)}",
    )
    return Sheet(panel, _neighbours(images, looked, median(looked[0].found, QUERIES)))


def _read(looked: Sequence[Seen]) -> str:
    """How to read a panel of neighbours."""
    below = f" Below each query the same one for {looked[1].named}." if len(looked) > 1 else ""
    return f"Under the query its AP@R; to the right its nearest pictures.{below}"


def _neighbours(images: "LabelledImages", looked: Sequence[Seen], queries: Sequence[int]) -> list[list[Tile]]:
    """For each query a row for each arm: the query and its nearest neighbours, wrong ones with their class."""
    rows = []
    for query in queries:
        name = images.class_names[images.labels[query]]
        for seen in looked:
            score = seen.found.map_at_r[query]
            row = [Tile(images.picture(query), f"{name}\n{seen.arm.role} {score:.2f}", "query")]
            near = zip(seen.found.neighbours[query], seen.found.right[query], strict=True)
            for neighbour, right in ((int(one), bool(right)) for one, right in near if one >= 0):
                caption = "" if right else images.class_names[images.labels[neighbour]]
                row.append(Tile(images.picture(neighbour), caption, "right" if right else "wrong"))
            rows.append(row)
    return rows


def _confused(images: "LabelledImages", looked: Sequence[Seen]) -> list[Sheet]:
    """None where the winner confuses nothing."""
    names = _class_names(images)
    others = [{(one.label, one.other): one.count for one in confusions(seen.found)} for seen in looked]
    rows = []
    for pair in most_confused(looked[0].found, PAIRS):
        told = [names[pair.label]]
        for seen, counts in zip(looked, others, strict=True):
            told.append(f"{seen.arm.role} {counts.get((pair.label, pair.other), 0)} of {pair.queries}")
        row: list[Tile] = []
        for query, neighbour in pair.examples[:EXAMPLES]:
            row.append(Tile(images.picture(query), "" if row else "\n".join(told), "query"))
            row.append(Tile(images.picture(neighbour), names[pair.other], "wrong"))
        rows.append(row)
    panel = Panel(
        name="confused",
        title=f"The classes that {looked[0].named} confuses most",
        said="Queries, each with its nearest wrong neighbour where a right one should be; under the first, of how many "
        "of its class' queries that neighbour is of the other class.",
    )
    return [Sheet(panel, rows)] if rows else []


def _scores(
    images: "LabelledImages", looked: Sequence[Seen], groups: "NDArray[np.int64]", names: Sequence[str]
) -> tuple[Score, ...]:
    """Of each group (N,) that has a query with a positive; names by group."""
    first = {int(group): place for place, group in reversed(list(enumerate(groups)))}
    sizes = np.bincount(groups[~np.isnan(looked[0].found.map_at_r)], minlength=len(names))
    precisions = [group_means(seen.found.map_at_r, groups) for seen in looked]
    recalls = [group_means(seen.found.recall_at_1, groups) for seen in looked]
    return tuple(
        Score(
            name=names[group],
            group=_group(images, first[group]),
            queries=int(sizes[group]),
            map_at_r=tuple(means[group] for means in precisions),
            recall_at_1=tuple(means[group] for means in recalls),
        )
        for group in precisions[0]
    )


def _points(images: "LabelledImages", looked: Sequence[Seen]) -> tuple[Point, ...]:
    """All images, or as many at equal distances in their order."""
    shown = np.linspace(0, len(images) - 1, min(len(images), POINTS)).astype(np.int64)
    return tuple(
        Point(
            name=images.class_names[images.labels[position]],
            group=_group(images, position),
            places=tuple((round(float(x), 4), round(float(y), 4)) for x, y in (one.places[position] for one in looked)),
        )
        for position in map(int, shown)
    )


def _group(images: "LabelledImages", position: int) -> str:
    """The super-class, "" without."""
    return "" if images.super_labels is None else images.super_names[images.super_labels[position]]
