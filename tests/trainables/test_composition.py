"""Overrides -> Experiment: what a user writes is what is trained, or it is refused in one line."""

import math

import pytest
import torch
from torch.nn import functional

from trainables import compose
from trainables.building import build_losses
from trainables.composition import groups, preset
from trainables.errors import UserError
from trainables.experiment import Experiment


def test_the_defaults_are_roadmap_on_emoji() -> None:
    experiment = compose()
    assert experiment.dataset.name == "emoji"
    assert [(term.name, term.weight) for term in experiment.loss] == [("CalibrationLoss", 1.0), ("SupAP", 1.0)]
    assert experiment.loss[1].kwargs == {"tau": 0.01, "rho": 100.0, "delta": 0.05, "offset": 1.44, "start": 0.5}
    assert [(part.params, part.kwargs["lr"]) for part in experiment.optimizer] == [("backbone", 3e-4), ("fc", 6e-4)]
    assert experiment.experience.experiment_name == "emoji"


def test_positions_and_names_address_the_same_member() -> None:
    by_name = compose(["loss.SupAP.tau=0.02", "optimizer.fc.lr=0.5", "loss.CalibrationLoss.weight=0.3"])
    by_position = compose(["loss.1.kwargs.tau=0.02", "optimizer.1.kwargs.lr=0.5", "loss.0.weight=0.3"])
    assert by_name == by_position
    assert by_name.loss[1].kwargs["tau"] == 0.02
    assert preset("loss.SupAP.tau", []) == preset("loss.1.kwargs.tau", []) == 0.01


def test_losses_of_a_library_go_by_both_their_names() -> None:
    for path in ("loss.MultiSimilarityLoss.alpha", "loss.pml/MultiSimilarityLoss.alpha", "loss.0.kwargs.alpha"):
        term = compose(["loss=multi_similarity", f"{path}=3.5"]).loss[0]
        assert (term.name, term.short_name, term.kwargs["alpha"]) == (
            "pml/MultiSimilarityLoss",
            "MultiSimilarityLoss",
            3.5,
        )
        assert preset(path, ["loss=multi_similarity"]) == 2.0
    assert compose(["loss=multi_similarity", "+loss.pml/MultiSimilarityLoss.base=1"]).loss[0].kwargs["base"] == 1
    with pytest.raises(UserError, match=r"did you mean 'loss.MultiSimilarityLoss.weight'"):
        compose(["loss=multi_similarity", "loss.pml/MultiSimilarityLoss.weight.value=3"])


@pytest.mark.parametrize(("tau", "delta"), [(0.01, 0.05), (0.05, 0.02), (0.1, 0.0)])
def test_an_offset_of_null_follows_tau_and_delta(tau: float, delta: float) -> None:
    searched = ["loss.SupAP.offset=null", f"loss.SupAP.tau={tau}", f"loss.SupAP.delta={delta}"]
    (_, _, loss) = build_losses(compose(searched))[1]
    expected = compose([*searched, f"loss.SupAP.offset={0.5 + 1 / (1 + math.exp(-delta / tau))!r}"])
    (_, _, written) = build_losses(expected)[1]
    embeddings = functional.normalize(torch.randn(16, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    labels = torch.arange(16) // 4
    assert torch.equal(loss(embeddings, labels), written(embeddings, labels))
    (_, _, published) = build_losses(compose(searched[1:]))[1]
    assert not torch.equal(loss(embeddings, labels), published(embeddings, labels))


def test_numbers_are_read_as_people_write_them() -> None:
    assert compose(["optimizer.backbone.lr=1e-6"]).optimizer[0].kwargs["lr"] == 1e-6


def test_settings_that_a_preset_leaves_out_are_checked_by_the_constructor() -> None:
    assert compose(["optimizer.fc.eps=1e-6"]).optimizer[1].kwargs["eps"] == 1e-6


def test_numbers_that_may_be_absent() -> None:
    term = compose(["loss.SupAP.offset=null", "loss.SupAP.delta=null"]).loss[1]
    assert term.kwargs["offset"] is None and term.kwargs["delta"] is None
    with pytest.raises(UserError):
        compose(["optimizer.fc.lr=null"])


def test_the_environment_in_both_spellings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert compose(["experience.log_dir=${env:HOME}/runs"]).experience.log_dir == "/somewhere/runs"
    name = "experience.experiment_name=b_${dataset.sampler.kwargs.batch_size}"
    assert compose([name, "dataset.sampler.kwargs.batch_size=64"]).experience.experiment_name == "b_64"


def test_an_experiment_survives_json_and_cannot_be_changed() -> None:
    experiment = compose(["model=timm", "loss=smoothap", "optimizer=sop"])
    assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment
    with pytest.raises(ValueError, match="frozen"):
        experiment.experience.seed = 1  # type: ignore[misc]


# what a preset goes with: proxies need an optimizer, a model without a head none for it; landmarks are a data set and
# a way to evaluate it
TOGETHER = {
    "loss=proxy_anchor": ["optimizer=proxies"],
    "loss=arcface": ["optimizer=proxies"],
    "optimizer=proxies": ["loss=proxy_anchor"],
    "dataset=sfm120k": ["experience=landmarks"],
    "model=deit": ["optimizer=sop_deit"],
    "experience=landmarks": ["dataset=sfm120k"],
}


def test_every_preset_of_every_group_composes() -> None:
    for group, names in groups().items():
        for name in names:
            chosen = f"{group}={name}"
            compose([chosen, *TOGETHER.get(chosen, [])])


def test_the_landmarks_preset_changes_three_values_of_the_default() -> None:
    pair = ["dataset=sfm120k", "experience=landmarks"]
    written, default = (compose(pair).experience.model_dump(), compose().experience.model_dump())
    changed = {key: value for key, value in written.items() if value != default[key]}
    assert changed == {
        "experiment_name": "sfm120k",
        "eval_split": "rparis6k",
        "principal_metric": "mapH",
        "landmarks": True,
    }
    assert compose([*pair, "experience.eval_split=null"]).experience.eval_split is None
    sampler = compose(pair).dataset.sampler
    assert (sampler.name, sampler.kwargs) == ("MPerClassSampler", {"batch_size": 128, "samples_per_class": 4})


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["experience=landmarks"], "dataset=emoji has no landmarks to test on, dataset=sfm120k has"),
        (["dataset=sfm120k"], "dataset=sfm120k is tested on landmarks: set experience=landmarks"),
        (["dataset=sfm120k", "experience=landmarks", "experience.eval_split=test"], "unknown test split 'test'"),
        (["dataset=sfm120k", "experience=landmarks", "dataset.kwargs.test_sets=[roxford5k]"], "split 'rparis6k'"),
        (["dataset=sfm120k", "experience=landmarks", "dataset.kwargs.test_sets=[paris]"], "unknown test set 'paris'"),
        (
            ["dataset=sfm120k", "experience=landmarks", "experience.holdout=0.1"],
            "principal_metric: unknown metric of the validation split 'mapH', did you mean 'map_at_r'",
        ),
        (["experience.holdout=0.1", "experience.principal_metric=map"], "metric of the validation split 'map'"),
        (["experience.kfold=3", "experience.split=0", "experience.principal_metric=recall_at_3"], "'recall_at_3'"),
    ],
)
def test_what_is_evaluated_is_checked_without_a_file(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        compose(overrides)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_principal_metric_is_one_of_the_validation_split() -> None:
    compose(["experience.principal_metric=mapH"])  # nothing is held out, so there is no best epoch to choose
    with_ap = ["experience.holdout=0.1", "experience.principal_metric=mrr", "experience.with_AP=true"]
    assert compose(with_ap).experience.principal_metric == "mrr"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("loss.SupApp.tau=0.1", "unknown loss 'SupApp', did you mean 'SupAP'"),
        ("loss=roadmpa", "unknown loss 'roadmpa', did you mean 'roadmap'"),
        ("dataset=emojis", "unknown dataset 'emojis', did you mean 'emoji'"),
        ("loss.SupAP.tua=0.1", "unknown setting of SupAP 'tua', did you mean 'tau'"),
        ("loss.SupAP.tau=-1", "tau must be"),
        ("loss.SupAP.tau=warm", "'warm'"),
        ("loss.7.kwargs.tau=1", "loss has 2 members"),
        ("loss.SupAP.weight=-1", "greater than or equal to 0"),
        ("optimizer.backbone.lr=-0.1", "Invalid learning rate: -0.1"),
        ("optimizer.backbone.lr=lots", "lr must be a number, not 'lots'"),
        ("optimizer.head.lr=1", "unknown optimizer 'head'"),
        ("experience.max_itr=3", "did you mean 'experience.max_iter'"),
        ("experience.max_iter=lots", "experience.max_iter='lots'"),
        ("experience.max_iter=0", "experience.max_iter=0"),
        ("experience.kfold=4", "kfold and split go together"),
        ("modle=conv4", "unknown configuration group 'modle', did you mean 'model'"),
        ("model.kwargs.backbone_name=resnet5", "unknown backbone 'resnet5'"),
        ("model.kwargs.pooling=men", "unknown pooling 'men'"),
        ("model.kwargs.weights=/nowhere.pth", "there is no file '/nowhere.pth'"),
        ("dataset.sampler.kwargs.batch_size=30", "no multiple of samples_per_class"),
        ("transform.train.RandomResizedCrop.size=0", "size must be a whole number"),
        ("experience.log_dir=${env:NO_SUCH_NAME}", "NO_SUCH_NAME"),
        ("no equals sign", "an override is KEY=VALUE"),
        ("~loss", "one value for one key"),
        ("loss.SupAP.tau=0.1,0.2", "one value for one key"),
    ],
)
def test_mistakes_are_refused_in_one_line(override: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        compose([override])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
