"""The trainings of a confirmation on Ray Tune: as many at a time as the sweep has, each from its newest checkpoint."""

from collections.abc import Sequence
from typing import Any

from ray import tune
from ray.tune import Callback, CheckpointConfig, FailureConfig, RunConfig, TuneConfig
from ray.tune.experiment import Trial as RayTrial
from ray.tune.search import Searcher

from trainables import bucket
from trainables.composition import compose
from trainables.errors import MISPLACED
from trainables.trainable import RetrievalTrainable
from tuner import cluster, places, secrets
from tuner.confirmation.arms import overrides
from tuner.confirmation.ledger import Repeat
from tuner.confirmation.office import Office
from tuner.interruption import Interruption
from tuner.placement import resources
from tuner.recorder import LOST_RETRIES

KEY = "repeat"  # of a Ray trial's config: which training it is


def train(office: Office, without: Sequence[str] = ()) -> None:
    """Every training that has not been trained to its end; one that failed by a bug is tried once more.

    without: ids of nodes on which none is placed.
    """
    waiting = [repeat for repeat in office.confirmation.repeats.values() if not _settled(office, repeat)]
    if not waiting:
        return
    interruption = Interruption()
    with interruption.listening(), cluster.local_ray(), interruption.listening():
        interruption.act()
        _fit(office, waiting, interruption, without)


def _settled(office: Office, repeat: Repeat) -> bool:
    """Whether it has ended; one whose last epoch is on disk has, if a killed process could not say so."""
    if repeat.state in ("pending", "running") and repeat.trained is not None:
        office.started(repeat)
        office.ended(repeat, "finished", "")
    return repeat.state == "infeasible" or (repeat.state == "finished" and repeat.trained is not None)


def _fit(office: Office, waiting: list[Repeat], interruption: Interruption, without: Sequence[str]) -> None:
    sweep, number = office.sweep, office.confirmation.number
    home = places.home(sweep.folder)
    attempt = len(bucket.folders(home, f"confirm-{number}-launch-*")) + 1
    secrets.keep_from_arguments()
    tune.Tuner(
        tune.with_resources(RetrievalTrainable, resources(sweep.resources.model_dump(), without)),
        tune_config=TuneConfig(
            search_alg=_Queue(office, waiting),
            num_samples=len(waiting),
            max_concurrent_trials=sweep.budget.concurrent,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.config[KEY]),
        ),
        run_config=RunConfig(
            name=f"confirm-{number}-launch-{attempt}",
            **places.for_ray(home),
            verbose=0,
            callbacks=[_Follower(office, interruption)],
            failure_config=FailureConfig(max_failures=LOST_RETRIES),
            checkpoint_config=CheckpointConfig(num_to_keep=1, checkpoint_at_end=False),  # the newest
        ),
    ).fit()


class _Queue(Searcher):
    """Gives Ray one training after another."""

    def __init__(self, office: Office, waiting: list[Repeat]) -> None:
        super().__init__()
        self._office, self._waiting = office, list(waiting)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]
        if not self._waiting:
            return Searcher.FINISHED
        repeat = self._waiting.pop(0)
        self._office.started(repeat)
        newest = repeat.newest
        return {
            KEY: repeat.key,
            "experiment": compose(overrides(self._office.sweep, repeat)).model_dump_json(),
            "refused": None,
            "resume_from": newest,
            "scheduled": False,
            "workers": self._office.sweep.resources.workers,
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The follower tells the ledger."""

    def save(self, checkpoint_path: str) -> None:
        """There is no state beside the ledger."""
        open(checkpoint_path, "w").close()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was saved."""


class _Follower(Callback):
    """Ray's events -> the office."""

    def __init__(self, office: Office, interruption: Interruption) -> None:
        self._office, self._interruption = office, interruption

    def on_trial_result(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, result: dict[str, Any], **info: Any
    ) -> None:
        if result["state"] == "running":
            metrics = {key: float(result[key]) for key in result["reported"]}
            self._office.reported(self._repeat(trial), int(result["epoch"]), metrics)

    def on_checkpoint(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, checkpoint: Any, **info: Any
    ) -> None:
        self._office.kept(self._repeat(trial), int(trial.last_result["epoch"]), checkpoint.path)

    def on_trial_complete(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        result, repeat = trial.last_result, self._repeat(trial)
        if result.get("state") in ("infeasible", "failed", MISPLACED):
            state = "infeasible" if result["state"] == "infeasible" else "failed"
            self._office.ended(repeat, state, result["reason"])
            if "traceback" in result:
                (self._office.ledger.folder / f"confirm-{repeat.key}.traceback.txt").write_text(result["traceback"])
        elif result.get("epoch", 0) >= repeat.arm.epochs:
            self._office.ended(repeat, "finished", "")

    def on_trial_error(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        self._office.ended(self._repeat(trial), "failed", f"its worker was lost {LOST_RETRIES + 1} times")

    def on_step_end(self, iteration: int, trials: list[RayTrial], **info: Any) -> None:
        self._interruption.act()

    def _repeat(self, trial: RayTrial) -> Repeat:
        return self._office.confirmation.repeats[trial.config[KEY]]
