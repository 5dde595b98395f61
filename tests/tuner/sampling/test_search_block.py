"""The search block of a sweep file: its own points, earlier sweeps, what is refused before launch."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tuner.sampling.made import FLAT, LATENCY, METRIC, Limited, made_sweep
from trainables.errors import UserError
from tuner.journal import Journal, Trial
from tuner.sampling import check_search, copy_earlier, earlier_sweeps, suggest
from tuner.space import Choice, Point, Space
from tuner.sweep import Sweep, load_sweep

DEFAULTS: Point = {"a": 0.01, "b": 0.5, "c": 0.01, "d": 0.1}
INSIDE: Point = {"loss.SupAP.tau": 0.01, "loss.CalibrationLoss.weight": 1.0, "optimizer.backbone.lr": 0.001}


def test_the_file_s_points_come_first() -> None:
    points = [{**DEFAULTS, "b": 1.5}, {**DEFAULTS, "a": 0.02, "c": 0.03}]
    for sampler in ("tpe", "random", "sobol", "cmaes", "nsga2"):
        sweep = made_sweep(sampler, points=points)
        known = {0: Trial(0, dict(DEFAULTS))}
        assert suggest(sweep, 1, known).point == {**DEFAULTS, "b": 1.5}
        assert suggest(sweep, 2, known).point == {**DEFAULTS, "a": 0.02, "c": 0.03}
        assert list(suggest(sweep, 1, known).point) == list(FLAT)
    first = suggest(made_sweep("sobol"), 1, {}).point
    assert suggest(made_sweep("sobol", points=points), 3, {}).point == first


def several(sweep: Sweep, metric: str) -> Sweep:
    return sweep.model_copy(update={"tradeoffs": (sweep.objective.model_copy(update={"metric": metric}),)})


WORDS = Space({**FLAT, "word": Choice(("a", "b"))}, {})


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        (made_sweep("cmaes", WORDS), r"space.word: cmaes searches numbers, not \{a, b\}"),
        (made_sweep("cmaes", Space(FLAT, {"b": {"a": (0.01,)}})), "space.b: cmaes needs every key in every trial"),
        (made_sweep("sobol", warm_start=["x"]), "search.warm_start: the sobol sampler learns nothing"),
        (made_sweep("tpe", warm_start=["nowhere"]), "search.warm_start: nowhere has no journal.jsonl"),
        (made_sweep("tpe", Limited(FLAT, lambda point: False)), "constraints: none of 1000 points in a row"),
    ],
)
def test_what_is_refused(sweep: Sweep, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}") as refused:
        check_search(sweep)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("sampler", "module", "package"), [("hyperopt", "hyperopt", "hyperopt"), ("bohb", "hpbandster", "hpbandster")]
)
def test_a_package_that_is_not_installed(
    sampler: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(name: str) -> object:
        return None if name == module else find_spec(name)

    monkeypatch.setattr("tuner.sampling.refusals.find_spec", found)
    with pytest.raises(UserError, match=f"search.sampler={sampler} needs a package .* pip install '{package}"):
        check_search(made_sweep(sampler))


def write_sweep(sweep: Sweep, trials: list[tuple[Point, str, float]]) -> None:
    """A journal as a launch leaves it."""
    journal = Journal(sweep.folder)
    journal.open()
    journal.write("sweep", launch="x", trials=len(trials), sweep=sweep.model_dump(mode="json"))
    for number, (point, state, value) in enumerate(trials):
        journal.write("point", trial=number, point=point)
        journal.write("report", trial=number, epoch=1, metrics={METRIC: value, "train/loss": 1.0})
        journal.write("end", trial=number, state=state, reason="")
    journal.close()


@pytest.fixture
def later(sweep: Sweep) -> Callable[..., Sweep]:
    """`sweep` is the earlier one; the later one learns from it."""

    def make(**changed: Any) -> Sweep:
        search = sweep.search.model_copy(update={"warm_start": (str(sweep.folder),), "startup": 2, "trials": 10})
        return sweep.model_copy(update={"name": "later", "search": search, **changed})

    return make


def test_a_warm_start(sweep: Sweep, later: Callable[..., Sweep]) -> None:
    outside = {**INSIDE, "loss.SupAP.tau": 9.0}
    trials = [(INSIDE, "finished", 0.5), (outside, "finished", 0.9), (INSIDE, "stopped", 0.9)]
    write_sweep(sweep, [*trials, *[({**INSIDE, "loss.SupAP.tau": 0.01 + n / 1000}, "finished", 0.4) for n in range(3)]])
    found = earlier_sweeps(later())
    assert [str(one) for one in found] == [
        f"warm start: 4 finished trials of {sweep.folder}, 1 left out: outside today's space"
    ]
    journal = Journal(later().folder)
    journal.open()
    copy_earlier(found, journal)
    journal.close()
    (sweep.folder / "journal.jsonl").unlink()
    assert earlier_sweeps(later()) == []  # copied: the earlier sweep may go
    read = Journal.read(later().folder)
    assert list(read.warm) == [-4, -3, -2, -1] and read.trials == {}
    assert read.warm[-4] == Trial(-4, INSIDE, "finished", reports={1: {METRIC: 0.5}})
    for sampler in ("tpe", "cmaes", "nsga2"):
        asked = later(search=later().search.model_copy(update={"sampler": sampler}))
        known = {0: Trial(0, INSIDE, "running")}
        assert suggest(asked, 1, {**read.warm, **known}) == suggest(asked, 1, {**read.warm, **known})
        if sampler != "nsga2":  # four do not fill its first generation
            assert suggest(asked, 1, {**read.warm, **known}).point != suggest(asked, 1, known).point


def test_a_warm_start_from_a_sweep_file(sweep: Sweep, sweep_file: Path, later: Callable[..., Sweep]) -> None:
    write_sweep(sweep, [(INSIDE, "finished", 0.5)])
    named = later().search.model_copy(update={"warm_start": (str(sweep_file),)})
    assert len(earlier_sweeps(later(search=named))[0].trials) == 1


def test_warm_starts_that_are_refused(sweep: Sweep, later: Callable[..., Sweep]) -> None:
    write_sweep(sweep, [(INSIDE, "finished", 0.5)])
    objective = sweep.objective.model_copy(update={"metric": "val/recall_at_1"})
    validation = sweep.validation.model_copy(update={"seed": 5})
    cases = {
        r"has another objective: val/map_at_r \(max\)": {"objective": objective},
        "held out something else: validation": {"validation": validation},
        "searched other keys: optimizer.backbone.lr": {"space": {key: sweep.space[key] for key in list(INSIDE)[:2]}},
        "is of other data: ": {"train": (*sweep.train, "dataset.kwargs.data_dir=/elsewhere")},
        "has no finished trial inside": {"space": {**sweep.space, "loss.SupAP.tau": {"uniform": [0.5, 0.6]}}},
        "is this sweep itself": {"name": sweep.name},
        "has no finished trial inside this sweep's space": {"tradeoffs": (objective,)},
    }
    for message, changed in cases.items():
        with pytest.raises(UserError, match=message):
            earlier_sweeps(later(**changed), fresh=True)


@pytest.mark.slow
def test_a_whole_sweep_from_points_and_a_warm_start(sweep_file: Path) -> None:
    """By the command: the notes, the copies and the file's own point are in the journal."""
    from tuner.session import run

    write_sweep(load_sweep(sweep_file), [(INSIDE, "finished", 0.5), (INSIDE, "finished", 0.4)])
    written = yaml.safe_load(sweep_file.read_text())
    written["search"] = {"trials": 3, "sampler": "cmaes", "warm_start": [str(sweep_file)]}
    written["search"]["points"] = [{"loss.SupAP.tau": 0.05}]
    later_file = sweep_file.with_name("later.yaml")
    later_file.write_text(yaml.safe_dump({**written, "name": "later"}))
    shorter = "train=[dataset.sampler.kwargs.batch_size=16, experience.max_iter=1]"
    later = load_sweep(later_file, [shorter, "scheduler={name: none}"])
    run(later)
    events = [json.loads(line) for line in (later.folder / "journal.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events[:2]] == ["sweep", "warm"] and len(events[1]["trials"]) == 2
    points = [event for event in events if event["event"] == "point"]
    assert points[1]["point"] == {**points[0]["point"], "loss.SupAP.tau": 0.05} and "note" not in points[1]
    assert set(points[2]["note"]) >= {"generation", "unit"}


def test_latency_may_be_a_trade_off() -> None:
    check_search(several(made_sweep("tpe"), LATENCY))
