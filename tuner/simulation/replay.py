"""A trial that trains nothing: it reports a recorded curve, at the pace that is asked for, in a process without torch.

Everything else of a sweep is real: Ray and its actors, searcher, rule, journal, MLflow. See benchmarks/scale.py.
"""

import time
from pathlib import Path
from typing import Any, NamedTuple

from ray import tune
from ray.tune.result import DONE, SHOULD_CHECKPOINT


class Recorded(NamedTuple):
    """What to replay. values: a curve a row, taken in turn; others: names that are reported beside the metric."""

    metric: str
    values: tuple[tuple[float, ...], ...]
    others: tuple[str, ...]
    epoch_s: float  # that an epoch takes


class ReplayTrainable(tune.Trainable):
    """The results of RetrievalTrainable, for the same config; `ray.tune.with_parameters` gives it `recorded`."""

    def setup(self, config: dict[str, Any], recorded: Recorded) -> None:  # type: ignore[override]
        self._recorded = recorded
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        curves = self._recorded.values
        self._curve, self._epoch = curves[new_config["number"] % len(curves)], 0
        if new_config["resume_from"] is not None:
            self.load_checkpoint(new_config["resume_from"])
        return True

    def step(self) -> dict[str, Any]:
        time.sleep(self._recorded.epoch_s)
        self._epoch += 1
        value = self._curve[self._epoch - 1]
        metrics = {self._recorded.metric: value, **dict.fromkeys(self._recorded.others, value)}
        return {
            **metrics,
            "epoch": self._epoch,
            "state": "running",
            "reason": "",
            "reported": sorted(metrics),
            DONE: self._epoch == len(self._curve),
            SHOULD_CHECKPOINT: True,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        (Path(checkpoint_dir) / "epoch").write_text(str(self._epoch))

    def load_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]
        self._epoch = int((Path(checkpoint_dir) / "epoch").read_text())
