"""How MLflow's pages show a sweep: columns, order and charts, as its browser side has them (MLflow 3.17).

It reads such a state from the experiment's tag `mlflow.sharedViewState.KEY` where a link says `viewStateShareKey=KEY`,
and then nothing else of the link: so the state carries the filter as well.
"""

import base64
import json
import time
import zlib
from collections.abc import Sequence
from typing import Any

from tuner.space import Choice, Distribution
from tuner.sweep import Sweep
from tuner.tracking import PARENT, REASON, STATE, name

TAG, KEY = "mlflow.sharedViewState.", "sweep"
CHARTED = 8  # settings with a picture of their own
TAG_LENGTH = 5000
COLLAPSED = ("val", "best", "train", "log10", "time", "folds", "system", "Model metrics", "System metrics")
SETTINGS, EPOCHS = "settings", "epochs"  # ids of the two sections that are open


def children(parent: str) -> str:
    """The filter of a launch's trials: their folds and seeds are children of other runs."""
    return f"tags.`{PARENT}` = '{parent}'"


def best(sweep: Sweep) -> str:
    """The metric that trials are ranked by."""
    return f"best/{name(sweep.objective.metric)}"


def tag(sweep: Sweep, parent: str) -> str:
    """The tag's value: the view under a name, for the list of views; with fewer charts where it is too long."""
    for charted in range(CHARTED, -1, -1):
        packed = base64.b64encode(zlib.compress(json.dumps(view(sweep, parent, charted)).encode())).decode()
        now = int(time.time() * 1000)
        named = {"name": f"{sweep.name}: its trials", "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}
        if len(value := json.dumps(named)) <= TAG_LENGTH:
            break
    return value


def view(sweep: Sweep, parent: str, charted: int = CHARTED) -> dict[str, Any]:
    """Trials of one launch, best first, one column for each setting; charts of the settings and of the epochs."""
    columns = [f"metrics.`{best(sweep)}`", *_tradeoffs(sweep), "metrics.`epoch`", f"tags.`{STATE}`"]
    columns += [f"params.`{name(key)}`" for key in _keys(sweep)]
    columns += [f"tags.`{REASON}`", "attributes.`Duration`"]
    return {
        "searchFilter": children(parent),
        "orderByKey": f"metrics.`{best(sweep)}`",
        "orderByAsc": sweep.objective.mode == "min",
        "selectedColumns": columns,
        "columnOrder": columns,
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts(sweep, charted),
        "compareRunSections": [
            _section(SETTINGS, "every setting beside the objective", True, columns=1),
            _section(EPOCHS, "epochs, and the objective over each setting", True, columns=3),
            *(_section(one, one, False) for one in COLLAPSED),
        ],
        "isAccordionReordered": True,  # else MLflow sorts the sections by name
        "hideEmptyCharts": True,
    }


def charts(sweep: Sweep, charted: int = CHARTED) -> list[dict[str, Any]]:
    """Parallel coordinates; the objective by epoch; the objective over each of the first settings."""
    metric, axes = name(sweep.objective.metric), _axes(sweep)
    made = [_line(metric), *(_scatter(key, kind, best(sweep)) for key, kind in axes[:charted])]
    everywhere = [axis for key, axis in zip(_numeric_last(sweep), axes, strict=True) if not sweep.searched.needed(key)]
    if everywhere:
        params = [key for key, kind in everywhere if kind == "PARAM"]
        # the last one is what the lines are coloured by
        metrics = [*(key for key, kind in everywhere if kind == "METRIC"), best(sweep)]
        chosen = {"selectedParams": params, "selectedMetrics": metrics, "showAllRuns": True}
        made.insert(0, _chart("parallel", "PARALLEL", SETTINGS, "settings", **chosen))
    return made


def _axes(sweep: Sweep) -> list[tuple[str, str]]:
    """Where MLflow has the numbers of each setting: logarithms are metrics, since its axes are linear."""
    known = sweep.distributions
    return [
        (f"log10/{name(key)}", "METRIC") if getattr(known[key], "log", False) else (name(key), "PARAM")
        for key in _numeric_last(sweep)
    ]


def _numeric_last(sweep: Sweep) -> list[str]:
    """Settings with words have the last pictures: they are the first to be left out."""
    known = sweep.distributions
    return sorted(_keys(sweep), key=lambda key: _has_words(known[key]))


def _keys(sweep: Sweep) -> list[str]:
    """What has more than one value, in the file's order."""
    searched = sweep.searched.searched
    return [key for key in sweep.space if key in searched]


def _has_words(known: Distribution) -> bool:
    return isinstance(known, Choice) and not all(isinstance(value, int | float) for value in known.values)


def _tradeoffs(sweep: Sweep) -> list[str]:
    """Of an epoch the validation metrics alone are told as the best; others by epoch."""
    metrics: Sequence[str] = [name(one.metric) for one in sweep.tradeoffs or ()]
    return [f"metrics.`{'best/' if metric.startswith('val/') else ''}{metric}`" for metric in metrics]


def _line(metric: str) -> dict[str, Any]:
    shape = {"lineSmoothness": 0, "scaleType": "linear", "xAxisScaleType": "linear", "xAxisKey": "step", "range": {}}
    told = {"metricKey": metric, "selectedMetricKeys": [metric], "yAxisKey": "metric", "yAxisExpressions": []}
    shared = {"useGlobalXaxisKey": True, "useGlobalLineSmoothing": True, "ignoreOutliers": False}
    return _chart("line", "LINE", EPOCHS, f"{metric} by epoch", **told, **shape, **shared)


def _scatter(key: str, kind: str, objective: str) -> dict[str, Any]:
    axes = {"xaxis": {"key": key, "type": kind}, "yaxis": {"key": objective, "type": "METRIC"}}
    return _chart(f"scatter-{key}", "SCATTER", EPOCHS, f"{objective} over {key}", **axes)


def _chart(identity: str, kind: str, section: str, title: str, **more: Any) -> dict[str, Any]:
    shared = {"uuid": identity, "type": kind, "metricSectionId": section, "displayName": title}
    return {**shared, "runsCountToCompare": 100, "deleted": False, "isGenerated": False, **more}


def _section(identity: str, title: str, shown: bool, **more: int) -> dict[str, Any]:
    return {"uuid": identity, "name": title, "display": shown, "isReordered": True, **more}
