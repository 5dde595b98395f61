"""Where the events of a confirmation come together: the ledger first, then MLflow and the console."""

import os
import shlex
from collections.abc import Callable
from statistics import fmean, stdev
from typing import Any

from tuner import naming, places, provenance
from tuner.confirmation.arms import overrides
from tuner.confirmation.ledger import Arm, Confirmation, Ledger, Repeat
from tuner.events import events
from tuner.journal import FILE
from tuner.sweep import Sweep
from tuner.tracking import NAME, Details, Tracker, TrackingSummary


class Office:
    """One confirmation's ledger, MLflow runs and console lines. A run for each arm, below it one for each seed."""

    def __init__(self, sweep: Sweep, ledger: Ledger, say: Callable[[str], None]) -> None:
        self.sweep, self.ledger, self.say = sweep, ledger, say
        self._labels = naming.labels(sweep.space)
        header = next(iter(events(ledger.folder / FILE)), {})
        self._shared = {"sweep": sweep.name, **provenance.of_data(header), **provenance.of_launch()}
        confirmation = self.confirmation
        self._tracker = Tracker(sweep.tracking, sweep.name, confirmation.launch, ("confirm", "confirm-training"))
        tags = {**self._shared, NAME: f"{sweep.name} confirmed ({confirmation.number})", "goal": sweep.goal,
                "test_split_seen": str(ledger.seen)}  # fmt: skip
        self._tracker.open(tags, {"sweep.json": sweep.model_dump_json(indent=2)})
        for arm in confirmation.arms:
            self._open(arm)
        for repeat in confirmation.repeats.values():
            self._catch_up(repeat)

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles its callbacks for a restore of its own; a confirmation is resumed from its ledger instead."""
        return {}

    @property
    def confirmation(self) -> Confirmation:
        return self.ledger.confirmations[-1]

    def started(self, repeat: Repeat) -> None:
        self._tracker.start_trial(repeat.key, self._params(repeat), self._tags(repeat), _details(repeat))
        self._tell_reports(repeat)

    def reported(self, repeat: Repeat, epoch: int, metrics: dict[str, float]) -> None:
        self.ledger.write("report", repeat=repeat.key, epoch=epoch, metrics=metrics)
        self._tracker.report(repeat.key, epoch, metrics, repeat.reported_at[epoch])

    def kept(self, repeat: Repeat, epoch: int, path: str) -> None:
        """path: as Ray says it; the ledger's is relative, for the sweep's home may move."""
        below = os.path.relpath(path, places.root(places.home(self.ledger.folder)))
        self.ledger.write("checkpoint", repeat=repeat.key, epoch=epoch, path=below)

    def ended(self, repeat: Repeat, state: str, reason: str) -> None:
        self.ledger.write("end", repeat=repeat.key, state=state, reason=reason)
        self._tracker.end_trial(repeat.key, state, reason, {})
        repeats = self.confirmation.repeats.values()
        done = sum(other.state not in ("pending", "running") for other in repeats)
        why = f" ({reason})" if reason else ""
        epochs = len(repeat.reports)
        self.say(f"{repeat.arm.name}, seed {repeat.seed}: {state}{why}, {epochs} epochs; {done} of {len(repeats)}")

    def tested(self, repeat: Repeat, metrics: dict[str, float], values: str) -> None:
        self.ledger.write("test", repeat=repeat.key, metrics=metrics, values=values)
        self._tracker.measure(metrics, repeat.key)

    def close(
        self, state: str, metrics: dict[str, float], artifacts: dict[str, str], timeout_s: float
    ) -> TrackingSummary:
        """metrics: of the confirmation as a whole."""
        for arm in self.confirmation.arms if state != "interrupted" else ():
            self._tracker.measure(self._over_seeds(arm), _key(arm))
            self._tracker.end_trial(_key(arm), state, "", {})
        self._tracker.measure(metrics)
        return self._tracker.close(state, {}, artifacts, timeout_s)

    def _open(self, arm: Arm) -> None:
        title = naming.title(f"{arm.role} {arm.trial:04d}", arm.point, self._labels)
        tags = {**self._shared, "role": arm.role}
        params = {**arm.point, "experience.max_iter": arm.epochs}
        self._tracker.start_trial(_key(arm), params, tags, Details(title, "confirm-arm"))

    def _over_seeds(self, arm: Arm) -> dict[str, float]:
        """Means of what was tested, and sample standard deviations of two seeds and more."""
        tested = [repeat.test for repeat in self.confirmation.of_arm(arm) if repeat.test is not None]
        found: dict[str, float] = {}
        for name in dict.fromkeys(name for metrics in tested for name in metrics):
            values = [metrics[name] for metrics in tested if name in metrics]
            found[name] = fmean(values)
            if len(values) > 1:
                found[f"spread/{name}"] = stdev(values)
        return found

    def _catch_up(self, repeat: Repeat) -> None:
        """Tells MLflow what a process that was killed had in its ledger and not yet there."""
        if repeat.state in ("pending", "running"):
            return
        params, tags = self._params(repeat), self._tags(repeat)
        self._tracker.settle_trial(repeat.key, params, tags, repeat.state, _details(repeat))
        self._tell_reports(repeat)
        self._tracker.end_trial(repeat.key, repeat.state, repeat.reason, {})
        if repeat.test is not None:
            self._tracker.measure(repeat.test, repeat.key)

    def _tell_reports(self, repeat: Repeat) -> None:
        for epoch in sorted(repeat.reports):
            self._tracker.report(repeat.key, epoch, repeat.reports[epoch], repeat.reported_at[epoch])

    def _params(self, repeat: Repeat) -> dict[str, object]:
        return {**repeat.arm.point, "experience.seed": repeat.seed, "experience.max_iter": repeat.arm.epochs}

    def _tags(self, repeat: Repeat) -> dict[str, str]:
        parts = (shlex.quote(part) for part in overrides(self.sweep, repeat))
        command = " ".join(["roadmap-train", *parts])
        return {**self._shared, "role": repeat.arm.role, "seed": str(repeat.seed), "command": command}


def _key(arm: Arm) -> str:
    return f"arm-{arm.trial:04d}"


def _details(repeat: Repeat) -> Details:
    return Details(f"seed {repeat.seed} {repeat.arm.role}", above=_key(repeat.arm))
