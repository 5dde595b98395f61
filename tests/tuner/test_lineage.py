"""Lineages through donors, what is kept for whom, by hand."""

import json
from pathlib import Path

from tuner import lineage, retention
from tuner.journal import Change, Trial
from tuner.lineage import Part, Start
from tuner.schema import Objective

A, B, C, D = ({"loss.SupAP.tau": value} for value in (0.1, 0.2, 0.3, 0.4))
METRIC = "val/map_at_r"


def family() -> dict[int, Trial]:
    """Trial 2 copied 1 after epoch 4; 1 had copied 0 after epoch 2."""
    trials = {number: Trial(number, point) for number, point in enumerate((A, B, C))}
    trials[1].schedule.append(Change(2, D, 0))
    trials[2].schedule.append(Change(4, B, 1))
    return trials


def test_a_lineage_is_one_training() -> None:
    trials = family()
    assert lineage.lineage(trials, 2, 6) == [Part(1, 2, 0, A), Part(3, 4, 1, D), Part(5, 6, 2, B)]
    assert lineage.lineage(trials, 2, 4) == [Part(1, 4, 2, C)], "what it was before it copied"
    assert [trials[1].point_at(epoch) for epoch in (2, 3)] == [B, D]
    trials[2].reports = {epoch: {METRIC: epoch / 10} for epoch in range(1, 6)}
    assert json.loads(lineage.schedule(trials, trials[2], Objective())) == [
        {"epoch": 1, "overrides": ["loss.SupAP.tau=0.1"]},
        {"epoch": 3, "overrides": ["loss.SupAP.tau=0.4"]},
        {"epoch": 5, "overrides": ["loss.SupAP.tau=0.2"]},
    ]


def test_a_donors_checkpoint_stays_until_it_is_copied(tmp_path: Path) -> None:
    trials = family()
    for number in trials:
        for epoch in (3, 4, 5):
            folder = tmp_path / f"{number}-{epoch}"
            folder.mkdir()
            if number != 2 or epoch < 5:
                trials[number].checkpoints[epoch] = str(folder)
    assert lineage.awaited(trials, 1) == {4} and lineage.awaited(trials, 0) == set()
    assert lineage.start_of(trials[2], trials) == Start(str(tmp_path / "1-4"), True)
    assert lineage.start_of(trials[0], trials) == Start(str(tmp_path / "0-5"), False)
    retention.prune(trials[1], Objective(), lineage.awaited(trials, 1))
    assert [(tmp_path / f"1-{epoch}").is_dir() for epoch in (3, 4, 5)] == [False, True, True]
    trials[2].checkpoints[5] = str(tmp_path / "2-5")
    assert lineage.awaited(trials, 1) == set()
    assert lineage.start_of(trials[2], trials) == Start(str(tmp_path / "2-5"), False)
    del trials[2].checkpoints[5]
    (tmp_path / "1-4").rmdir()
    assert lineage.start_of(trials[2], trials) is None
