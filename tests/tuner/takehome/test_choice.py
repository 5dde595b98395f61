"""Which checkpoint is taken home: never the luckiest, and said for what it is."""

import shutil
from pathlib import Path

import pytest

from tests.tuner.takehome.conftest import confirm, folder_of, write_sweep
from trainables.checkpoint import CHECKPOINT
from trainables.errors import UserError
from tuner.confirmation.ledger import Ledger
from tuner.results import Results
from tuner.sweep import Sweep, load_sweep
from tuner.takehome.choice import Choice, chosen
from tuner.takehome.origin import origin_of


def choice_of(sweep: Sweep, number: int | None = None) -> Choice:
    return chosen(Results.read(sweep), Ledger.read(sweep.folder), number, "small.yaml")


def test_before_a_confirmation_the_best_epoch_of_the_best_trial(sweep: Sweep) -> None:
    write_sweep(sweep, {0: [0.1, 0.15], 1: [0.1, 0.3, 0.2], 2: [0.2]})
    choice = choice_of(sweep)
    assert not choice.confirmed and (choice.metric, choice.value) == ("val/map_at_r", 0.3)
    assert Path(choice.checkpoint) == sweep.folder / folder_of(1, 2) / CHECKPOINT
    assert choice.why.startswith("not confirmed: trial 0001 after epoch 2: val/map_at_r 0.3000")
    assert "the best value of 3 trials flatters: `roadmap-tune confirm small.yaml`" in choice.why


def test_after_one_the_winners_median_seed(sweep: Sweep) -> None:
    write_sweep(sweep, {0: [0.1, 0.15], 1: [0.1, 0.2, 0.3]})
    confirm(sweep)
    choice = choice_of(sweep)
    assert choice.confirmed and choice.repeat is not None and choice.repeat.seed == 334
    assert (choice.metric, choice.value) == ("test/map_at_r", 0.23)
    assert Path(choice.checkpoint) == sweep.folder / "confirm-1-launch-1/0001-seed334/checkpoint_000000" / CHECKPOINT
    assert choice.why.startswith("confirmed: the winner (trial 0001), trained on the whole train split for 3 epochs")
    told = "\n\n".join(origin_of(choice, "small.yaml").chosen)
    assert "Beats" not in told and "The winner beats the defaults by 0.0300" in told
    assert "- test/map_at_r: 0.2300 [0.2300, 0.2300]" in told
    # of two seeds the lower
    other = confirm_again(sweep, {400: 0.25, 401: 0.24})
    assert other.repeat is not None and other.repeat.seed == 401


def confirm_again(sweep: Sweep, values: dict[int, float]) -> Choice:
    shutil.rmtree(sweep.folder / "confirm-1-launch-1")
    confirm(sweep, values=values)
    return choice_of(sweep)


def test_presets_that_beat_the_winner_are_taken(sweep: Sweep) -> None:
    write_sweep(sweep, {0: [0.1, 0.15], 1: [0.1, 0.2, 0.3]})
    confirm(sweep, low=-0.05)
    choice = choice_of(sweep)
    assert choice.trial.number == 0 and "the presets beat the winner" in choice.why
    assert choice_of(sweep, 1).trial.number == 1


def test_seeds_that_cannot_tell_leave_the_winner(sweep: Sweep) -> None:
    write_sweep(sweep, {0: [0.1, 0.15], 1: [0.1, 0.2, 0.3]})
    confirm(sweep, low=-0.01)
    assert choice_of(sweep).trial.number == 1


def test_a_trial_that_is_better_since_is_named(sweep: Sweep) -> None:
    write_sweep(sweep, {0: [0.1, 0.15], 1: [0.1, 0.2, 0.3], 2: [0.4]})
    confirm(sweep)
    assert "trial 0002 has a better validation value since, and is not confirmed" in choice_of(sweep).why
    assert not choice_of(sweep, 2).confirmed


def test_the_folder_of_a_sweep_may_move(sweep: Sweep) -> None:
    write_sweep(sweep, {0: [0.1, 0.15], 1: [0.1, 0.2, 0.3]})
    confirm(sweep)
    moved = sweep.folder.parent / "moved" / sweep.name
    moved.parent.mkdir()
    sweep.folder.rename(moved)
    elsewhere = sweep.model_copy(update={"storage": str(moved.parent)})
    assert Path(choice_of(elsewhere).checkpoint).is_relative_to(moved)


def test_of_folds_the_median_one(sweep_file: object) -> None:
    folds = load_sweep(str(sweep_file), ["validation={protocol: kfold, folds: 3}"])
    write_sweep(folds, {0: [0.1], 1: [0.2]}, {f"folds/{fold}/map_at_r": (0.3, 0.1, 0.2)[fold] for fold in range(3)})
    place = folds.folder / folder_of(1, 1)
    (place / CHECKPOINT).rename(place / "training.fold2.ckpt")
    choice = choice_of(folds)
    assert choice.file == "training.fold2.ckpt" and "fold 2, the median one" in choice.why


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (7, "has no trial 7, did you mean 2? It has 0 to 2"),
        (-1, "has no trial -1, did you mean 0?"),
        (2, "trial 0002 (infeasible) has no value: there is nothing to export"),
    ],
)
def test_a_trial_that_cannot_be_taken_is_one_line(sweep: Sweep, number: int, said: str) -> None:
    write_sweep(sweep, {0: [0.1], 1: [0.2], 2: []})
    with pytest.raises(UserError) as refused:
        choice_of(sweep, number)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_sweep_without_a_value_or_a_checkpoint(sweep: Sweep) -> None:
    write_sweep(sweep, {0: [], 1: []})
    with pytest.raises(UserError, match="no trial of sweep 'small' has a value: there is nothing to export"):
        choice_of(sweep)
    shutil.rmtree(sweep.folder)
    write_sweep(sweep, {0: [0.1], 1: [0.2]})
    shutil.rmtree(sweep.folder / "launch-1")
    with pytest.raises(UserError, match="the checkpoint of trial 0001 is gone: there is no "):
        choice_of(sweep)
