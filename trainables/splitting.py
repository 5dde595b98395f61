"""The train split of an Experiment, without what is held out of it to validate with."""

import numpy as np

from trainables.data import LabelledImages, RetrievalSplit, folds, hold_out
from trainables.experiment import Experiment


def train_and_validation(
    experiment: Experiment, images: LabelledImages
) -> tuple[LabelledImages, RetrievalSplit | None]:
    """The train split without the classes (or images) that are held out, and those as the split "val" (or None)."""
    experience = experiment.experience
    seed, unit = experience.split_random_state, experience.held_unit
    if experience.holdout is not None:
        kept, held = hold_out(images.labels, images.super_labels, experience.holdout, seed, unit)
    elif experience.kfold is not None and experience.split is not None:
        held = folds(images.labels, images.super_labels, experience.kfold, seed, unit)[experience.split]
        kept = np.setdiff1d(np.arange(len(images)), held)
    else:
        return images, None
    return images.subset(kept), RetrievalSplit("val", images.subset(held), None)


def validations(experiment: Experiment, images: LabelledImages) -> list[RetrievalSplit]:
    """What each training of a trial is validated on: the one split that is held out, or every fold."""
    found = (train_and_validation(one, images)[1] for one in trainings(experiment))
    return [split for split in found if split is not None]


def trainings(experiment: Experiment) -> list[Experiment]:
    """The trainings of one trial: itself, or one for each of its folds."""
    folds = experiment.experience.kfold
    return [experiment] if folds is None else [fold_of(experiment, fold) for fold in range(folds)]


def fold_of(experiment: Experiment, fold: int) -> Experiment:
    """The experiment that holds this one of its folds out."""
    assert experiment.experience.kfold is not None, "an experiment of folds"
    return experiment.model_copy(update={"experience": experiment.experience.model_copy(update={"split": fold})})
