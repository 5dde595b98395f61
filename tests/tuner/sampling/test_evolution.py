"""CMA-ES replayed from a journal is CMA-ES."""

import json
from dataclasses import replace

import numpy as np
import pytest
from cmaes import CMA

from tests.tuner.sampling.made import FLAT, METRIC, MIXED, made_sweep, quadratic, searched, trial
from tuner.journal import Trial
from tuner.sampling import suggest
from tuner.sampling.question import Question
from tuner.sampling.units import unit_of
from tuner.space import Choice, Point, Space

FIRST: Point = {"a": 1e-3, "b": 1.5, "c": 1e-2, "d": 0.01}


def judge(point: Point) -> dict[str, float]:
    return {METRIC: quadratic(point)}


def test_replay_equals_a_strategy_that_is_kept() -> None:
    """One object through 40 trials, told whenever eight are there."""
    sweep = made_sweep("cmaes", seed=3)
    known = searched(sweep, FIRST, judge, 40)
    kept = CMA(mean=np.full(4, 0.5), sigma=0.3, bounds=np.tile([0.0, 1.0], (4, 1)), seed=3)
    solutions = [(np.array([unit_of(FLAT[key], FIRST[key]) for key in FLAT]), -quadratic(FIRST))]  # type: ignore[arg-type]
    for number in range(1, 40):
        if len(solutions) == kept.population_size:
            kept.tell(solutions)
            solutions = []
        kept.reseed_rng(Question.of(sweep, number, {}).seed())
        unit = kept.ask()
        assert known[number].point == sweep.searched.at(unit.tolist())
        assert known[number].note["generation"] == kept.generation == number // 8
        solutions.append((unit, -quadratic(known[number].point)))


def test_the_history_stands_whoever_finishes_later() -> None:
    """Trial 2 is still running when the second generation is opened: it is an extra one of the first for good."""
    sweep = made_sweep("cmaes")
    known = {0: Trial(0, dict(FIRST), "finished", reports={1: judge(FIRST)})}
    for number in range(1, 12):
        draw = suggest(sweep, number, known)
        state = "running" if number == 2 else "finished"
        known[number] = Trial(number, draw.point, state, reports={1: judge(draw.point)}, note=draw.note)
    assert [one.note.get("generation", 0) for one in known.values()] == [0] * 9 + [1] * 3
    assert known[9].note["parents"] == [0, 1, 3, 4, 5, 6, 7, 8]
    assert [number for number in known if "parents" in known[number].note] == [9]
    before = suggest(sweep, 12, known)
    after = suggest(sweep, 12, {**known, 2: replace(known[2], state="finished")})
    assert before == after


def test_notes_are_small_and_json() -> None:
    known = searched(made_sweep("cmaes"), FIRST, judge, 12)
    for one in known.values():
        assert json.loads(json.dumps(one.note)) == one.note and len(json.dumps(one.note)) < 300


def test_whole_numbers_and_steps() -> None:
    space = Space({key: known for key, known in MIXED.items() if not isinstance(known, Choice)}, {})

    def judge(point: Point) -> dict[str, float]:
        return {METRIC: -abs(int(point["whole"]) - 6) - abs(float(point["steps"]) - 0.5)}

    first: Point = {"real": 1.0, "log": 1e-2, "steps": 1.5, "whole": 2, "wholelog": 10}
    known = searched(made_sweep("cmaes", space), first, judge, 60)
    far = [-one.reports[1][METRIC] for one in known.values()]
    assert np.mean(far[-18:]) < np.mean(far[:9]) / 2
    assert all(type(one.point["whole"]) is int and type(one.point["steps"]) is float for one in known.values())


def test_stopped_trials_count_by_how_far_they_came() -> None:
    """A generation of which none finished still says where it was better."""
    sweep = made_sweep("cmaes")
    known: dict[int, Trial] = {}
    for number in range(33):
        point, note = dict(FIRST), {}
        if number:
            draw = suggest(sweep, number, known)
            point, note = draw.point, draw.note
        epochs = 3 if float(point["b"]) < 0.5 else 1
        known[number] = trial(number, point, "stopped", *[0.1] * epochs, note=note)
    values = [float(one.point["b"]) for one in known.values()]
    assert np.median(values[24:]) < np.median(values[:9]) - 0.2


@pytest.mark.parametrize("earlier", [1, 20])
def test_a_warm_start_places_the_first_generation(earlier: int) -> None:
    cold = made_sweep("cmaes", seed=2)
    warm = {n - earlier: trial(n - earlier, {"a": 10**-2.2, "b": 0.7, "c": 1e-3, "d": 0.1}, "finished", 0.9)
            for n in range(earlier)}  # fmt: skip
    near = [quadratic(suggest(cold, number, warm).point) for number in range(1, 9)]
    far = [quadratic(suggest(cold, number, {}).point) for number in range(1, 9)]
    assert np.mean(near) > np.mean(far) / 3
