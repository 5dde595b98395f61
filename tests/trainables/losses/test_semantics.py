"""What is easy to lose: dtypes, memories, lone classes, determinism, the graph."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

import trainables.losses
from tests.trainables.losses.cases import LABELS, MEMORY, gradient, unit
from trainables import losses
from trainables.losses.modules import ScoreLoss
from trainables.losses.pairs import Pairs, Slope

ALL = {name: getattr(losses, name)() for name in losses.__all__}
RANKED = ["SupAP", "SmoothAP", "FastAP", "SoftBinAP", "BlackBoxAP"]


@pytest.fixture(params=sorted(ALL))
def loss(request: pytest.FixtureRequest) -> ScoreLoss:
    torch.manual_seed(0)
    return ALL[request.param]


def test_exported_names() -> None:
    expected = {"SupAP", "SmoothAP", "CalibrationLoss", "FastAP", "SoftBinAP", "BlackBoxAP", "PairLoss", "ROADMAP"}
    assert set(trainables.losses.__all__) == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_a_float32_loss(loss: nn.Module, dtype: torch.dtype) -> None:
    embeddings = unit(12, 1, dtype=dtype).requires_grad_()
    value = loss(embeddings, LABELS)
    torch.manual_seed(0)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(embeddings.detach().float(), LABELS).item(), rel=1e-6)
    grad = gradient(value, embeddings)
    assert grad.dtype == dtype
    assert grad.isfinite().all()


def test_autocast_does_not_reach_the_scores(loss: nn.Module) -> None:
    embeddings = unit(12, 1, dtype=torch.float32).requires_grad_()
    plain = loss(embeddings, LABELS)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(embeddings, LABELS)
    assert value.dtype == torch.float32
    assert value.item() == plain.item()
    assert torch.equal(gradient(value, embeddings), gradient(plain, embeddings))


def test_inputs_are_not_written(loss: nn.Module) -> None:
    given = unit(12, 1).requires_grad_(), LABELS.clone(), unit(12, 2).requires_grad_(), MEMORY.clone()
    before = [tensor.detach().clone() for tensor in given]
    loss(*given).backward()
    assert all(torch.equal(tensor, old) for tensor, old in zip(given, before, strict=True))


def test_twice_the_same_bits(loss: nn.Module) -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        embeddings = unit(96, 3, 16, torch.float32).requires_grad_()
        value = loss(embeddings, torch.arange(96) // 4)
        results.append((value, gradient(value, embeddings)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_memory_as_long_as_the_batch_is_a_memory() -> None:
    embeddings = unit(12, 1)
    moved = torch.roll(torch.arange(12), 1)
    for name in ("SupAP", "FastAP", "CalibrationLoss", "PairLoss"):
        aligned = ALL[name](embeddings, LABELS, embeddings.clone(), LABELS)
        shuffled = ALL[name](embeddings, LABELS, embeddings[moved], LABELS[moved])
        assert aligned.item() == pytest.approx(shuffled.item(), rel=1e-12), name
    assert ALL["FastAP"](embeddings, LABELS).item() != pytest.approx(
        ALL["FastAP"](embeddings, LABELS, embeddings.clone(), LABELS).item()
    )


def test_a_class_alone_in_the_batch_ranks_itself_first() -> None:
    embeddings, labels = torch.eye(4, dtype=torch.float64).requires_grad_(), torch.arange(4)
    for name in ("SupAP", "SmoothAP", "ROADMAP", "SoftBinAP"):
        value = ALL[name](embeddings, labels)
        assert value.item() == pytest.approx(0, abs=1e-9), name
        assert gradient(value, embeddings).isfinite().all()


@pytest.mark.parametrize("name", RANKED)
def test_queries_without_a_positive_are_left_out(name: str) -> None:
    queries, memory = unit(12, 1), unit(12, 2)
    present = torch.isin(LABELS, MEMORY)
    assert not present.all()
    loss = losses.BlackBoxAP(margin=0.0) if name == "BlackBoxAP" else ALL[name]
    whole = loss(queries, LABELS, memory, MEMORY)
    assert whole.item() == pytest.approx(loss(queries[present], LABELS[present], memory, MEMORY).item(), rel=1e-12)


@pytest.mark.parametrize("name", RANKED)
@pytest.mark.parametrize("references", [5, 0])
def test_no_query_left_gives_zero_with_a_gradient(name: str, references: int) -> None:
    queries, memory = unit(12, 1).requires_grad_(), unit(5, 2)[:references]
    value = ALL[name](queries, LABELS, memory, torch.full((references,), 99))
    assert value.item() == 0
    assert not gradient(value, queries).any()


def test_gradient_reaches_whichever_input_asks(loss: nn.Module) -> None:
    queries, memory = unit(12, 1), unit(12, 2)
    for ask in ((True, False), (False, True)):
        inputs = queries.clone().requires_grad_(ask[0]), memory.clone().requires_grad_(ask[1])
        torch.manual_seed(0)
        loss(inputs[0], LABELS, inputs[1], MEMORY).backward()
        assert [x.grad is not None for x in inputs] == list(ask)


def test_without_gradient_none_is_computed(loss: ScoreLoss, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    watched = copy.deepcopy(loss)
    formula = watched.formula

    def spy(scores: Tensor, pairs: Pairs, wanted: bool) -> tuple[Tensor, Slope | None]:
        asked.append(wanted)
        return formula(scores, pairs, wanted)

    monkeypatch.setattr(watched, "formula", spy)
    with torch.no_grad():
        silent = watched(unit(12, 1).requires_grad_(), LABELS)
    torch.manual_seed(0)
    plain = watched(unit(12, 1), LABELS)
    assert asked == [False, False]
    assert not silent.requires_grad
    assert not plain.requires_grad


def test_upstream_gradient_scales_the_gradient(loss: nn.Module) -> None:
    embeddings = unit(12, 1).requires_grad_()
    value = loss(embeddings, LABELS)
    (once,) = torch.autograd.grad(value, embeddings, retain_graph=True)
    (scaled,) = torch.autograd.grad(1024 * value, embeddings)
    assert torch.equal(scaled, 1024 * once)


def test_a_second_derivative_is_refused(loss: nn.Module) -> None:
    embeddings = unit(12, 1).requires_grad_()
    with pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(loss(embeddings, LABELS), embeddings, create_graph=True)


def test_sup_ap_gives_positives_no_gradient_of_their_own_order() -> None:
    # No negatives: SupAP's hard step has nothing to move, SmoothAP pulls the positives apart.
    labels = torch.zeros(6, dtype=torch.long)
    assert not gradient(losses.SupAP(tau=0.5)(e := unit(6, 1).requires_grad_(), labels), e).any()
    mixed = torch.tensor([0, 0, 0, 0, 0, 1])
    assert gradient(losses.SmoothAP(tau=0.5)(e := unit(6, 1).requires_grad_(), mixed), e).any()


def test_beyond_the_clamp_there_is_no_gradient() -> None:
    embeddings, labels = torch.eye(4, dtype=torch.float64).requires_grad_(), torch.tensor([0, 1, 2, 3])
    for name in ("SupAP", "SmoothAP"):
        assert not gradient(ALL[name](embeddings, labels), embeddings).any()


def test_nan_stays_visible(loss: nn.Module) -> None:
    if isinstance(loss, losses.BlackBoxAP):
        pytest.skip("ranks have no NaN")
    embeddings = unit(12, 1)
    embeddings[3] = torch.nan
    assert loss(embeddings, LABELS).isnan()


def test_an_exact_duplicate_of_another_class_is_finite(loss: nn.Module) -> None:
    embeddings = unit(12, 1)
    embeddings[1] = embeddings[0]
    embeddings[5] = embeddings[2]
    embeddings.requires_grad_()
    value = loss(embeddings, LABELS)
    assert value.isfinite()
    assert gradient(value, embeddings).isfinite().all()


def test_copies_and_pickles(loss: nn.Module) -> None:
    torch.manual_seed(0)
    value = loss(unit(12, 1), LABELS)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.manual_seed(0)
        assert other(unit(12, 1), LABELS).item() == value.item()


def test_wrong_shapes_are_a_programmers_error(loss: nn.Module) -> None:
    embeddings = unit(12, 1)
    for given in (
        (embeddings, LABELS[:5]),
        (embeddings, LABELS, embeddings),
        (embeddings, LABELS, embeddings, MEMORY[:3]),
        (embeddings, LABELS, embeddings[:, :3], MEMORY),
        (embeddings.long(), LABELS),
    ):
        with pytest.raises(TypeError):
            loss(*given)
