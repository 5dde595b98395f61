"""The complete typed configuration of one training: frozen, and whole before anything is built from it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

Kwargs = dict[str, Any]


class Part(BaseModel):
    """One node of the configuration: unknown keys and wrong types are refused, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Experience(Part):
    """How long, how often, from which seed, and which classes are held out."""

    experiment_name: str = Field(min_length=1)
    log_dir: str
    seed: NonNegativeInt
    max_iter: PositiveInt  # epochs
    resume: str | None
    maybe_resume: bool
    force_lr: bool  # a resumed training takes the learning rates of its configuration, not the checkpoint's
    warm_up: int  # epochs at the start in which only warm_up_key is trained; -1: none
    warm_up_key: Literal["backbone", "fc"]
    train_eval_freq: int  # epochs between evaluations; -1: never
    val_eval_freq: int
    test_eval_freq: int
    eval_split: str | None  # the one test split that is evaluated; null: each
    eval_bs: PositiveInt
    save_model: PositiveInt  # epochs between numbered checkpoints; last and best are always kept
    principal_metric: str
    with_AP: bool
    landmarks: bool  # the test splits are landmarks with a ground truth (easy, medium, hard)
    log_grad: bool  # gradient norms of each loss in the report
    clip_grad: float | None = Field(gt=0)  # largest norm of the gradient; null: not clipped
    holdout: float | None = Field(gt=0, lt=1)  # share of the train classes that becomes the validation split
    kfold: int | None = Field(ge=2)
    split: NonNegativeInt | None  # which of the folds is the validation split
    split_random_state: NonNegativeInt
    with_super_labels: bool  # whole super-classes are held out together
    closed_set: bool  # images of every class are held out, not classes
    sub_batch: PositiveInt  # images that go through the backbone at a time; the gradient is the whole batch's
    update_type: Literal["base"]  # one optimizer step a batch
    num_workers: NonNegativeInt
    num_threads: PositiveInt | None  # torch threads of this training; null: torch's own choice
    pin_memory: bool
    amp_dtype: Literal["bfloat16", "float16"]  # of the forward pass, where model.kwargs.with_autocast is true
    channels_last: bool
    compile: bool  # torch.compile of the network

    @model_validator(mode="after")
    def _one_way_to_hold_out(self) -> "Experience":
        if self.holdout is not None and self.kfold is not None:
            raise ValueError("holdout and kfold exclude each other: set one of them to null")
        if (self.kfold is None) != (self.split is None):
            raise ValueError("kfold and split go together: kfold=4 split=0 holds out the first of four folds")
        if self.kfold is not None and self.split is not None and self.split >= self.kfold:
            raise ValueError(f"split must be below kfold ({self.kfold}), not {self.split}")
        if self.closed_set and self.with_super_labels:
            raise ValueError("closed_set and with_super_labels exclude each other: set one of them to false")
        for name, wanted in (("closed_set", self.closed_set), ("with_super_labels", self.with_super_labels)):
            if wanted and not self.validates:
                raise ValueError(f"{name} says what is held out together: it needs holdout, or kfold and split")
        return self

    @property
    def validates(self) -> bool:
        """Whether some train classes are held out for validation."""
        return self.holdout is not None or self.kfold is not None

    @property
    def held_unit(self) -> Literal["class", "super-class", "image"]:
        """What is held out whole, or trained on whole."""
        return "image" if self.closed_set else "super-class" if self.with_super_labels else "class"


class Sampler(Part):
    name: str
    kwargs: Kwargs


class Dataset(Part):
    name: str
    kwargs: Kwargs
    sampler: Sampler
    on_bad_image: Literal[
        "error", "skip"
    ]  # a file that cannot be decoded: an error with its path, or left out and counted
    cache: Literal["memmap"] | None  # pictures of files decoded once for every training of this machine
    ks: tuple[PositiveInt, ...] = Field(strict=False)  # the k of recall@k


class LossTerm(Part):
    """One summand of the objective: weight * name(**kwargs)."""

    name: str
    # "adaptive": rescaled to the mean gradient norm of the losses on the last layer
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] | Literal["adaptive"]
    kwargs: Kwargs

    @property
    def short_name(self) -> str:
        """Without the library it is from: MultiSimilarityLoss for pml/MultiSimilarityLoss."""
        return self.name.rpartition("/")[2]


class Memory(Part):
    """Embeddings of earlier batches that the losses compare the batch with; name null: none."""

    name: Literal["XBM"] | None
    kwargs: Kwargs
    weight: float = Field(ge=0, allow_inf_nan=False)  # of the losses against the memory
    activate_after: int  # epochs; -1: from the start


class Model(Part):
    name: str
    kwargs: Kwargs
    freeze_batch_norm: bool
    freeze_pos_embedding: bool


class Scheduler(Part):
    name: str
    kwargs: Kwargs


class OptimizerPart(Part):
    """One torch optimizer over one part of the model."""

    name: str
    params: Literal["backbone", "fc", "all", "loss"]  # loss: the proxies of losses that have some
    kwargs: Kwargs
    scheduler_on_epoch: Scheduler | None = None
    scheduler_on_step: Scheduler | None = None
    scheduler_on_val: Scheduler | None = None  # told the principal metric of the validation split


class Transform(Part):
    """Ordered steps, name -> keyword arguments (null: none)."""

    train: dict[str, Kwargs | None]
    test: dict[str, Kwargs | None]


class Experiment(Part):
    """One training, complete. `compose` makes it from overrides; `model_dump_json` and back keeps it equal."""

    experience: Experience
    dataset: Dataset
    loss: tuple[LossTerm, ...] = Field(min_length=1, strict=False)
    memory: Memory
    model: Model
    optimizer: tuple[OptimizerPart, ...] = Field(min_length=1, strict=False)
    transform: Transform
