"""How numba compiles the kernels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Whole = NDArray[np.int64]

INNER: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "forceinline": True}
"""Of what other compiled code calls. A check for a division by zero would keep a loop from being vectorised.

A call that is not inlined finds, in the process that compiles, the callee's own code, and in one that loads from the
disk the caller's copy of it: two orders of one sum.
"""
ENTRY: dict[str, Any] = {"error_model": "numpy", "nogil": True, "cache": True}
"""Of what Python calls; it is kept on disk together with all it calls."""
SUMS = {"reassoc", "contract", "nsz"}
"""What the compiler may do to add in lanes; infinities and NaN keep their meaning."""
