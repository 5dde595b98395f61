"""One training whose settings change: the file, what it may change, and that it is exact."""

import json
from pathlib import Path

import pytest

from trainables import schedule
from trainables.__main__ import main
from trainables.composition import compose
from trainables.errors import UserError
from trainables.training import Training


def write(folder: Path, *stages: tuple[int, list[str]]) -> Path:
    file = folder / "schedule.json"
    file.write_text(json.dumps([{"epoch": epoch, "overrides": overrides} for epoch, overrides in stages]))
    return file


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "is no schedule"),
        ('[{"epoch": 1, "overrides": [], "more": 1}]', "is no schedule: 0.more"),
        ('[{"epoch": 2, "overrides": []}]', "must begin with 1 and rise, not [2]"),
        ('[{"epoch": 1, "overrides": []}, {"epoch": 1, "overrides": []}]', "must begin with 1 and rise, not [1, 1]"),
    ],
)
def test_what_is_no_schedule(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "schedule.json"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        schedule.read(file)
    assert told in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        schedule.read(tmp_path / "none.json")


def test_a_change_that_no_training_survives(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, (1, []), (2, ["experience.seed=7"]))
    assert main([*tiny, "--schedule", str(file), f"experience.log_dir={tmp_path}/x"]) == 2
    assert "at epoch 2 experience.seed was" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_which_stages_are_left() -> None:
    experiment = compose(["experience.max_iter=6"])
    planned = [(1, experiment), (3, experiment), (5, experiment), (9, experiment)]
    assert [stage[::2] for stage in schedule.left(planned, 0)] == [(1, 2), (3, 4), (5, 6)]
    assert [stage[::2] for stage in schedule.left(planned, 3)] == [(3, 4), (5, 6)]
    assert [stage[::2] for stage in schedule.left(planned, 6)] == [(5, 6)], "it says what it has reached"


def test_a_change_keeps_the_place_in_a_rates_schedule(tiny: list[str], tmp_path: Path) -> None:
    """After one epoch of a StepLR of 0.1, a rate that is doubled is twice the decayed one; the other keeps its bits."""
    step = "optimizer.{}.scheduler_on_epoch={{name: StepLR, kwargs: {{step_size: 1, gamma: 0.1}}}}"
    common = [*tiny, "experience.max_iter=3", "optimizer.fc.lr=0.03", step.format("fc"), step.format("backbone")]
    before = Training(compose([*common, "optimizer.backbone.lr=0.01", "optimizer.backbone.weight_decay=0.1"]))
    after = Training(compose([*common, "optimizer.backbone.lr=0.02", "optimizer.backbone.weight_decay=0.2"]))
    before.epoch()
    before.save(tmp_path / "one.ckpt")
    with pytest.raises(UserError, match="another experiment"):
        after.load(tmp_path / "one.ckpt")
    after.load(tmp_path / "one.ckpt", scheduled=True)
    old, new = before._step.optimization, after._step.optimization
    assert new.rates()["fc"] == old.rates()["fc"] and new.rates()["backbone"] == pytest.approx(0.002)
    decays = {part.name: part.optimizer.param_groups[0]["weight_decay"] for part in new.parts}
    assert decays["backbone"] == 0.2
    new.after_epoch()
    assert new.rates()["backbone"] == pytest.approx(0.0002)


def test_resumed_or_not_a_schedule_gives_the_same(tiny: list[str], tmp_path: Path) -> None:
    file = write(tmp_path, (1, ["loss.SupAP.tau=0.05"]), (2, ["loss.SupAP.tau=0.01", "optimizer.backbone.lr=0.002"]))
    line = [*tiny, "--schedule", str(file), f"experience.log_dir={tmp_path}"]
    assert main([*line, "experience.experiment_name=whole", "experience.max_iter=3"]) == 0
    parts = [*line, "experience.experiment_name=parts", "experience.maybe_resume=true"]
    assert main([*parts, "experience.max_iter=1"]) == 0 and main([*parts, "experience.max_iter=2"]) == 0
    assert main([*parts, "experience.max_iter=3"]) == 0
    told = [
        [
            {key: value for key, value in json.loads(text).items() if not key.startswith("time/")}
            for text in (tmp_path / name / "reports.jsonl").read_text().splitlines()
        ]
        for name in ("whole", "parts")
    ]
    assert told[0] == told[1] and [report["epoch"] for report in told[0]] == [1, 2, 3]
