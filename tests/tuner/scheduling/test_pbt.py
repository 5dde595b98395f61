"""Population based training: the exchange written down as the paper has it, by hand, and replayed."""

import math
from typing import Any

import numpy as np
import pytest

from tests.tuner.scheduling.runs import METRIC, Launch, curves
from trainables.errors import UserError
from tuner.plan import make_plan
from tuner.scheduling import Exchange, Verdict
from tuner.scheduling.exploration import explored
from tuner.scheduling.pbt import PBT
from tuner.sweep import Sweep

GO, PAUSE = Verdict.CONTINUE, Verdict.PAUSE
POPULATION = {"scheduler": {"name": "pbt"}, "search": {"sampler": "random", "trials": 6}}


def pbt(epochs: int, trials: int, interval: int = 2, quantile: float = 0.25, mode: str = "max") -> PBT:
    return PBT(mode, epochs, interval=interval, quantile=quantile, trials=trials, seed=0)


def changed(sweep: Sweep, **blocks: Any) -> Sweep:
    return Sweep.model_validate({**sweep.model_dump(mode="json", exclude_unset=True), **POPULATION, **blocks})


def by_the_paper(values: np.ndarray, interval: int, quantile: float) -> list[tuple[int, int, set[int]]]:
    """(number, epoch, donors it may have) of every exchange; values (T, R), each trial's own whoever it copied."""
    found = []
    trials, epochs = values.shape
    count = min(math.ceil(trials * quantile), trials // 2)
    for epoch in range(interval, epochs, interval):
        best = sorted(range(trials), key=lambda number: -values[number, epoch - 1])
        found += [(number, epoch, set(best[:count])) for number in best[trials - count :] if number != 0]
    return found


def test_four_trials_by_hand() -> None:
    """Half of four: the two worst copy one of the two best; trial 0, the worst of all, copies nobody."""
    rule = pbt(4, 4, quantile=0.5)
    assert rule.report(0, 1, 0.1) is GO
    assert [rule.report(number, 2, value) for number, value in ((0, 0.1), (1, 0.4), (3, 0.3))] == [PAUSE] * 3
    assert rule.paused == {0, 1, 3} and not rule.exchanges and not rule.resumable
    assert rule.report(2, 2, 0.2) is PAUSE
    assert rule.paused == set() and rule.resumable == [0, 1, 2, 3]
    (exchange,) = rule.exchanges
    assert exchange.number == 2 and exchange.epoch == 2 and exchange.donor in (1, 3)
    assert rule.report(1, 2, 0.4) is GO, "an epoch that is trained again after a kill"
    assert rule.report(1, 4, 0.4) is GO, "nothing is exchanged after the last epoch"


def test_nobody_waits_for_a_trial_that_has_ended() -> None:
    rule = pbt(4, 3, mode="min")
    assert rule.report(1, 2, 0.5) is PAUSE and rule.report(2, 2, 0.7) is PAUSE
    rule.ended(0)
    assert rule.resumable == [1, 2] and rule.exchanges == [Exchange(2, 2, 1)]


def test_equal_values_are_not_exchanged() -> None:
    rule = pbt(4, 2, quantile=0.5)
    assert [rule.report(number, 2, 0.5) for number in (0, 1)] == [PAUSE, PAUSE]
    assert rule.exchanges == []


@pytest.mark.parametrize("slots", [1, 2, 9])
@pytest.mark.parametrize(("trials", "interval", "quantile"), [(9, 2, 0.25), (8, 3, 0.5), (2, 1, 0.2)])
def test_any_order_and_any_number_of_slots_exchange_alike(
    trials: int, interval: int, quantile: float, slots: int
) -> None:
    values = curves(trials, 8, seed=trials)
    launch = Launch(pbt(8, trials, interval, quantile), values, slots, seed=slots)
    launch.run()
    assert launch.epochs() == [8] * trials
    wanted = by_the_paper(values, interval, quantile)
    assert sorted(exchange[:2] for exchange in launch.rule.exchanges) == sorted(one[:2] for one in wanted)
    donors = {one[:2]: one[2] for one in wanted}
    assert all(one.donor in donors[one.number, one.epoch] for one in launch.rule.exchanges)
    alike = Launch(pbt(8, trials, interval, quantile), values, 1, seed=7)
    alike.run()
    assert sorted(alike.rule.exchanges) == sorted(launch.rule.exchanges)


@pytest.mark.parametrize("steps", [3, 11, 20, 33])
def test_a_replayed_rule_decides_the_same(steps: int) -> None:
    values = curves(6, 8, seed=1)
    whole = Launch(pbt(8, 6), values, 2)
    whole.run()
    launch = Launch(pbt(8, 6), values, 2)
    launch.run(steps)
    before = list(launch.rule.exchanges)
    launch.resume(pbt(8, 6))
    assert sorted(launch.rule.exchanges) == sorted(before), "decided again: who tells of them leaves out what was told"
    launch.run()
    assert sorted(launch.rule.exchanges) == sorted(whole.rule.exchanges)
    again = pbt(8, 6)
    again.replay(launch.trials.values(), METRIC)
    assert sorted(again.exchanges) == sorted(whole.rule.exchanges)


def test_what_a_copied_point_becomes(sweep: Sweep) -> None:
    space = {
        "loss.SupAP.tau": {"loguniform": [0.001, 0.1]},
        "loss.CalibrationLoss.weight": {"choice": [0.0, 1.0, 2.0]},
        "optimizer.backbone.lr": {"uniform": [0.0, 0.01]},
    }
    stepping = changed(sweep, space=space, scheduler={"name": "pbt", "resample": 0.0})
    donor = {"loss.SupAP.tau": 0.09, "loss.CalibrationLoss.weight": 2.0, "optimizer.backbone.lr": 0.005}
    points = [explored(stepping, Exchange(number, 2, 0), donor) for number in range(40)]
    assert {round(float(point["loss.SupAP.tau"]), 9) for point in points} == {0.072, 0.1}
    assert {round(float(point["optimizer.backbone.lr"]), 9) for point in points} == {0.004, 0.006}
    assert {point["loss.CalibrationLoss.weight"] for point in points} == {1.0}
    assert points == [explored(stepping, Exchange(number, 2, 0), donor) for number in range(40)]
    assert points != [explored(stepping, Exchange(number, 4, 0), donor) for number in range(40)]
    fresh = changed(sweep, space=space, scheduler={"name": "pbt", "resample": 1.0})
    drawn = {explored(fresh, Exchange(number, 2, 0), donor)["loss.SupAP.tau"] for number in range(40)}
    assert len(drawn) == 40 and all(0.001 <= float(value) <= 0.1 for value in drawn)
    bound = changed(sweep, space=space, constraints=["optimizer.backbone.lr < 0.0045"])
    kept = {explored(bound, Exchange(number, 2, 0), donor)["optimizer.backbone.lr"] for number in range(20)}
    assert all(float(value) < 0.0045 for value in kept)


@pytest.mark.parametrize(
    ("blocks", "told"),
    [
        ({"search": {"sampler": "tpe"}}, "search.sampler='tpe' would learn from copied trials; with pbt: random"),
        ({"train": [], "space": {"dataset.sampler.kwargs.batch_size": {"choice": [8, 16]}}},
         "space.dataset.sampler.kwargs.batch_size: dataset.sampler.kwargs.batch_size was 8, now 16; with pbt only"),
        ({"space": {"experience.seed": {"choice": [0, 1]}}}, "with pbt only learning rates"),
        ({"space": {"loss": {"choice": ["roadmap", "supap"]}}}, "space.loss: loss was"),
        ({"space": {"loss.CalibrationLoss.weight": {"choice": [0.0, 1.0]},
                    "optimizer.fc.lr": {"uniform": [0.1, 0.2], "when": {"loss.CalibrationLoss.weight": [1.0]}}}},
         "space.optimizer.fc.lr: pbt changes values in a running training, where every key must exist"),
    ],
)  # fmt: skip
def test_refusals(sweep: Sweep, blocks: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as error:
        make_plan(changed(sweep, **blocks))
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_population_of_learning_rates_and_loss_settings(sweep: Sweep) -> None:
    assert make_plan(changed(sweep)).trials == 6
    decay = {"optimizer.backbone.weight_decay": {"loguniform": [1e-6, 1e-2]}}
    assert make_plan(changed(sweep, space=decay)).trials == 6
