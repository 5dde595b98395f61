"""What `check` refuses before anything is launched or written."""

from pathlib import Path

import pytest

from trainables.errors import UserError
from tuner import load_sweep
from tuner.plan import make_plan


def test_a_plan_knows_defaults_trials_and_epochs(sweep_file: Path) -> None:
    plan = make_plan(load_sweep(sweep_file))
    assert plan.defaults == {
        "loss.SupAP.tau": 0.01,
        "loss.CalibrationLoss.weight": 1.0,
        "optimizer.backbone.lr": 0.0003,
    }
    assert (plan.trials, plan.epochs) == (6, 4)
    experiment = plan.experiment({**plan.defaults, "loss.SupAP.tau": 0.05})
    assert experiment.loss[1].kwargs["tau"] == 0.05
    assert experiment.experience.test_eval_freq == -1 and experiment.experience.holdout == 0.34
    assert any("trials are few" in warning for warning in plan.warnings)


def test_tied_paths_are_set_together(sweep_file: Path) -> None:
    plan = make_plan(
        load_sweep(sweep_file, ["space={'optimizer.backbone.lr, optimizer.fc.lr': {uniform: [0.1, 0.2]}}"])
    )
    experiment = plan.experiment({"optimizer.backbone.lr, optimizer.fc.lr": 0.125})
    assert [part.kwargs["lr"] for part in experiment.optimizer] == [0.125, 0.125]


def test_presets_outside_their_range_are_warned_of(sweep_file: Path) -> None:
    plan = make_plan(load_sweep(sweep_file, ["space.loss.SupAP.tau={uniform: [0.1, 0.2]}"]))
    assert "the preset loss.SupAP.tau=0.01 lies outside the searched [0.1, 0.2]" in plan.warnings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["objective.metric=test/map_at_r"], "a sweep never sees the test split; use 'val/map_at_r'"),
        (["objective.metric=val/map_at_k"], "did you mean 'val/map_at_r'"),
        (["objective.metric=val/map"], "unknown metric 'val/map'"),
        (["space.loss.SupApp.tau={uniform: [0.1, 0.2]}"], "unknown loss 'SupApp', did you mean 'SupAP'"),
        (["space.optimizer.backbone.lr={uniform: [-0.1, 0.1]}"], "Invalid learning rate: -0.1"),
        (["space.loss.SupAP.tau={uniform: [0.0, 0.1]}"], "space.loss.SupAP.tau=0.0"),
        (["train=[dataset=emojis]"], "unknown dataset 'emojis', did you mean 'emoji'"),
        (["train=[experience.test_eval_freq=1]"], "a trial never sees the test split"),
        (["space.experience.max_iter={int: [1, 5]}"], "the number of epochs is a budget"),
        (["train=[loss.SupAP.tau=0.1]"], "fix it or search it"),
        (["budget.concurrent=4000"], "cores, this machine has"),
        (["resources.gpu=1000"], "resources.gpu=1000"),
        (["scheduler.grace=40"], "past the last epoch"),
        (["tracking=sqlit:///x.db"], "did you mean 'sqlite'"),
        (["tracking=http://127.0.0.1:9"], "no server answers"),
        (["search.sampler=grid", "search.startup=null"], "the grid sampler needs grid or choice"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    sweep_file: Path, tmp_path: Path, settings: list[str], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        make_plan(load_sweep(sweep_file, settings))
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]
