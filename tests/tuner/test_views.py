"""What MLflow's pages of a sweep show, and the links that lead there; test_pages.py looks at them in a browser."""

import base64
import json
import zlib
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tuner import views
from tuner.interface import links
from tuner.sweep import Sweep, load_sweep
from tuner.tracking import Tracker

SHIPPED = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))


def packed(tag: str) -> dict[str, object]:
    """The state in a tag, as MLflow's browser side unpacks it."""
    state = json.loads(tag)["state"]
    assert state.startswith("deflate;")
    return dict(json.loads(zlib.decompress(base64.b64decode(state.removeprefix("deflate;")))))


def test_columns_order_and_charts(sweep: Sweep) -> None:
    shown = views.view(sweep, "parent")
    assert shown["searchFilter"] == "tags.`mlflow.parentRunId` = 'parent'"
    assert shown["orderByKey"] == "metrics.`best/val/map_at_r`" and not shown["orderByAsc"]
    assert shown["selectedColumns"] == [
        "metrics.`best/val/map_at_r`",
        "metrics.`epoch`",
        "tags.`state`",
        "params.`loss.CalibrationLoss.weight`",
        "params.`loss.SupAP.tau`",
        "params.`optimizer.backbone.lr`",
        "tags.`stop_reason`",
        "attributes.`Duration`",
    ]
    parallel, line, *scatters = views.charts(sweep)
    assert parallel["selectedParams"] == ["loss.CalibrationLoss.weight"]
    logarithms = ["log10/loss.SupAP.tau", "log10/optimizer.backbone.lr"]
    assert parallel["selectedMetrics"] == [*logarithms, "best/val/map_at_r"]
    assert line["metricKey"] == "val/map_at_r"
    assert [one["xaxis"] for one in scatters] == [
        {"key": "loss.CalibrationLoss.weight", "type": "PARAM"},
        {"key": "log10/loss.SupAP.tau", "type": "METRIC"},
        {"key": "log10/optimizer.backbone.lr", "type": "METRIC"},
    ]
    sections = {one["uuid"] for one in shown["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in views.charts(sweep)} <= sections


def test_settings_that_not_every_trial_has_are_no_axis(sweep: Sweep) -> None:
    space = {
        "loss": {"choice": ["roadmap", "contrastive"]},
        "loss.SupAP.tau": {"loguniform": [0.001, 0.1], "when": {"loss": "roadmap"}},
    }
    parallel, _, *scatters = views.charts(sweep.model_copy(update={"space": space}))
    assert parallel["selectedParams"] == ["loss"] and parallel["selectedMetrics"] == ["best/val/map_at_r"]
    assert [one["xaxis"]["key"] for one in scatters] == ["log10/loss.SupAP.tau", "loss"]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_the_tag_fits_into_the_store(file: Path) -> None:
    tag = views.tag(load_sweep(file), "0" * 32)
    assert len(tag) <= views.TAG_LENGTH
    assert packed(tag)["compareRunCharts"]


def test_a_large_space_has_fewer_charts(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    many = sweep.model_copy(update={"space": {f"a.b{n}.c": {"loguniform": [0.001, 0.1]} for n in range(30)}})
    whole, fewer = len(views.tag(sweep, "")), views.tag(many, "")
    assert whole < views.TAG_LENGTH and len(fewer) <= views.TAG_LENGTH
    monkeypatch.setattr(views, "TAG_LENGTH", 10)
    assert len(packed(views.tag(sweep, ""))["compareRunCharts"]) == 2  # type: ignore[arg-type]


@pytest.mark.usefixtures("made_store")
def test_links_lead_to_the_newest_launch_best_first(sweep: Sweep) -> None:
    for launched, values in (("first", [0.9]), ("second", [0.1, 0.5, 0.3])):
        tracker = Tracker(sweep.tracking, sweep.name, launched)
        tracker.open({}, {})
        for number, value in enumerate(values):
            tracker.start_trial(f"{number:04d}", {}, {})
            tracker.end_trial(f"{number:04d}", "finished", "", {"val/map_at_r": value})
        assert tracker.close("finished", {}, {}, 60).failed == 0
    from mlflow.tracking import MlflowClient

    found, client = links(sweep, "http://here:1"), MlflowClient(tracking_uri=sweep.tracking)
    assert list(found) == ["trials", "charts", "compare", "launch"] and all(
        "here:1/#/" in link for link in found.values()
    )
    compared = [client.get_run(run) for run in json.loads(parse_qs(found["compare"].partition("?")[2])["runs"][0])]
    assert [run.data.metrics["best/val/map_at_r"] for run in compared] == [0.5, 0.3, 0.1]
    newest = compared[0].data.tags["mlflow.parentRunId"]
    assert f"/runs/{newest}?" in found["launch"]
    tags = client.get_experiment_by_name(sweep.name).tags
    assert packed(tags["mlflow.sharedViewState.sweep"])["searchFilter"] == f"tags.`mlflow.parentRunId` = '{newest}'"
