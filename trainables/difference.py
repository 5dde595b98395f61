"""In what two experiments train differently: what may change between a checkpoint and the training that resumes it."""

from typing import Any

from trainables.experiment import Experiment

# how long, where, and what is only looked at: the next epoch's weights are the same
FREE = (
    "max_iter",
    "log_dir",
    "experiment_name",
    "resume",
    "maybe_resume",
    "save_model",
    "num_workers",
    "pin_memory",
    "force_lr",
)
RATES = ("lr", "base_lr", "max_lr")
DECAY = "weight_decay"


def difference(before: Experiment, after: Experiment, scheduled: bool = False) -> str | None:
    """The first setting in which two experiments train differently, as one phrase; None where they are equal.

    Learning rates may differ where the later one has force_lr; where the change is `scheduled`, they and weight decay,
    the losses' settings and their weights, the memory's too.
    """
    old, new = before.model_dump(), after.model_dump()
    for key in FREE:
        old["experience"].pop(key), new["experience"].pop(key)
    if scheduled:
        for values in (old, new):
            _without_scheduled(values)
    if after.experience.force_lr or scheduled:
        for entry in (*old["optimizer"], *new["optimizer"]):
            _without_rates(entry)
    return _first_difference(old, new, "")


def _without_scheduled(values: dict[str, Any]) -> None:
    for entry in values["optimizer"]:
        entry["kwargs"].pop(DECAY, None)
    for term in values["loss"]:
        term.pop("weight"), term.pop("kwargs")
    values["memory"].pop("weight")


def _without_rates(entry: dict[str, Any]) -> None:
    """Takes the learning rates out of an optimizer's entry and its schedulers'."""
    schedulers = (entry[f"scheduler_on_{occasion}"] for occasion in ("epoch", "step", "val"))
    for part in (entry, *schedulers):
        for key in RATES:
            if part is not None:
                part["kwargs"].pop(key, None)


def _first_difference(old: Any, new: Any, path: str) -> str | None:
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        pairs = [(key, old[key], new[key]) for key in old]
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        pairs = [(index, *values) for index, values in enumerate(zip(old, new, strict=True))]
    else:
        return None if old == new else f"{path} was {old!r}, now {new!r}"
    found = (_first_difference(left, right, f"{path}.{key}".lstrip(".")) for key, left, right in pairs)
    return next((phrase for phrase in found if phrase is not None), None)
