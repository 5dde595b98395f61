"""What an Experiment holds out of its train split."""

from pathlib import Path

import numpy as np
import pytest

from trainables import compose
from trainables.data import Emoji, LabelledImages
from trainables.errors import UserError
from trainables.splitting import train_and_validation


@pytest.fixture
def images(tiny_emoji: Path) -> LabelledImages:
    return Emoji(str(tiny_emoji)).train()  # 24 classes of 5 images, 3 super-classes


def split(images: LabelledImages, *overrides: str) -> tuple[LabelledImages, LabelledImages]:
    kept, validation = train_and_validation(compose([f"experience.{override}" for override in overrides]), images)
    assert validation is not None and validation.name == "val" and validation.gallery is None
    held = validation.query
    assert not set(kept.rows) & set(held.rows) and {*kept.rows, *held.rows} == set(images.rows)
    return kept, held


def test_nothing_is_held_out_unless_asked_for(images: LabelledImages) -> None:
    assert train_and_validation(compose(), images) == (images, None)


@pytest.mark.parametrize("how", [("holdout=0.34",), ("kfold=3", "split=1")])
def test_units(images: LabelledImages, how: tuple[str, ...]) -> None:
    assert images.super_labels is not None
    kept, held = split(images, *how)
    assert len(set(held.labels)) == 8 and not set(kept.labels) & set(held.labels)
    kept, held = split(images, *how, "with_super_labels=true")
    assert kept.super_labels is not None and held.super_labels is not None
    assert len(set(held.super_labels)) == 1 and not set(kept.super_labels) & set(held.super_labels)


def test_a_closed_set(images: LabelledImages) -> None:
    kept, held = split(images, "holdout=0.34", "closed_set=true")
    assert set(kept.labels) == set(held.labels) and np.bincount(held.labels).max() == 2


def test_the_folds_of_one_seed_are_one_partition(images: LabelledImages) -> None:
    for unit in ("with_super_labels=false", "with_super_labels=true"):
        parts = [split(images, "kfold=3", f"split={fold}", unit, "split_random_state=4")[1].rows for fold in range(3)]
        assert sorted(np.concatenate(parts)) == sorted(images.rows)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["holdout=0.2", "closed_set=true", "with_super_labels=true"], "exclude each other"),
        (["closed_set=true"], "closed_set says what is held out together: it needs holdout, or kfold and split"),
        (["with_super_labels=true"], "with_super_labels says what is held out together"),
        (["holdout=0.2", "kfold=3", "split=0"], "holdout and kfold exclude each other"),
        (["kfold=3", "split=3"], r"split must be below kfold \(3\), not 3"),
    ],
)
def test_contradictions(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        compose([f"experience.{override}" for override in overrides])
