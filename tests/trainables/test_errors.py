"""What counts as memory that ran out."""

import numpy as np
import pytest
import torch

from trainables.errors import out_of_memory


def test_memory_that_runs_out_is_known_by_each_of_its_errors() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(10**15)
    assert out_of_memory(refused.value)
    with pytest.raises(MemoryError) as refused_too:
        np.empty(10**15)
    assert out_of_memory(refused_too.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not out_of_memory(RuntimeError("shapes do not fit"))
