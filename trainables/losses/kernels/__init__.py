"""The losses' inner loops in compiled code: float32 on a CPU.

numba compiles them at the first call and keeps the code on disk. No result depends on how the work is shared out.
"""

from trainables.losses.kernels.average_precision import average_precisions
from trainables.losses.kernels.contrast import calibration_gradient, strips, violations
from trainables.losses.kernels.transpose import add_transpose

__all__ = ["add_transpose", "average_precisions", "calibration_gradient", "strips", "violations"]
