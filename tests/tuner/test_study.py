"""Studies: the same nuisance points in every arm."""

from collections.abc import Mapping
from typing import Any

import pytest

from trainables.errors import UserError
from tuner import study
from tuner.sampling import suggest
from tuner.space import Point
from tuner.sweep import Sweep

SPACE = {
    "loss": {"grid": ["roadmap", "smoothap"]},
    "loss.SupAP.tau": {"grid": [0.01, 0.1], "when": {"loss": "roadmap"}},
    "deep": {"choice": [True, False]},
    "lr": {"uniform": [0.0, 1.0]},
    "rho": {"constant": 3},
}
STUDY = {"scientific": ["loss", "deep"], "nuisance": ["loss.SupAP.tau", "lr"]}


def studied(sweep: Sweep, **blocks: Any) -> Sweep:
    written = sweep.model_dump(exclude={"search", "scheduler"}, exclude_unset=True)
    search = {"sampler": "random", "trials": 25, "seed": 3}
    return Sweep.model_validate({**written, "space": SPACE, "search": search, "study": STUDY, **blocks})


def test_every_arm_has_the_same_points(sweep: Sweep) -> None:
    made = studied(sweep, constraints=["lr < 0.5 or loss == 'smoothap' or loss.SupAP.tau > 0.05"])
    part = study.nuisance(made)
    assert list(part.distributions) == ["loss.SupAP.tau", "lr"] and not part.searched.conditions
    asked: list[int] = []

    def draw(index: int) -> Point:
        asked.append(index)
        return suggest(part, index + 1, {}).point

    points = [study.point(made, number, draw) for number in range(1, 25)]
    assert all(made.searched.allows(point) and point["rho"] == 3 for point in points)
    # the slow way: draw, keep what the arm with the constraint allows, pair with each arm
    drawn = [suggest(part, index + 1, {}).point for index in range(20)]
    kept = [one for one in drawn if float(one["lr"]) < 0.5 or float(one["loss.SupAP.tau"]) > 0.05]
    assert len(kept) < len(drawn)
    for number, point in enumerate(points, start=1):
        arm, index = study.split(number, 4)
        loss, deep = [("roadmap", True), ("roadmap", False), ("smoothap", True), ("smoothap", False)][arm]
        expected = {"loss": loss, "deep": deep, "lr": kept[index]["lr"], "rho": 3}
        if loss == "roadmap":
            expected["loss.SupAP.tau"] = kept[index]["loss.SupAP.tau"]
        assert point == expected
    assert study.point(made, 7, draw) == points[6]


def test_numbers() -> None:
    assert [study.split(number, 3) for number in range(1, 8)] == [
        (0, 0),
        (1, 0),
        (2, 0),
        (0, 1),
        (1, 1),
        (2, 1),
        (0, 2),
    ]


def test_a_grid_is_counted(sweep: Sweep) -> None:
    space = {**SPACE, "lr": {"grid": [0.1, 0.2, 0.7]}}
    made = studied(sweep, space=space, constraints=["lr < 0.5 or deep"])
    assert study.grid_trials(made) == 1 + 4 * 2 * 2


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ({"study": {"scientific": ["los"]}}, "study.scientific: unknown key of the space 'los', did you mean 'loss'"),
        ({"study": {"nuisance": ["lr"]}}, "study.scientific is empty"),
        ({"study": {**STUDY, "nuisance": ["lr"]}}, "loss.SupAP.tau is neither scientific nor nuisance"),
        ({"study": {**STUDY, "nuisance": ["loss.SupAP.tau", "lr", "deep"]}}, "deep is both"),
        ({"study": {**STUDY, "scientific": ["loss", "loss", "deep"]}}, "names a key twice"),
        ({"study": {"scientific": ["loss", "deep", "lr"], "nuisance": ["loss.SupAP.tau"]}}, "lr is a range"),
        (
            {"study": {"scientific": ["loss.SupAP.tau", "deep"], "nuisance": ["loss", "lr"]}},
            "exists only with values of loss",
        ),
        ({"study": {**STUDY, "fixed": {"modell": "why"}}, "train": ["model=conv4"]}, "did you mean 'model'"),
        ({"search": {"sampler": "tpe"}}, "search.sampler='tpe' would adapt to each arm"),
        ({"scheduler": {"name": "pbt"}}, "would copy settings from one arm"),
        ({"constraints": ["deep and not deep"]}, "allow no arm"),
    ],
)
def test_mistakes(sweep: Sweep, blocks: Mapping[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        study.check_study(studied(sweep, **blocks))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_constraints_that_no_nuisance_point_fulfils(sweep: Sweep) -> None:
    made = studied(sweep, constraints=["lr > 2 or deep"])
    with pytest.raises(UserError, match="none of 10000 points"):
        study.point(made, 1, lambda index: {"loss.SupAP.tau": 0.01, "lr": 0.5})
