"""Axis plots and the ranges that should grow."""

import pytest
import yaml

from tests.tuner.analysis.made import lasting, results, trial
from tuner.analysis.axes import axes, edges
from tuner.analysis.isolation import arms, isolation
from tuner.language import parse


def test_axes_have_every_trial_that_has_the_key() -> None:
    trials = [
        trial(0, {"lr": 0.1, "weight": 0.5}, [0.2, 0.4, 0.3]),
        trial(1, {"lr": 0.01}, [], "infeasible"),
    ]
    found = axes(results(trials))
    assert [(p.trial, p.value, p.objective, p.state) for p in found["lr"]] == [
        (1, 0.01, None, "infeasible"),
        (0, 0.1, 0.4, "finished"),
    ]
    assert [p.trial for p in found["weight"]] == [0]


def crowded(written: dict, best: list[float], rest: list[float]) -> list:  # type: ignore[type-arg]
    """`best` have the best values, `rest` the others."""
    points = [{"key": value} for value in [*best, *rest]]
    return edges(results(lasting(points, [1 - 0.01 * n for n in range(len(points))]), {"key": written}))


@pytest.mark.parametrize(
    ("written", "best", "middle", "end", "line"),
    [
        ({"loguniform": [0.001, 0.1]}, [0.0011] * 3 + [0.01] * 2, 0.01, "low", "key: {loguniform: [0.0001, 0.1]}"),
        ({"loguniform": [0.001, 0.1]}, [0.09] * 5, 0.01, "high", "key: {loguniform: [0.001, 1.0]}"),
        ({"uniform": [1.0, 2.0]}, [1.95] * 4 + [1.5], 1.5, "high", "key: {uniform: [1.0, 2.5]}"),
        ({"uniform": [0.2, 1.2]}, [0.21] * 5, 0.7, "low", "key: {uniform: [0.0, 1.2]}"),
        ({"uniform": [0.0, 1.0]}, [0.01] * 5, 0.5, "low", ""),
        ({"int": [4, 12]}, [12] * 3 + [8] * 2, 8, "high", "key: {int: [4, 16]}"),
        ({"quniform": [0.0, 1.0, 0.25]}, [1.0] * 5, 0.5, "high", "key: {quniform: [0.0, 1.5, 0.25]}"),
    ],
)
def test_an_edge_gets_room(written: dict, best: list[float], middle: float, end: str, line: str) -> None:  # type: ignore[type-arg]
    (found,) = crowded(written, best, [middle] * 5)
    assert (found.end, found.line, found.top) == (end, line, 5) and found.count >= 3
    if line:
        ((path, distribution),) = yaml.safe_load(line).items()
        assert best[0] in parse(path, distribution)


def test_no_edge_without_a_crowd_or_with_few_trials() -> None:
    assert crowded({"uniform": [0, 1]}, [1.0, 1.0, 0.5, 0.5, 0.5], [0.5] * 5) == []
    assert crowded({"uniform": [0, 1]}, [1.0] * 5, [0.5] * 4) == []
    assert crowded({"choice": [1, 2]}, [1] * 5, [2] * 5) == []


def test_isolation_is_the_best_over_everything_else() -> None:
    points = [{"lr": lr, "weight": w} for lr, w in [(0.002, 0.1), (0.003, 0.9), (0.5, 0.5), (5.0, 0.5)]]
    found = isolation(results(lasting(points, [0.1, 0.3, 0.2, 0.4])), "lr")
    assert [cell.trials for cell in found] == [2, 0, 0, 1, 1]
    assert [cell.best for cell in found] == [0.3, None, None, 0.2, 0.4] and found[-1].label == "outside"
    assert found[0].trial == 1 and found[0].point == {"weight": 0.9}
    assert found[0].fair == pytest.approx(0.2)  # of one trial of two: their mean


def test_arms_of_a_study() -> None:
    space = {"loss": {"choice": ["supap", "fastap"]}, "lr": {"loguniform": [0.001, 1.0]}}
    points = [{"loss": loss, "lr": lr} for loss in ("supap", "fastap") for lr in (0.1, 0.01)]
    study = {"scientific": ["loss"], "nuisance": ["lr"]}
    found = arms(results(lasting(points, [0.4, 0.2, 0.5, 0.1]), space, study=study))
    assert [(cell.label, cell.best, cell.point) for cell in found] == [
        ("supap", 0.4, {"lr": 0.1}),
        ("fastap", 0.5, {"lr": 0.1}),
    ]
    assert arms(results(lasting(points, [0.4, 0.2, 0.5, 0.1]), space)) == []
