"""What one trial does: the full ROADMAP training and evaluation.

An `Experiment` is the complete configuration of one training; a `Training` runs it epoch by epoch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainables.composition import compose
    from trainables.training import Report, Training

__all__ = ["Report", "Training", "compose"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: only who trains or composes pays
    if name == "compose":
        from trainables.composition import compose

        return compose
    if name in ("Training", "Report"):
        from trainables import training

        return getattr(training, name)
    raise AttributeError(f"module 'trainables' has no attribute {name!r}")
