"""Where kernels for a GPU cannot be compiled, plain forms serve, and it is said once."""

import warnings

import pytest
import torch
from torch.nn import functional

from trainables import gpu_compiler
from trainables.evaluation import retrieval_metrics
from trainables.losses import ROADMAP


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu() -> None:
    pytest.importorskip("triton")
    gpu_compiler.works.cache_clear()
    with pytest.warns(UserWarning, match="GPU kernels cannot be compiled here, slower ones serve: "):
        assert not gpu_compiler.works()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not gpu_compiler.works()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    assert gpu_compiler.works()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_without_kernels_losses_and_metrics_are_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = functional.normalize(torch.randn(40, 8)).cuda().requires_grad_(), torch.arange(40).cuda() // 4
    found = []
    for there in (True, False):
        monkeypatch.setattr(gpu_compiler, "works", lambda there=there: there)
        value = ROADMAP()(rows, labels)
        found.append(
            (value, *torch.autograd.grad(value, rows), retrieval_metrics(rows.detach(), labels)["recall_at_1"])
        )
    torch.testing.assert_close(*(each[:2] for each in found), rtol=1e-4, atol=1e-6)
    assert found[0][2] == found[1][2]
