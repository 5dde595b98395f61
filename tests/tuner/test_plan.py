"""What `check` refuses before anything is launched or written."""

from pathlib import Path

import pytest

from trainables.errors import UserError
from tuner import load_sweep
from tuner.edges import checked_points
from tuner.plan import make_plan

LOSSES = (
    "space={loss.SupAP.tau: {loguniform: [0.01, 0.1], when: {loss: [roadmap, supap]}}, loss.SmoothAP.tau: "
    "{loguniform: [0.02, 0.1], when: {loss: smoothap}}, loss: {choice: [roadmap, smoothap, supap]}, "
    "loss.SupAP.rho: {constant: 10, when: {loss: supap}}}"
)


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


def test_the_loss_decides_its_own_settings(sweep_file: Path) -> None:
    points = "search.points=[{loss: smoothap}, {loss: supap, loss.SupAP.tau: 0.02}, {loss.SupAP.tau: 0.03}]"
    plan = make_plan(load_sweep(sweep_file, [LOSSES, points, "train=[experience.max_iter=4, loss=supap]"]))
    # of a group, train says what the preset is; a constant holds for trial 0 too
    assert plan.defaults == {"loss": "supap", "loss.SupAP.tau": 0.01, "loss.SupAP.rho": 10}
    assert plan.sweep.search.points == (
        {"loss": "smoothap", "loss.SmoothAP.tau": 0.01},
        {"loss": "supap", "loss.SupAP.tau": 0.02, "loss.SupAP.rho": 10},
        {"loss": "supap", "loss.SupAP.tau": 0.03, "loss.SupAP.rho": 10},
    )
    [term] = plan.experiment({"loss.SmoothAP.tau": 0.05, "loss": "smoothap"}).loss
    assert (term.name, term.kwargs["tau"]) == ("SmoothAP", 0.05)


def test_edges_are_composed_beside_every_value_that_they_depend_on(sweep_file: Path) -> None:
    sweep = load_sweep(sweep_file, [LOSSES, "constraints=[loss.SupAP.tau <= 0.05]"])
    edges = [point for where, point in checked_points(sweep) if where == "space.loss.SupAP.tau=0.01"]
    assert [point["loss"] for point in edges] == ["roadmap", "supap"]
    assert not [where for where, _ in checked_points(sweep) if where == "space.loss.SupAP.tau=0.1"]
    with pytest.raises(UserError, match=r"space.loss.SmoothAP.tau=-1.0: .*tau"):
        make_plan(load_sweep(sweep_file, [LOSSES.replace("loguniform: [0.02", "uniform: [-1")]))


def test_small_spaces_are_composed_whole(sweep_file: Path) -> None:
    """Both ends are fine beside the presets; together they are not."""
    space = "space={dataset.sampler.kwargs.%s: {choice: [16, 64]}, dataset.sampler.kwargs.%s: {choice: [4, 32]}}"
    settings = [space % ("batch_size", "samples_per_class"), "train=[experience.max_iter=4]"]
    with pytest.raises(UserError, match=r"space: dataset.sampler.kwargs.batch_size=16 dataset.*=32: "):
        make_plan(load_sweep(sweep_file, settings))
    batch, of_a_class = "dataset.sampler.kwargs.batch_size", "dataset.sampler.kwargs.samples_per_class"
    plan = make_plan(load_sweep(sweep_file, [*settings, f"constraints=['{batch} >= {of_a_class}']"]))
    assert any("batch size" in warning for warning in plan.warnings)


def test_a_study_has_whole_rounds(sweep_file: Path) -> None:
    blocks = [
        LOSSES,
        "study={scientific: [loss], nuisance: [loss.SupAP.tau, loss.SmoothAP.tau]}",
        "search={sampler: random, trials: 12, points: [{loss.SupAP.tau: 0.03}]}",
    ]
    plan = make_plan(load_sweep(sweep_file, blocks))
    assert plan.sweep.search.points == ({"loss.SupAP.tau": 0.03, "loss.SmoothAP.tau": 0.01},)
    assert any("search.trials=10 or 13 gives each the same" in warning for warning in plan.warnings)
    assert any("no learning rate is a nuisance" in warning for warning in plan.warnings)
    assert not any("few" in warning for warning in plan.warnings), "each arm has one value and five points"
    shorter = make_plan(load_sweep(sweep_file, [*blocks, "search.trials=7"]))
    assert any("7 trials are few for 1 searched values in each of 3 arms" in warning for warning in shorter.warnings)
    with pytest.raises(UserError, match="loss is scientific"):
        make_plan(load_sweep(sweep_file, [*blocks, "search.points=[{loss: supap}]"]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["space.loss.SupAP.tau={uniform: [0.01, 0.2]}"], "the preset loss.SupAP.tau=0.01 is at the edge"),
        (["space.loss.SupAP.tau={choice: [0.01]}"], "loss.SupAP.tau is a choice of one: {constant: 0.01}"),
        (["scheduler.grace=4"], "ASHA can stop nothing"),
        (["scheduler.reduction=7"], "6 trials are fewer than scheduler.reduction=7"),
        (
            ["scheduler.reduction=4", "train=[experience.max_iter=8]"],
            "the rung of epoch 4: it can stop next to nothing",
        ),
        (["constraints=[loss.SupAP.tau > 0.097]"], "random points: narrower ranges"),
        (["constraints=[loss.SupAP.tau > 0.05]"], "the presets (trial 0) break the constraint 'loss.SupAP.tau > 0.05'"),
        (["space={loss.SupAP.tau: {uniform: [0.005, 1]}}"], "no learning rate is searched"),
        (["space.experience.seed={int: [0, 3]}"], "6 trials are few for 4 searched values"),
    ],
)
def test_warnings(sweep_file: Path, settings: list[str], said: str) -> None:
    plan = make_plan(load_sweep(sweep_file, settings))
    assert any(said in warning for warning in plan.warnings), plan.warnings


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
        (["tradeoffs=[{metric: test/map_at_r}]"], "tradeoffs.0.metric='test/map_at_r': a sweep never sees the test"),
        (["tradeoffs=[{metric: model/dims}]"], "did you mean 'model/dim'"),
        (["tradeoffs=[{metric: val/map_at_r}]"], "is an objective already"),
        (["search.points=[{loss.SupAP.tua: 0.01}]"], "search.points.0: unknown key of the space 'loss.SupAP.tua', did"),
        (["search.points=[{loss.SupAP.tau: 0.5}]"], "search.points.0: loss.SupAP.tau=0.5 is not in log [0.001, 0.1]"),
        (["search.points=[{}]", "search.trials=1"], "more than 1 trials"),
        (
            ["search.points=[{loss.SupAP.tau: 0.05}]", "constraints=[loss.SupAP.tau < 0.04]"],
            "search.points.0: breaks the constraint 'loss.SupAP.tau < 0.04'",
        ),
        ([LOSSES, "search.points=[{loss: smoothap, loss.SupAP.tau: 0.1}]"], "does not exist beside loss=smoothap"),
        (["space.loss={choice: [roadmap, smooth_ap]}"], "unknown loss 'smooth_ap', did you mean 'smoothap'"),
        (
            ["space.loss={choice: [roadmap, smoothap]}"],
            "space.loss=smoothap: loss.CalibrationLoss.weight: unknown",
        ),
        (["study={scientific: [loss.SupAP.tau]}"], "is neither scientific nor nuisance"),
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
