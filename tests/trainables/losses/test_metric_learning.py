"""Losses of pytorch-metric-learning by name: the package's own numbers, or a refusal in one line."""

import inspect
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as pml
from torch import Tensor
from torch.nn import functional

from trainables import Training, building, compose
from trainables.data import Emoji
from trainables.errors import UserError
from trainables.losses import metric_learning
from trainables.losses.metric_learning import MetricLearningLoss, table

NAMES = sorted(table())
WITH_REFERENCES = {
    "Angular", "Circle", "Contrastive", "DynamicSoftMargin", "GeneralizedLiftedStructure", "IntraPairVariance",
    "LiftedStructure", "Margin", "MultiSimilarity", "NCA", "NTXent", "SignalToNoiseRatioContrastive", "SupCon",
    "TripletMargin", "TupletMargin",
}  # fmt: skip


def settings(name: str) -> dict[str, Any]:
    """The least a constructor asks for."""
    sizes = {"num_classes": 4, "embedding_size": 8, "descriptors_dim": 8, "margin": 0.4, "Tn": 1}
    parameters = inspect.signature(table()[name]).parameters
    return {key: sizes[key] for key, one in parameters.items() if one.default is one.empty}


def batch(seed: int, images: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = functional.normalize(torch.randn(images, 8, generator=generator), dim=1)
    return rows, torch.arange(images) * 4 // images


def both(name: str) -> tuple[MetricLearningLoss, Any]:
    """Ours by name, theirs called directly, with the same weights."""
    torch.manual_seed(0)
    ours = table()[name](**settings(name))
    torch.manual_seed(0)
    return ours, getattr(pml, name.removeprefix("pml/"))(**settings(name))


def with_gradient(loss: Any, embeddings: Tensor, *others: Any, **references: Any) -> tuple[Tensor, Tensor]:
    leaf = embeddings.clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own
        value = loss(leaf, *others, **references)
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def test_every_supervised_loss_of_the_package_has_a_name() -> None:
    assert len(NAMES) == 33
    left_out = {name for name, kind in vars(pml).items() if inspect.isclass(kind)} - {name[4:] for name in NAMES}
    abstract = {"BaseMetricLossFunction", "GenericPairLoss", "BaseLossWrapper"}
    mixins = {"EmbeddingRegularizerMixin", "WeightRegularizerMixin"}
    assert left_out == abstract | mixins | set(metric_learning.NOT_LOSSES)


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_are_the_package_s(name: str) -> None:
    ours, theirs = both(name)
    embeddings, labels = batch(1)
    value, gradient = with_gradient(ours, embeddings, labels)
    expected, expected_gradient = with_gradient(theirs, embeddings, labels)
    assert torch.equal(value, expected) and torch.equal(gradient, expected_gradient)
    assert torch.isfinite(value)


@pytest.mark.parametrize("name", NAMES)
def test_references_by_position_are_the_package_s_by_name(name: str) -> None:
    ours, theirs = both(name)
    (embeddings, labels), (memory, known) = batch(1), batch(2, 20)
    if name.removeprefix("pml/").removesuffix("Loss") in WITH_REFERENCES:
        value, gradient = with_gradient(ours, embeddings, labels, memory, known)
        expected, wanted = with_gradient(theirs, embeddings, labels, ref_emb=memory, ref_labels=known)
        assert torch.equal(value, expected) and torch.equal(gradient, wanted)
    else:
        with pytest.raises(UserError, match="takes no memory"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            metric_learning.probe(name, ours, settings(name), references=True)


def test_multi_similarity_by_its_equation() -> None:
    embeddings, labels = batch(3)
    scores = (embeddings @ embeddings.T).double()
    total = 0.0
    for query in range(len(labels)):
        others = [index for index in range(len(labels)) if index != query]
        positives = [float(scores[query, index]) for index in others if labels[index] == labels[query]]
        negatives = [float(scores[query, index]) for index in others if labels[index] != labels[query]]
        total += np.log1p(sum(np.exp(-2 * (score - 0.5)) for score in positives)) / 2
        total += np.log1p(sum(np.exp(50 * (score - 0.5)) for score in negatives)) / 50
    value = table()["pml/MultiSimilarityLoss"]()(embeddings, labels)
    assert float(value) == pytest.approx(total / len(labels), rel=1e-5)


def test_what_a_loss_keeps_is_saved_moves_along_and_holds_no_graph() -> None:
    running = table()["pml/DynamicSoftMarginLoss"]()
    for seed in range(3):
        with_gradient(running, *batch(seed))
    again = table()["pml/DynamicSoftMarginLoss"]()
    again.load_state_dict(running.state_dict())
    assert set(running.state_dict()) == {"loss.hist_"} and running.state_dict()["loss.hist_"].sum() > 0
    assert torch.equal(with_gradient(running, *batch(9))[0], with_gradient(again, *batch(9))[0])


def test_a_batch_without_a_violating_pair_still_has_a_gradient() -> None:
    embeddings, labels = torch.eye(8)[:4].repeat_interleave(2, dim=0), torch.arange(4).repeat_interleave(2)
    for name in ("pml/ThresholdConsistentMarginLoss", "pml/ContrastiveLoss", "pml/TripletMarginLoss"):
        value, gradient = with_gradient(table()[name](), embeddings, labels)
        assert float(value) == 0 and not gradient.any()


def test_proxies_are_as_many_as_the_train_classes_that_are_left(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Any] = []
    build = building.build_losses
    monkeypatch.setattr(building, "build_losses", lambda *sizes, **more: built.extend(build(*sizes, **more)) or built)
    experiment = compose([*tiny, "loss=proxy_anchor", "optimizer=proxies", "optimizer.loss.lr=0.1"])
    built.clear()  # the check's
    training = Training(experiment)
    assert training.validation is not None
    images = Emoji().train()
    kept = len(set(images.labels)) - len(set(training.validation.query.labels))
    ((_, _, loss),) = built
    (proxies,) = loss.parameters()
    assert proxies.shape == (kept, training.net.embed_dim) and kept < len(set(images.labels))
    before = proxies.detach().clone()
    report = training.epoch()
    assert not torch.equal(before, proxies)
    assert {"train/ProxyAnchorLoss", "train/loss", "train/lr_loss"} <= set(report.metrics)


def test_training_labels_count_from_zero_by_class(tiny: list[str]) -> None:
    training = Training(compose(tiny))
    images = training._loader.images
    told = {}
    for _, numbers, positions in training._loader.epoch(1):
        told.update(zip(images.labels[positions], numbers.tolist(), strict=True))
    assert sorted(told.values()) == list(range(images.num_classes))
    assert [told[label] for label in sorted(told)] == sorted(told.values())


ONE = "loss.0={name: pml/%s, weight: 1.0, kwargs: {%s}}"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (ONE % ("MultiSimilarityLos", ""), "pytorch-metric-learning 'MultiSimilarityLos', did you mean 'MultiSim"),
        (ONE % ("MultiSimilarityLoss", "alhpa: 1"), "setting of pml/MultiSimilarityLoss 'alhpa', did you mean 'alpha'"),
        (ONE % ("MultiSimilarityLoss", "alpha: lots"), "pml/MultiSimilarityLoss: alpha must be a number, not 'lots'"),
        (ONE % ("MultiSimilarityLoss", "distance: Lp"), "unknown setting of pml/MultiSimilarityLoss 'distance'"),
        (ONE % ("RankedListLoss", ""), "pml/RankedListLoss needs 'margin'"),
        (ONE % ("TripletMarginLoss", "swap: 3"), "pml/TripletMarginLoss: swap must be true or false, not 3"),
        (ONE % ("TripletMarginLoss", "triplets_per_anchor: most"), "pml/TripletMarginLoss: "),
        (ONE % ("PNPLoss", "variant: X"), "pml/PNPLoss: variant=X but must be one of"),
        (ONE % ("NTXentLoss", "temperature: 0"), "pml/NTXentLoss: its settings give nan"),
        (ONE % ("CrossBatchMemory", ""), "memory.name=XBM"),
        (ONE % ("VICRegLoss", ""), "it has no labels"),
        ("loss.0.name=MultiSimilarityLoss", "did you mean 'pml/MultiSimilarityLoss'"),
        ("loss.0.name=RoadMap", "did you mean 'ROADMAP'"),
        (ONE % ("ProxyAnchorLoss", ""), "ProxyAnchorLoss has proxies"),
        (ONE % ("ProxyAnchorLoss", "num_classes: lots"), "pml/ProxyAnchorLoss: "),
    ],
)
def test_mistakes_are_refused_in_one_line(override: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        compose([override])
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_memory_is_refused_by_losses_that_take_none() -> None:
    memory = ["memory.name=XBM", "memory.kwargs={size: 64, unique: false}"]
    assert compose(["loss=multi_similarity", *memory]).memory.name == "XBM"
    with pytest.raises(UserError, match="pml/NPairsLoss compares a batch with itself alone"):
        compose([ONE % ("NPairsLoss", ""), *memory])


def test_sizes_are_the_data_s_and_the_model_s() -> None:
    def build(kwargs: str, name: str = "ProxyAnchorLoss") -> Any:
        experiment = compose([ONE % (name, kwargs), *(["optimizer=proxies"] if name == "ProxyAnchorLoss" else [])])
        return building.build_losses(experiment, num_classes=30, embed_dim=16)[0][2]

    for kwargs in ("", "num_classes: null", "num_classes: 30, embedding_size: 16"):
        assert build(kwargs).loss.proxies.shape == (30, 16)
    with pytest.raises(UserError, match="num_classes is 30, the train split's classes, not 31: leave it out"):
        build("num_classes: 31")
    with pytest.raises(UserError, match="embedding_size is 16, the model's dimensions, not 32: leave it out"):
        build("embedding_size: 32")
    # where the package does not need it, it stays away unless asked for
    assert build("", "MarginLoss").loss.beta.shape == (1,)
    assert build("num_classes: 30", "MarginLoss").loss.beta.shape == (30,)


def test_without_the_package_its_names_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_learning, "installed", lambda: False)
    metric_learning._classes.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'pytorch-metric-learning>=2.8,<3'"):
        compose(["loss=multi_similarity"])
    with pytest.raises(UserError, match="unknown loss 'SupApp', did you mean 'SupAP'"):
        compose(["loss.0.name=SupApp"])
    compose()
