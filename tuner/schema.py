"""The blocks of a sweep file: every key, its type and its bounds. docs of every key: search_spaces/README.md."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

Value = float | int | str | bool
Names = Annotated[tuple[str, ...], Field(strict=False)]


class Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Objective(Block):
    """What a trial is judged by: a validation metric, the best epoch of it."""

    metric: str = "val/map_at_r"
    mode: Literal["max", "min"] = "max"


class Search(Block):
    """How points are chosen. Trial 0 is always the presets' point, then come `points`, then the sampler's."""

    sampler: Literal["tpe", "random", "grid", "sobol", "gp", "cmaes", "nsga2", "hyperopt", "bohb"] = "tpe"
    trials: PositiveInt = 24
    seed: NonNegativeInt = 0
    startup: PositiveInt = 8  # points drawn at random before a model has something to learn from
    points: tuple[dict[str, Any], ...] = Field(default=(), strict=False)
    warm_start: Names = ()  # folders of earlier sweeps whose trials the sampler learns from


class Scheduler(Block):
    """Which trials are stopped early, at which epochs; `search_spaces/README.md` has the rule of each."""

    name: Literal["asha", "hyperband", "median", "pbt", "none"] = "asha"
    grace: PositiveInt = 3
    reduction: float = Field(default=3.0, gt=1)
    brackets: PositiveInt = 1
    interval: PositiveInt = 2  # pbt: epochs between two exchanges
    quantile: float = Field(default=0.25, gt=0, le=0.5)  # pbt: the share that copies from the share at the top
    resample: float = Field(default=0.25, ge=0, le=1)  # pbt: probability of a fresh draw instead of a step


class Validation(Block):
    """What of the train split is held out: whole classes (or super-classes), or images of every class."""

    protocol: Literal["holdout", "kfold"] = "holdout"
    fraction: float = Field(default=0.3, gt=0, lt=1)
    folds: int = Field(default=4, ge=2)
    unit: Literal["class", "super-class", "image"] = "class"
    seed: NonNegativeInt = 0

    def overrides(self) -> list[str]:
        """Of an Experiment. Of folds the first stands there; a trial trains on each in turn."""
        share = ["experience.holdout=null", f"experience.kfold={self.folds}", "experience.split=0"]
        if self.protocol == "holdout":
            share = [f"experience.holdout={self.fraction}"]
        together = {"class": [], "super-class": ["experience.with_super_labels=true"],
                    "image": ["experience.closed_set=true"]}  # fmt: skip
        return [*share, *together[self.unit], f"experience.split_random_state={self.seed}"]

    def __str__(self) -> str:
        units = {"class": "classes", "super-class": "super-classes", "image": "images of every class"}[self.unit]
        if self.protocol == "kfold":
            return f"{self.folds} folds of the train {units}, each held out once"
        return f"{self.fraction:g} of the train {units}, held out"


class Study(Block):
    """What is compared, what is optimised over so that the comparison is fair, what stays fixed and why.

    Terms of Google's Deep Learning Tuning Playbook.
    """

    scientific: Names = ()
    nuisance: Names = ()
    fixed: dict[str, str] = {}


class Resources(Block):
    """Of one trial: `workers` processes that share its batches, each with these cores and this much of a GPU.

    custom: what else Ray counts on the nodes for each of them, such as {accelerator_type:A100: 0.001}.
    """

    cpu: PositiveInt = 1
    gpu: NonNegativeFloat = 0.0
    workers: PositiveInt = 1
    custom: dict[str, PositiveFloat] = {}


class Budget(Block):
    """When a sweep ends before its trials do, and how many run at a time."""

    hours: PositiveFloat | None = None
    gpu_hours: PositiveFloat | None = None
    concurrent: PositiveInt = 2
    free_gb: NonNegativeFloat = 2.0  # of disk, below which nothing is started


class Confirm(Block):
    """How the winner is compared with the presets: fresh seeds for each, the best `arms` points of the ranking."""

    seeds: int = Field(default=5, ge=2)
    arms: PositiveInt = 1


class Settings(Block):
    """All of a sweep file but the space, whose language is space.py's."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    goal: str = Field(min_length=1)
    train: Names = ()
    space: dict[str, dict[str, Any]] = Field(min_length=1)
    constraints: Names = ()  # expressions over the space's keys that every point fulfils
    objective: Objective = Objective()
    tradeoffs: tuple[Objective, ...] = Field(default=(), strict=False)  # further objectives, for nsga2 and tpe
    search: Search = Search()
    scheduler: Scheduler = Scheduler()
    validation: Validation = Validation()
    study: Study | None = None
    resources: Resources = Resources()
    budget: Budget = Budget()
    confirm: Confirm = Confirm()
    storage: str = "runs"
    tracking: str = "sqlite:///mlruns/mlflow.db"
