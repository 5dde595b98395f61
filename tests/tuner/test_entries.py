"""What runs hold in MLflow, from plan and journal: names, tags, metrics, files. No MLflow."""

import json
from pathlib import Path

import pytest
import yaml

from tuner import naming
from tuner.entries import THROUGHPUT, Entries, flat
from tuner.journal import Journal
from tuner.plan import make_plan
from tuner.results import Results
from tuner.sweep import load_sweep


@pytest.fixture
def folded(sweep_file: Path, tmp_path: Path) -> Entries:
    """Two trials of two folds: 0 told three epochs, of which the second is best; 1 has another point and none."""
    plan = make_plan(load_sweep(sweep_file, ["validation={protocol: kfold, folds: 2}"]))
    journal = Journal(tmp_path)
    journal.open()
    journal.write("sweep", launch="x", trials=2, epochs=4, data={"emoji": "12ab"})
    for number, torch in ((0, "2.13"), (1, "2.14")):
        journal.write("launch", host="laptop", pid=1, about={"version.torch": torch, "host": "laptop"})
        point = {"loss.SupAP.tau": 0.0123456 * (number + 1), "loss.CalibrationLoss.weight": 1.0}
        journal.write("point", trial=number, point={**point, "optimizer.backbone.lr": 1.8371e-3})
        journal.write("start", trial=number)
        for epoch, value in ((1, 0.2), (2, 0.5), (3, 0.4)) if number == 0 else ():
            told = {"train/total": 1.0, "train/images": 300.0, "time/train_s": 1.5, "val/map_at_r": value}
            told |= {f"folds/{fold}/map_at_r": value + (0.1, -0.1)[fold] for fold in (0, 1)}
            told |= {"folds/1/train/total": 2.0, "folds/spread": 0.14}
            journal.write("report", trial=0, epoch=epoch, metrics=told, host="node", gpu="H100")
    journal.write("end", trial=0, state="finished", reason="")
    journal.close()
    return Entries(plan, journal)


def test_a_trial_and_its_folds_are_told_what_is_theirs(folded: Entries) -> None:
    trial = folded.journal.trials[0]
    metrics = [folded.metrics(trial, epoch) for epoch in (1, 2, 3)]
    assert list(metrics[0]) == ["0000", "0000/fold0", "0000/fold1"] == folded.keys(trial)
    first = metrics[0]["0000"]
    assert next(iter(first)) == "val/map_at_r" and first[THROUGHPUT] == 200.0 and first["folds/spread"] == 0.14
    assert first["log10/loss.SupAP.tau"] == pytest.approx(-1.9085, abs=1e-4)
    assert "folds/1/map_at_r" not in first and "log10/loss.SupAP.tau" not in metrics[1]["0000"]
    assert metrics[0]["0000/fold1"] == {
        "val/map_at_r": pytest.approx(0.1), "train/total": 2.0, "best/epoch": 1.0,
        "best/val/map_at_r": pytest.approx(0.1),
    }  # fmt: skip
    best = [own["0000"].get("best/val/map_at_r") for own in metrics]
    assert best == [0.2, 0.5, None], "told where it is better than before"
    own = {entry.key: entry.best for entry in folded.of(trial)}
    assert own["0000"] == {"epoch": 2.0, "val/map_at_r": 0.5}
    assert own["0000/fold0"] == {"epoch": 2.0, "val/map_at_r": pytest.approx(0.6)}


def test_what_made_a_run_is_what_was_there_then(folded: Entries) -> None:
    whole, first, second = folded.of(folded.journal.trials[0])
    assert whole.tags["version.torch"] == "2.13" and whole.tags["data.emoji"] == "12ab"
    assert whole.tags["host"] == "node" and whole.tags["gpu"] == "H100", "where it was trained, not the driver's"
    assert whole.tags["command"].startswith("for fold in 0 1; do roadmap-train ")
    assert "experience.split=1 " in second.tags["command"] and "-fold1" in second.tags["command"]
    assert (first.details.above, first.details.kind, first.details.name) == ("0000", "fold", "0000 fold 0")
    [other, *_] = folded.of(folded.journal.trials[1])
    assert other.tags["version.torch"] == "2.14" and other.tags["host"] == "laptop"
    assert folded.launch_tags()["version.torch"] == "2.14"
    assert whole.details.name == "0000 presets tau 0.0123 weight 1 lr 1.8e-3"
    assert other.details.name == "0001 tau 0.0247 weight 1 lr 1.8e-3"


def test_the_whole_experiment_is_one_flat_file(folded: Entries) -> None:
    [entry, *folds] = folded.of(folded.journal.trials[1])
    assert entry.details.files is not None and all(fold.details.files is None for fold in folds)
    [(file, text)] = entry.details.files().items()
    told = yaml.safe_load(text)
    experiment = folded.plan.experiment(folded.journal.trials[1].point)
    assert file == "experiment.yaml" and f"experience.kfold: {experiment.experience.kfold}\n" in text
    index = next(place for place, term in enumerate(experiment.loss) if term.name == "SupAP")
    assert float(told[f"loss.{index}.kwargs.tau"]) == pytest.approx(0.0246912)
    assert flat({"a": {"b": [1, {"c": None}], "d": []}, "e": "ü: x"}) == 'a.b.0: 1\na.b.1.c: null\na.d: []\ne: "ü: x"\n'


def test_the_launchs_file_launches_it_again(folded: Entries, tmp_path: Path) -> None:
    files = folded.launch_files()
    (tmp_path / "sweep.yaml").write_text(files["sweep.yaml"])
    assert load_sweep(tmp_path / "sweep.yaml") == folded.plan.sweep
    assert json.loads(files["sweep.json"]) == folded.plan.sweep.model_dump(mode="json")
    note = folded.note(Results(folded.plan.sweep, tuple(folded.journal.trials.values())))
    assert "best val/map_at_r **0.5000 ± 0.1400** (trial 0000)" in note and "roadmap-tune run sweep.yaml" in note


def test_names_say_the_point_and_stay_short() -> None:
    keys = ["loss.SupAP.tau", "optimizer.backbone.lr", "optimizer.fc.lr", "loss", "a.x,b.x"]
    known = naming.labels(keys)
    assert list(known.values()) == ["tau", "backbone.lr", "fc.lr", "loss", "x"]
    assert naming.labels(["optimizer.fc.lr"]) == {"optimizer.fc.lr": "lr"}
    numbers = [0.01237, 1.2711, 1.837e-3, 2e-5, 0.0, 12345.0, 128, True, "roadmap", -0.5]
    assert [naming.number(value) for value in numbers] == [
        "0.0124", "1.27", "1.8e-3", "2e-5", "0", "1.2e4", "128", "True", "roadmap", "-0.5"
    ]  # fmt: skip
    point = dict.fromkeys(keys, 0.0012345)
    assert naming.title("0019", {"loss.SupAP.tau": 0.01237}, known) == "0019 tau 0.0124"
    long = naming.title("0019", {**point, **{f"more.key{n}": 0.5 for n in range(9)}}, known)
    assert len(long) <= naming.WIDTH and long.endswith(" …")
