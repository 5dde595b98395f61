"""The sweep file: read whole, or refused with the key and the nearest one."""

from pathlib import Path

import pytest

from trainables.errors import UserError
from tuner import load_sweep
from tuner.sweep import Sweep

ROOT = Path(__file__).parent.parent.parent


def test_settings_lie_over_the_file(sweep_file: Path) -> None:
    sweep = load_sweep(sweep_file, ["search.trials=3", "space.loss.SupAP.tau={uniform: [0.1, 0.2]}", "name=other"])
    assert (sweep.search.trials, sweep.name) == (3, "other")
    assert str(sweep.distributions["loss.SupAP.tau"]) == "[0.1, 0.2]"
    assert sweep.space["optimizer.backbone.lr"] == {"loguniform": [0.0001, 0.01]}


def test_trials_never_see_the_test_split(sweep: Sweep) -> None:
    assert "experience.test_eval_freq=-1" in sweep.fixed()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("serach.trials=3", "unknown key 'serach', did you mean 'search"),
        ("search.trails=3", "unknown key 'search.trails', did you mean 'search.trials'"),
        ("search.trials=lots", "search.trials='lots'"),
        ("search.trials=0", "greater than 0"),
        ("search.sampler=tpee", "search.sampler='tpee'"),
        ("scheduler.reduction=1", "greater than 1"),
        ("validation.fraction=1.5", "less than 1"),
        ("name=a/b", "name='a/b'"),
        ("goal=null", "goal=None"),
        ("space={}", "at least 1 item"),
        ("study={scientifik: [a]}", "unknown key 'study.scientifik', did you mean 'study.scientific'"),
        ("tradeoffs=[{metric: model/dim}, {metrik: x}]", "'tradeoffs.1.metrik', did you mean 'tradeoffs.1.metric'"),
        ("constraints=[loss.SupAP.taux < 1]", "did you mean 'loss.SupAP.tau'"),
        ("space.loss.SupAP.tau={uniform: [0, 1], when: {los: a}}", "unknown key of the space 'los'"),
        ("space.loss.SupAP.tau={loguniforn: [1, 2]}", "did you mean 'loguniform'"),
        ("trials", "KEY=VALUE"),
        ("search.trials=[", "cannot read the value"),
    ],
)
def test_mistakes_are_refused_in_one_line(sweep_file: Path, setting: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load_sweep(sweep_file, [setting])
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["search.sampler=random"], "search.startup: not used by search.sampler='random'; leave out, or --set search"),
        (["scheduler.name=none"], "scheduler.grace, scheduler.reduction: not used by scheduler.name='none'"),
        (["scheduler.name=median"], "scheduler.reduction: not used by scheduler.name='median'"),
        (["scheduler={name: hyperband, brackets: 2}"], "scheduler.brackets: not used"),
        (["scheduler={name: asha, interval: 2}"], "scheduler.interval: not used by scheduler.name='asha'"),
        (["validation.protocol=kfold"], "validation.fraction: not used by validation.protocol='kfold'"),
        (["validation.folds=3"], "validation.folds: not used by validation.protocol='holdout'"),
        (["search={sampler: sobol, warm_start: [runs/a]}"], "search.warm_start: not used"),
        (["search={sampler: cmaes}", "tradeoffs=[{metric: model/dim, mode: min}]"], "several objectives"),
    ],
)
def test_what_the_choice_does_not_use_is_refused(sweep_file: Path, settings: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        load_sweep(sweep_file, settings)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_null_takes_a_key_out(sweep_file: Path) -> None:
    without = ["scheduler.name=none", "scheduler.grace=null", "scheduler.reduction=null", "space.loss.SupAP.tau=null"]
    sweep = load_sweep(sweep_file, without)
    assert sweep.scheduler.grace == 3 and "loss.SupAP.tau" not in sweep.space
    with pytest.raises(UserError, match=r"unknown key .scheduler.grase., did you mean .scheduler.grace."):
        load_sweep(sweep_file, ["scheduler.grase=null"])


def test_files_that_are_no_sweeps(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no sweep file .*did you mean 'search_spaces/emoji.yaml'"):
        load_sweep("search_spaces/emojis.yaml")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    with pytest.raises(UserError):
        load_sweep(tmp_path / "list.yaml")
    (tmp_path / "torn.yaml").write_text("a: [1")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        load_sweep(tmp_path / "torn.yaml")


def test_paths_are_searched_once(sweep_file: Path) -> None:
    with pytest.raises(UserError, match="twice"):
        load_sweep(sweep_file, ["space.optimizer.backbone.lr, optimizer.fc.lr={uniform: [0.1, 0.2]}"])


@pytest.mark.parametrize("file", sorted((ROOT / "search_spaces").glob("*.yaml")), ids=lambda file: file.name)
def test_shipped_sweeps_are_valid(file: Path) -> None:
    assert load_sweep(file).goal
