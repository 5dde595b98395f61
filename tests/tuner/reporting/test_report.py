"""The report of a made sweep: what it says is true of the journal, and it asks no network for anything."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.tuner.reporting.made import METRIC, TRIALS, confirm, made_sweep
from tuner import store
from tuner.__main__ import main
from tuner.confirmation.verdict import Verdict
from tuner.reporting.command import made_of
from tuner.results import Results


class Page(HTMLParser):
    """The texts of a page by tag, and every address that it names."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        self.addresses: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open.append(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.texts.setdefault(self._open[-1], []).append(data.strip())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Verdict, Path, Page]:
    """A confirmed sweep's results and verdict, the folder of its report, the page."""
    folder = tmp_path_factory.mktemp("made")
    sweep = made_sweep(folder)
    verdict = confirm(sweep)
    assert main(["report", str(sweep.folder), "--offline"]) == 0
    report = sweep.folder / "report"
    page = Page()
    page.feed((report / "report.html").read_text())
    return Results.read(sweep), verdict, report, page


def data(report: Path) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', (report / "report.html").read_text())
    assert found is not None
    told: dict[str, Any] = json.loads(found[1])
    return told


def test_the_verdict_comes_first(made: tuple[Results, Verdict, Path, Page]) -> None:
    _, verdict, _, page = made
    assert page.texts["p"][1].lower() == f"{verdict.sentence()}.".lower()
    assert "The test split of this sweep has been looked at once." in page.texts["p"]


def test_nothing_is_fetched(made: tuple[Results, Verdict, Path, Page]) -> None:
    assert made[3].addresses == []


def test_every_trial_is_in_the_table(made: tuple[Results, Verdict, Path, Page]) -> None:
    results, _, report, _ = made
    told = data(report)
    place = {name: told["columns"].index(name) for name in ("trial", "state", METRIC, "reason")}
    assert [row[place["trial"]] for row in told["rows"]] == [trial.number for trial in results.ranked]
    for row, trial in zip(told["rows"], results.ranked, strict=True):
        assert (row[place["state"]], row[place["reason"]]) == (trial.state, trial.reason)
        value = row[place[METRIC]]
        assert value is None if trial.state == "infeasible" else value == pytest.approx(results.value(trial), rel=1e-5)


def test_every_figure_has_a_picture_and_a_sentence(made: tuple[Results, Verdict, Path, Page]) -> None:
    _, _, report, page = made
    names = set(data(report)["figures"])
    assert {path.stem for path in (report / "figures").iterdir()} == names
    assert {
        "best-so-far",
        "learning-curves",
        "cost",
        "parallel",
        "importance",
        "axis-0",
        "isolation-0",
        "seeds-0",
    } <= names
    assert len(page.texts["figcaption"]) == len(names)
    for path in (report / "figures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_curves_have_every_epoch(made: tuple[Results, Verdict, Path, Page]) -> None:
    results, _, report, _ = made
    layers = data(report)["figures"]["learning-curves"]["layer"]
    rows = next(layer["data"]["values"] for layer in layers if layer["mark"]["type"] == "line")
    told = {(row["trial"], row["epoch"]): row["value"] for row in rows}
    expected = {(trial.id, epoch): value for trial in results.trials for epoch, value in trial.scores(METRIC).items()}
    assert told == expected
    rungs = next(layer["data"]["values"] for layer in layers if layer["mark"]["type"] == "rule")
    assert [row["rung"] for row in rungs] == [3, 9]


def test_what_stopping_saved(made: tuple[Results, Verdict, Path, Page]) -> None:
    results, _, report, page = made
    rows = data(report)["figures"]["cost"]["layer"][0]["data"]["values"]
    run = sum(len(trial.reports) for trial in results.trials)
    left = sum(16 - len(trial.reports) for trial in results.trials if trial.state == "stopped")
    assert (sum(row["epochs"] for row in rows), sum(row["left"] for row in rows)) == (run, left)
    assert any(
        f"{run} epochs were run" in said and f"stopping saved {left}" in said for said in page.texts["figcaption"]
    )


def test_reasons_cannot_end_the_script(made: tuple[Results, Verdict, Path, Page]) -> None:
    results, _, report, _ = made
    assert results.ranked[-1].reason == "diverged: </script> is not finite" and len(data(report)["rows"]) == TRIALS


def test_not_proven_without_a_confirmation(tmp_path: Path) -> None:
    contents = made_of(Results.read(made_sweep(tmp_path)), None, "x.yaml")
    assert contents.verdict.startswith("Not proven yet: trial ") and "`roadmap-tune confirm x.yaml`" in contents.verdict
    assert not any(figure.name.startswith("seeds") for figure in contents.figures)


def test_a_store_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    said = store.attach(f"sqlite:///{tmp_path}/mlflow.db", "x", "launch", tmp_path, "report")
    assert said.startswith("there is no store at") and not (tmp_path / "mlflow.db").exists()


def test_the_files_are_artifacts_of_the_parent_run(empty_store: Path, tmp_path: Path) -> None:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("<p>")
    assert "has no run of this sweep" in store.attach(uri, "x", "launch", tmp_path / "out", "report")
    client, experiment = store.connect(uri, "x")
    run = client.create_run(experiment, tags={"launch_id": "launch", "kind": "sweep"}).info.run_id
    assert store.attach(uri, "x", "launch", tmp_path / "out", "report") == ""
    assert [one.path for one in client.list_artifacts(run, "report")] == ["report/report.html"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = made_sweep(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["report", str(sweep.folder), "--out", str(tmp_path / "file" / "x"), "--offline"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
