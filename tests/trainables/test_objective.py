"""The objective against autograd on the plain sum, adaptive weights against numbers worked by hand."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.losses import CalibrationLoss, SupAP
from trainables.memory import CrossBatchMemory
from trainables.objective import Objective, Term, adaptive_weights


class Linear(nn.Module):
    """slope * the sum of the embeddings: its gradient is `slope` everywhere."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(
        self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor | None = None, ref_labels: Tensor | None = None
    ) -> Tensor:
        return self.slope * embeddings.sum() + (0.0 if ref_emb is None else 10 * self.slope * embeddings[:, 0].sum())


class Proxies(nn.Module):
    """The mean squared distance to a trained proxy of the class."""

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.arange(classes * dim, dtype=torch.float32).reshape(classes, dim))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return (embeddings - self.proxies[labels]).square().sum(1).mean()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    rows = functional.normalize(torch.randn(12, 6, generator=generator, dtype=torch.float64), dim=1)
    return rows, torch.arange(12) // 3


def filled(embeddings: Tensor, labels: Tensor) -> CrossBatchMemory:
    memory = CrossBatchMemory(64, images=1, embed_dim=embeddings.shape[1])
    memory.embeddings = memory.embeddings.to(embeddings)
    memory.store(embeddings.roll(1, 1), labels.roll(2), torch.arange(len(labels)))
    return memory


def test_the_gradient_is_that_of_the_weighted_sum_with_the_memory(batch: tuple[Tensor, Tensor]) -> None:
    embeddings, labels = batch
    terms = [Term("SupAP", 0.7, SupAP(tau=0.05)), Term("CalibrationLoss", 2.0, CalibrationLoss())]
    memory = filled(embeddings, labels)
    judged = Objective(terms, memory, memory_weight=0.5)(embeddings, labels)
    leaf = embeddings.clone().requires_grad_()
    references = memory.references()
    assert references is not None
    total = sum(weight * (loss(leaf, labels) + 0.5 * loss(leaf, labels, *references)) for _, weight, loss in terms)
    (expected,) = torch.autograd.grad(total, leaf)
    torch.testing.assert_close(judged.gradient, expected)
    torch.testing.assert_close(judged.values["loss"], total.detach())
    assert set(judged.values) == {"SupAP", "memory_SupAP", "CalibrationLoss", "memory_CalibrationLoss", "loss"}
    assert not any(value.requires_grad for value in judged.values.values())


def test_a_memory_that_waits_or_is_empty_changes_nothing(batch: tuple[Tensor, Tensor]) -> None:
    terms = [Term("SupAP", 1.0, SupAP())]
    alone = Objective(terms)(*batch)
    waiting = Objective(terms, filled(*batch))(*batch, with_memory=False)
    empty = Objective(terms, CrossBatchMemory(9, images=1, embed_dim=6))(*batch)
    for other in (waiting, empty):
        assert torch.equal(other.gradient, alone.gradient)
        assert other.values.keys() == alone.values.keys()


def test_adaptive_weights_by_hand() -> None:
    # norms 1, 3, 8: mean 4, weights 4, 4/3, 1/2
    torch.testing.assert_close(
        adaptive_weights(["adaptive"] * 3, torch.tensor([1.0, 3.0, 8.0])), torch.tensor([4.0, 4 / 3, 0.5])
    )
    # a fixed weight 2 of norm 3 counts as 6: mean (1 + 6 + 8) / 3 = 5
    torch.testing.assert_close(
        adaptive_weights(["adaptive", 2.0, "adaptive"], torch.tensor([1.0, 3.0, 8.0])), torch.tensor([5.0, 2.0, 0.625])
    )
    # weight 0 is no loss: mean (1 + 3) / 2
    torch.testing.assert_close(
        adaptive_weights(["adaptive", 0.0, "adaptive"], torch.tensor([1.0, 9.0, 3.0])), torch.tensor([2.0, 0.0, 2 / 3])
    )
    # no gradient: weight 1, nothing infinite
    torch.testing.assert_close(adaptive_weights(["adaptive"] * 2, torch.tensor([0.0, 4.0])), torch.tensor([1.0, 0.5]))


def test_adaptive_gradients_have_the_mean_norm() -> None:
    embeddings, labels = torch.zeros(2, 2), torch.tensor([0, 1])
    terms = [Term("gentle", "adaptive", Linear(1.0)), Term("steep", "adaptive", Linear(-3.0))]
    judged = Objective(terms, log_norms=True)(embeddings, labels)
    # four entries of 1 and of 3: norms 2 and 6, mean 4, weights 2 and 2/3: 2 * 1 - 2/3 * 3 = 0 everywhere
    assert judged.values["grad_norm_gentle"] == pytest.approx(2) and judged.values["grad_norm_steep"] == pytest.approx(
        6
    )
    assert judged.values["weight_gentle"] == pytest.approx(2)
    assert judged.values["weight_steep"] == pytest.approx(2 / 3)
    torch.testing.assert_close(judged.gradient, torch.zeros(2, 2))


def test_adaptive_norms_see_the_memory_too() -> None:
    embeddings, labels = torch.zeros(1, 2), torch.tensor([0])
    memory = CrossBatchMemory(3, images=1, embed_dim=2)
    memory.store(embeddings, labels, torch.tensor([0]))
    judged = Objective([Term("l", "adaptive", Linear(1.0))], memory, memory_weight=0.2, log_norms=True)(
        embeddings, labels
    )
    # within the batch (1, 1), against the memory (11, 1): (1 + 0.2 * 11, 1 + 0.2)
    assert judged.values["grad_norm_l"] == pytest.approx((3.2**2 + 1.2**2) ** 0.5)


def test_norms_come_from_whoever_knows_the_last_layer() -> None:
    terms = [Term("a", "adaptive", Linear(1.0)), Term("b", "adaptive", Linear(1.0))]
    judged = Objective(terms)(torch.zeros(1, 1), torch.tensor([0]), norms=lambda gradients: torch.tensor([1.0, 3.0]))
    assert judged.gradient.item() == pytest.approx(2 + 2 / 3)


def test_proxies_get_the_weighted_gradient(batch: tuple[Tensor, Tensor]) -> None:
    embeddings, labels = batch[0].float(), batch[1]
    loss = Proxies(4, 6)
    judged = Objective([Term("Proxies", 0.5, loss), Term("SupAP", 1.0, SupAP())])(embeddings, labels)
    (0.5 * loss(embeddings, labels)).backward()
    ((parameter, gradient),) = judged.on_parameters
    assert parameter is loss.proxies
    torch.testing.assert_close(gradient, loss.proxies.grad)
