"""Optimizers, schedulers and clipping against torch's own, used by hand."""

import io
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainables import compose
from trainables.building import build_losses, build_optimizers
from trainables.checks import check
from trainables.errors import UserError
from trainables.experiment import OptimizerPart
from trainables.objective import Term
from trainables.optimization import Optimization, TrainedPart
from trainables.registry import OPTIMIZERS, SCHEDULERS

SETTINGS: dict[str, dict[str, Any]] = {
    "MultiStepLR": {"milestones": [2, 4], "gamma": 0.3},
    "StepLR": {"step_size": 2},
    "ExponentialLR": {"gamma": 0.9},
    "CosineAnnealingLR": {"T_max": 5},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "LinearLR": {"start_factor": 0.25},
    "ConstantLR": {"factor": 0.5, "total_iters": 2},
    "PolynomialLR": {"total_iters": 5},
    "OneCycleLR": {"max_lr": 0.2, "total_steps": 10},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3},
    "ReduceLROnPlateau": {"patience": 0},
}


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone, self.fc = nn.Linear(3, 2), nn.Linear(2, 2)

    def forward(self, rows: Tensor) -> Tensor:
        return self.fc(self.backbone(rows))


def entry(params: str, lr: float = 0.1, name: str = "SGD", **schedulers: Any) -> OptimizerPart:
    kwargs = {"lr": lr, "momentum": 0.9} if name == "SGD" else {"lr": lr}
    return OptimizerPart.model_validate({"name": name, "params": params, "kwargs": kwargs, **schedulers})


def plain(parts: list[TrainedPart], clip: float | None = None, log_norm: bool = False) -> Optimization:
    return Optimization(parts, torch.amp.GradScaler("cpu", enabled=False), clip, log_norm)


def descend(net: nn.Module, optimization: Optimization) -> Tensor | None:
    optimization.zero_grad()
    net(torch.ones(4, 3)).square().sum().backward()
    return optimization.step()


def test_every_scheduler_has_settings_here() -> None:
    assert SETTINGS.keys() == SCHEDULERS.keys()


@pytest.mark.parametrize("occasion", ["on_epoch", "on_step", "on_val"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_scheduler_steps_as_torch_would_and_resumes(name: str, occasion: str) -> None:
    if name == "ReduceLROnPlateau" and occasion != "on_val":
        return
    values = [0.1, 0.3, 0.2, 0.2, 0.4, 0.1, 0.0]
    reference = Model()
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=0.9)
    scheduler = SCHEDULERS[name](optimizer, **SETTINGS[name])
    expected = []
    for value in values:
        optimizer.step()
        expected.append(optimizer.param_groups[0]["lr"])
        scheduler.step(value) if name == "ReduceLROnPlateau" else scheduler.step()

    parts = [entry("all", **{f"scheduler_{occasion}": {"name": name, "kwargs": SETTINGS[name]}})]
    net = Model()
    optimization = plain(build_optimizers(parts, net, []))
    rates = []
    for number, value in enumerate(values):
        if number == 3:  # a new one goes on from what was written
            file = io.BytesIO()
            torch.save({"optimization": optimization.state_dict(), "model": net.state_dict()}, file)
            file.seek(0)
            state = torch.load(file, weights_only=True)
            net = Model()
            net.load_state_dict(state["model"])
            optimization = plain(build_optimizers(parts, net, []))
            optimization.load_state_dict(state["optimization"])
        rates.append(optimization.rates()["all"])
        descend(net, optimization)
        optimization.after_epoch()
        optimization.after_validation(value)
    assert rates == expected


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_steps_as_torch_would(name: str) -> None:
    net, reference = Model(), Model()
    optimization = plain(build_optimizers([entry("backbone", 0.01, name), entry("fc", 0.02, name)], net, []))
    kwargs = {"momentum": 0.9} if name == "SGD" else {}
    own = [OPTIMIZERS[name](part.parameters(), lr=lr, **kwargs)
           for part, lr in ((reference.backbone, 0.01), (reference.fc, 0.02))]  # fmt: skip
    for _ in range(3):
        descend(net, optimization)
        reference.zero_grad()
        reference(torch.ones(4, 3)).square().sum().backward()
        for optimizer in own:
            optimizer.step()
    for name_of, tensor in net.state_dict().items():
        assert torch.equal(tensor, reference.state_dict()[name_of])


def test_clipping_is_over_all_parts_together_and_reports_the_norm_before() -> None:
    net, reference = Model(), Model()
    optimization = plain(build_optimizers([entry("backbone"), entry("fc")], net, []), clip=0.5)
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        norm = descend(net, optimization)
        optimizer.zero_grad()
        reference(torch.ones(4, 3)).square().sum().backward()
        expected = torch.nn.utils.clip_grad_norm_(reference.parameters(), 0.5)
        optimizer.step()
        assert norm is not None and norm.item() == pytest.approx(expected.item()) and norm > 0.5
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, reference.state_dict()[name])


def test_a_norm_that_is_only_logged_changes_nothing() -> None:
    logged, silent = Model(), Model()
    norm = descend(logged, plain(build_optimizers([entry("all")], logged, []), log_norm=True))
    assert descend(silent, plain(build_optimizers([entry("all")], silent, []))) is None
    assert norm is not None and norm > 0
    assert all(torch.equal(tensor, silent.state_dict()[name]) for name, tensor in logged.state_dict().items())


def test_an_overflow_in_float16_is_no_step() -> None:
    net = Model()
    schedule = {"name": "ExponentialLR", "kwargs": {"gamma": 0.5}}
    parts = build_optimizers([entry("all", scheduler_on_step=schedule)], net, [])
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    optimization = Optimization(parts, scaler, clip=1.0)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimization.scaled(net(torch.full((4, 3), 1e30)).square().sum()).backward()
    assert optimization.step() is None
    assert scaler.get_scale() == 2.0 and optimization.rates()["all"] == 0.1
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    optimization.zero_grad()
    optimization.scaled(net(torch.ones(4, 3)).square().sum()).backward()
    norm = optimization.step()
    reference = Model()
    reference(torch.ones(4, 3)).square().sum().backward()
    expected = torch.nn.utils.clip_grad_norm_(reference.parameters(), 1.0)
    assert norm is not None and norm.item() == pytest.approx(expected.item()), "unscaled before it is measured"
    assert optimization.rates()["all"] == 0.05


def test_only_the_chosen_part_moves_and_proxies_go_on() -> None:
    net = Model()
    loss = nn.Linear(2, 2)
    terms = [Term("Proxies", 1.0, loss)]
    parts = [entry("all", name="AdamW"), entry("loss", name="AdamW")]
    optimization = plain(build_optimizers(parts, net, terms))
    for chosen, moved in (
        (net.fc.parameters(), {"fc"}),
        (None, {"fc", "backbone"}),
        (net.backbone.parameters(), {"backbone"}),
    ):
        optimization.train_only(chosen)
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        proxies = loss.weight.clone()
        optimization.zero_grad()
        loss(net(torch.ones(4, 3))).square().sum().backward()
        optimization.step()
        changed = {
            name.split(".")[0] for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])
        }
        assert changed == moved
        assert not torch.equal(loss.weight, proxies)


def test_what_no_optimizer_trains_has_no_gradient() -> None:
    net = Model()
    build_optimizers([entry("fc")], net, [])
    assert {name for name, parameter in net.named_parameters() if parameter.requires_grad} == {"fc.weight", "fc.bias"}


def test_a_weight_that_the_model_froze_stays_frozen_after_a_warm_up() -> None:
    net = Model()
    net.backbone.bias.requires_grad_(False)
    optimization = plain(build_optimizers([entry("all")], net, []))
    optimization.train_only(net.fc.parameters())
    optimization.train_only(None)
    assert not net.backbone.bias.requires_grad and net.backbone.weight.requires_grad


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "ReduceLROnPlateau"])
def test_forced_rates_are_the_configured_ones_and_the_schedule_goes_on_from_them(name: str) -> None:
    kwargs = SETTINGS[name]
    ten_times = {key: 10 * value if key in ("base_lr", "max_lr") else value for key, value in kwargs.items()}
    low, high, whole = Model(), Model(), Model()
    saved = plain(build_optimizers([entry("all", 0.1, scheduler_on_epoch={"name": name, "kwargs": kwargs})], low, []))
    forced, ideal = (
        plain(build_optimizers([entry("all", 1.0, scheduler_on_epoch={"name": name, "kwargs": ten_times})], net, []))
        for net in (high, whole)
    )
    for optimization, net in ((saved, low), (ideal, whole)):
        descend(net, optimization)
        optimization.after_epoch()
    start = saved.rates()["all"]
    forced.load_state_dict(saved.state_dict(), force_lr=True)
    configured = forced.parts[0].optimizer.param_groups[0]["initial_lr"]
    assert forced.rates()["all"] == configured == ideal.parts[0].optimizer.param_groups[0]["initial_lr"]
    assert start != configured
    if name in ("CosineAnnealingWarmRestarts", "OneCycleLR", "CyclicLR"):  # rates that are a function of the count
        forced.after_epoch(), ideal.after_epoch()
        assert forced.rates()["all"] == pytest.approx(ideal.rates()["all"])


def test_without_force_the_rates_of_the_checkpoint_come_back() -> None:
    saved, other = (plain(build_optimizers([entry("all", lr)], Model(), [])) for lr in (0.1, 1.0))
    other.load_state_dict(saved.state_dict())
    assert other.rates() == {"all": 0.1}
    third = plain(build_optimizers([entry("all", 1.0)], Model(), []))
    third.load_state_dict(saved.state_dict(), force_lr=True)
    assert third.rates() == {"all": 1.0}


def test_losses_that_are_there_twice_have_two_names() -> None:
    term = {"name": "SupAP", "weight": 1.0, "kwargs": {"tau": 0.1}}
    pair = json.dumps([term, {**term, "kwargs": {"tau": 0.5}}])
    experiment = compose()
    assert [name for name, _, _ in build_losses(experiment)] == ["CalibrationLoss", "SupAP"]
    values = {**experiment.model_dump(), "loss": json.loads(pair)}
    twice = type(experiment).model_validate(values)
    assert [name for name, _, _ in build_losses(twice)] == ["SupAP_0", "SupAP_1"]


def test_proxies_need_an_optimizer_and_an_optimizer_needs_proxies() -> None:
    terms = [Term("ProxyLoss", 1.0, nn.Linear(2, 2))]
    with pytest.raises(
        UserError, match="ProxyLoss has proxies of its own to train: add an optimizer with params: loss"
    ):
        build_optimizers([entry("all")], Model(), terms)
    with pytest.raises(UserError, match="no loss has parameters of its own"):
        build_optimizers([entry("all"), entry("loss")], Model(), [])
    names = [part.name for part in build_optimizers([entry("loss"), entry("all")], Model(), terms)]
    assert names == ["loss", "all"]


@pytest.mark.parametrize("params", [("all", "fc"), ("fc", "fc"), ("backbone", "all"), ("fc", "loss", "all")])
def test_a_part_is_not_trained_twice(params: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="trained twice"):
        build_optimizers([entry(name) for name in params], Model(), [Term("l", 1.0, nn.Linear(1, 1))])


SCHEDULE = "optimizer.fc.scheduler_on_{}={{name: {}, kwargs: {{{}}}}}"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([SCHEDULE.format("val", "ReduceLROnPlateau", "")], "optimizer.fc.scheduler_on_val is told the validation"),
        ([SCHEDULE.format("val", "StepLR", "step_size: 3"), "experience.holdout=0.3", "experience.val_eval_freq=-1"],
         "set experience.val_eval_freq"),
        ([SCHEDULE.format("epoch", "ReduceLROnPlateau", "")], "it belongs in scheduler_on_val"),
        ([SCHEDULE.format("val", "ReduceLROnPlateau", "mode: min"), "experience.holdout=0.3"], "mode must be max"),
        ([SCHEDULE.format("epoch", "StepLr", "")], "did you mean 'StepLR'"),
        ([SCHEDULE.format("epoch", "StepLR", "")], "StepLR needs 'step_size'"),
        ([SCHEDULE.format("epoch", "CyclicLR", "base_lr: 0.1, max_lr: 1, cycle_momentum: 3, step: 1")], "'step'"),
        ([SCHEDULE.format("epoch", "OneCycleLR", "max_lr: 0.1, total_steps: 40")], "OneCycleLR ends after 40 steps, "
         "the training takes 50: total_steps=50"),
        (["model.kwargs.without_fc=true"], "optimizer.fc: the model has no parameters in 'fc'"),
        (["memory.kwargs.size=5"], "memory has settings but no name"),
        (["memory.weight=0.5"], "memory has settings but no name"),
        (["memory=sop", "memory.kwargs.size=many"], "XBM: size must be a whole number"),
        (["memory=sop", "memory.kwargs.uniqe=true"], "did you mean 'unique'"),
        (["memory=sop", "memory.kwargs.images=3"], "unknown setting of XBM 'images'"),
    ],
)  # fmt: skip
def test_mistakes_are_refused_when_composed(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        compose(overrides)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_warm_up_needs_a_part_that_is_there_and_trained() -> None:
    experiment = compose(["experience.warm_up=2"])
    tree = experiment.model_dump()
    whole = {**tree, "optimizer": [{**tree["optimizer"][0], "params": "all"}]}
    headless = {**whole, "model": {**tree["model"], "kwargs": {**tree["model"]["kwargs"], "without_fc": True}}}
    backbone = {**tree, "optimizer": tree["optimizer"][:1]}
    check(type(experiment).model_validate(whole))
    with pytest.raises(UserError, match="the model has no 'fc' that could be trained alone"):
        check(type(experiment).model_validate(headless))
    with pytest.raises(UserError, match="no optimizer trains 'fc'"):
        check(type(experiment).model_validate(backbone))


@pytest.mark.parametrize("name", ["map", "recal_at_1", "test/map_at_r"])
def test_a_principal_metric_is_one_that_the_evaluation_gives(name: str) -> None:
    with pytest.raises(UserError, match=r"experience.principal_metric: unknown metric"):
        compose([f"experience.principal_metric={name}"])
    compose(["experience.principal_metric=map", "experience.with_AP=true"])
