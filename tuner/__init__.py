"""How trials are chosen, run, followed and judged.

A `Sweep` is one search over a space, on one data set, for one objective; `run` gives its `Results`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.results import Results
    from tuner.session import run
    from tuner.sweep import Sweep, load_sweep

__all__ = ["Results", "Sweep", "load_sweep", "run"]

_HOME = {"load_sweep": "sweep", "Sweep": "sweep", "run": "session", "Results": "results"}


def __getattr__(name: str) -> Any:
    # Ray and torch take seconds to import: `roadmap-tune --help` does not wait for them
    if name not in _HOME:
        raise AttributeError(f"module 'tuner' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"tuner.{_HOME[name]}"), name)
