"""How sure it is: the folds of the best trials, the winner against the defaults over seeds."""

from statistics import fmean
from typing import TYPE_CHECKING, Any

from tuner.reporting.figure import BASELINE, BEST, Figure, chart, value_axis

if TYPE_CHECKING:
    from tuner.confirmation.ledger import Confirmation
    from tuner.results import Results

SHOWN = 10  # the best trials, whose folds are shown


def folds(results: "Results") -> Figure | None:
    """The objective fold by fold of the best trials, their means as ticks; None without folds."""
    import altair as alt

    name = results.sweep.objective.metric.removeprefix("val/")
    rows: list[dict[str, Any]] = []
    for trial in results.ranked[:SHOWN]:
        best = trial.best(results.sweep.objective.metric, results.sweep.objective.mode)
        told = {} if best is None else trial.reports[best[0]]
        for key, value in told.items():
            if key.startswith("folds/") and key.endswith(f"/{name}"):
                rows.append({"trial": trial.id, "fold": key.split("/")[1], "value": value})
    if not rows:
        return None
    order = list(dict.fromkeys(row["trial"] for row in rows))
    base = chart(rows).encode(x=alt.X("trial:N", sort=order, title="trials, best first"))
    y = alt.Y("value:Q", title=value_axis(results), scale=alt.Scale(zero=False))
    points = base.mark_point(filled=True, size=60, opacity=0.8).encode(
        y=y, color=alt.Color("fold:N", legend=alt.Legend(orient="top")), tooltip=["trial:N", "fold:N", "value:Q"]
    )
    means = base.mark_tick(color=BASELINE, thickness=3).encode(y=alt.Y("mean(value):Q"))
    said = "Each point is a fold, the bar their mean: trials whose folds mix are not told apart."
    return Figure("folds", "Folds of the best trials", said, alt.layer(points, means))


def seeds(confirmation: "Confirmation | None") -> list[Figure]:
    """For each test split the test values of every arm, seed by seed; none before they were measured."""
    if confirmation is None or not confirmation.verdicts:
        return []
    splits = dict.fromkeys((verdict.split, verdict.metric) for verdict in confirmation.verdicts)
    return [_seeds(confirmation, split, metric, number) for number, (split, metric) in enumerate(splits)]


def _seeds(confirmation: "Confirmation", split: str, metric: str, number: int) -> Figure:
    import altair as alt

    key = f"{split}/{metric}"
    rows: list[dict[str, Any]] = [
        {"arm": arm.role, "seed": str(repeat.seed), "value": repeat.test[key]}
        for arm in confirmation.arms
        for repeat in confirmation.of_arm(arm)
        if repeat.test is not None
    ]
    order = [arm.role for arm in confirmation.arms]
    means = [
        {"arm": role, "value": fmean(row["value"] for row in rows if row["arm"] == role)}
        for role in order
        if any(row["arm"] == role for row in rows)
    ]
    x = alt.X("arm:N", sort=order, title=None, axis=alt.Axis(labelAngle=0))
    y = alt.Y("value:Q", title=f"{key}, on the test split", scale=alt.Scale(zero=False))
    base = chart(rows).encode(x=x, y=y, tooltip=["arm:N", "seed:N", alt.Tooltip("value:Q", format=".4f")])
    lines = base.mark_line(color="#BBBBBB").encode(detail="seed:N")
    points = base.mark_point(filled=True, size=70, color="#0072B2")
    bars = chart(means).mark_tick(thickness=3, size=60, color=BEST).encode(x=x, y=y)
    verdict = next(one for one in confirmation.verdicts or () if (one.split, one.metric) == (split, metric))
    return Figure(
        f"seeds-{number}", "The winner against the defaults", f"{verdict.sentence()}.", alt.layer(lines, points, bars)
    )
