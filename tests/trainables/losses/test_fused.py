"""The GPU's kernels against the plain form in float64, on a GPU, or in Triton's interpreter in a process of its own."""

import pytest
import torch
from torch import Tensor

from tests.trainables.interpreter import INTERPRETED, assert_passes_interpreted
from tests.trainables.losses.cases import unit
from tests.trainables.losses.test_kernels import CASES, LOSSES, assert_same, at_random, batch, memory
from trainables import losses
from trainables.losses import compiled
from trainables.losses.pairs import Pairs, Slope

DEVICE = "cpu" if INTERPRETED else "cuda"
LARGE = {
    "several_blocks": batch(unit(1100, 1, 64), at_random(1100, 200)),
    "memory_of_blocks": memory(40, 5000, at_random(40, 300), at_random(5000, 900), 16),
}
SOME = ("batch", "ties", "memory", "no_positive"), ("sup", "sup_no_middle", "smooth", "calibration")
"""For the interpreter, which takes a millisecond for a step."""
EVERY = sorted([*(CASES.keys() - {"no_reference"}), *LARGE]), list(LOSSES)
TRIED = EVERY if torch.cuda.is_available() and not INTERPRETED else SOME

fused = pytest.mark.skipif(not (INTERPRETED or torch.cuda.is_available()), reason="needs a CUDA device")


def test_in_the_interpreter() -> None:
    assert_passes_interpreted(__file__)


def found(
    loss: str, scores: Tensor, pairs: Pairs, wanted: bool, patch: pytest.MonkeyPatch
) -> tuple[Tensor, Slope | None]:
    """By the kernels, which must be asked."""
    from trainables.losses import fused as module

    asked: list[object] = []
    with patch.context() as patched:
        patched.setattr(compiled, "kernels", lambda scores: None)
        patched.setattr(compiled, "fused", lambda *given: asked.append(given) or module)
        value, slope = LOSSES[loss].formula(scores.to(DEVICE), _moved(pairs), wanted)
    assert asked
    return value.cpu(), slope and Slope(*(part if part is None else part.cpu() for part in slope))


def _moved(pairs: Pairs) -> Pairs:
    return Pairs(pairs.labels.to(DEVICE), pairs.ref_labels.to(DEVICE), pairs.within_batch)


@fused
@pytest.mark.gpu
@pytest.mark.parametrize("case", TRIED[0])
@pytest.mark.parametrize("loss", TRIED[1])
def test_the_plain_form_has_the_same_numbers(loss: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, pairs = (CASES | LARGE)[case]
    value, slope = found(loss, scores, pairs, True, monkeypatch)
    assert value.dtype == torch.float32
    assert_same((value, slope), LOSSES[loss].formula(scores.double(), pairs, True))
    assert found(loss, scores, pairs, False, monkeypatch) == (value, None)


@fused
@pytest.mark.gpu
@pytest.mark.parametrize("loss", ["sup", "smooth", "calibration"])
def test_several_blocks(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainables.losses import fused as module

    monkeypatch.setattr(module, "BLOCK", 32)
    monkeypatch.setattr(module, "SMALL_BLOCK", 32)
    scores, pairs = memory(3, 75, at_random(3, 4), at_random(75, 9))
    exact = LOSSES[loss].formula(scores.double(), pairs, True)
    assert_same(found(loss, scores, pairs, True, monkeypatch), exact)


@fused
@pytest.mark.gpu
def test_twice_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, pairs = CASES["batch"] if INTERPRETED else LARGE["memory_of_blocks"]
    for loss in ("sup", "smooth", "calibration"):
        value, slope = found(loss, scores, pairs, True, monkeypatch)
        again, other = found(loss, scores, pairs, True, monkeypatch)
        assert slope is not None and other is not None
        assert torch.equal(value, again)
        assert torch.equal(slope.scores, other.scores)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("references", [0, 3000])
def test_from_embeddings_to_their_gradient(dtype: torch.dtype, references: int) -> None:
    """On a GPU as on a CPU, from what a network gives to what goes back into it."""
    embeddings, labels = unit(200, 1, 64).to(dtype), at_random(200, 40)
    known = (unit(references, 2, 64).float(), at_random(references, 300)) if references else ()
    results = []
    for device in ("cpu", "cuda"):
        batch = embeddings.to(device, copy=True).requires_grad_()
        value = losses.ROADMAP()(batch, labels.to(device), *(part.to(device) for part in known))
        value.backward()
        assert batch.grad is not None
        results.append((value.item(), batch.grad.float().cpu()))
    (value, gradient), (on_gpu, gradient_on_gpu) = results
    assert on_gpu == pytest.approx(value, rel=1e-5)
    scale = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 2e-3}[dtype]
    assert float((gradient - gradient_on_gpu).norm()) <= scale * float(gradient.norm())
