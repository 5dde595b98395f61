"""How the sweep went: the best so far, every trial's learning curve, what the epochs were spent on."""

import math
from typing import TYPE_CHECKING, Any

from tuner import scheduling
from tuner.analysis import costs, text
from tuner.reporting.figure import BASELINE, BEST, Figure, chart, state_color, value_axis

if TYPE_CHECKING:
    from tuner.analysis.report import Report
    from tuner.results import Results


def best_so_far(results: "Results") -> Figure:
    """The best value against the epochs run, in the order in which they were reported."""
    import altair as alt

    reached = costs.best_so_far(results)
    rows = [
        {"epochs": one.epochs, "trials": one.trials, "hours": round(one.hours, 4), "best": one.best}
        for one in reached
        if one.best is not None
    ]
    unit = costs.unit(results.sweep)
    made = (
        chart(rows)
        .mark_line(interpolate="step-after", color=BEST, strokeWidth=2.5)
        .encode(
            x=alt.X("epochs:Q", title="epochs run, all trials together"),
            y=alt.Y("best:Q", title=value_axis(results), scale=alt.Scale(zero=False)),
            tooltip=["epochs:Q", "trials:Q", alt.Tooltip("hours:Q", title=unit), alt.Tooltip("best:Q", format=".4f")],
        )
    )
    return Figure("best-so-far", "Best so far", _when_found(results, reached), made)


def _when_found(results: "Results", reached: list[costs.Reached]) -> str:
    last = reached[-1]
    first = next(one for one in reached if one.best == last.best)
    share = first.epochs / last.epochs
    return (
        f"The best value was reached after {first.epochs} of {last.epochs} epochs "
        f"({share:.0%}), with {first.trials} trials begun.".replace("%", " %")
    )


def learning_curves(results: "Results", planned: int) -> Figure:
    """Every trial by epoch; dotted: the rungs at which its scheduler compares; a cross where it stopped one."""
    import altair as alt

    metric = results.sweep.objective.metric
    best = results.best.number if results.best is not None else -1
    rows: list[dict[str, Any]] = [
        {
            "trial": trial.id,
            "state": trial.state,
            "epoch": epoch,
            "value": value,
            "reason": trial.reason,
            "point": text.point(trial.point),
        }
        for trial in results.trials
        for epoch, value in trial.scores(metric).items()
    ]
    told: list[Any] = ["trial:N", "state:N", "epoch:Q", alt.Tooltip("value:Q", format=".4f"), "reason:N", "point:N"]
    shown = alt.selection_point(fields=["state"], bind="legend")
    base = chart(rows).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1)),
        y=alt.Y("value:Q", title=value_axis(results), scale=alt.Scale(zero=False)),
        detail="trial:N",
        tooltip=told,
    )
    lines = base.mark_line(strokeWidth=1.2, point=alt.OverlayMarkDef(size=18)).encode(
        color=state_color(results), opacity=alt.condition(shown, alt.value(0.55), alt.value(0.05))
    )
    ends = [row for row in rows if row["state"] == "stopped" and row["epoch"] == _last(rows, row["trial"])]
    stops = (
        chart(ends).mark_point(shape="cross", size=60, color="#B07000").encode(x="epoch:Q", y="value:Q", tooltip=told)
    )
    layers = [lines.add_params(shown), stops]
    for number, color in ((0, BASELINE), (best, BEST)):
        own = [row for row in rows if int(row["trial"]) == number]
        layers.append(chart(own).mark_line(strokeWidth=3, color=color).encode(x="epoch:Q", y="value:Q", tooltip=told))
    rungs = [{"rung": rung} for rung in scheduling.rungs(results.sweep, planned)]
    if rungs:
        layers.insert(0, chart(rungs).mark_rule(strokeDash=[2, 3], color="#888").encode(x="rung:Q"))
    stopped = sum(trial.state == "stopped" for trial in results.trials)
    said = f"{stopped} of {len(results.trials)} trials were stopped (crosses). "
    said += "Green: the best trial; black: the presets; dotted: rungs. Click a state to see it alone."
    return Figure("learning-curves", "Learning curves", said, alt.layer(*layers))


def _last(rows: list[dict[str, Any]], trial: str) -> int:
    return max(row["epoch"] for row in rows if row["trial"] == trial)


def spent(results: "Results", found: "Report") -> Figure:
    """The epochs of each trial, best first, beside what it would have had: what stopping saved."""
    import altair as alt

    planned = found.epochs.planned
    rows: list[dict[str, Any]] = []
    for trial in results.ranked:
        run = len(trial.reports)
        left = planned - run if trial.state == "stopped" else 0
        rows.append({"trial": trial.id, "state": trial.state, "epochs": run, "left": left})
    order = [row["trial"] for row in rows]
    x = alt.X("trial:N", sort=order, title="trials, best first", axis=alt.Axis(labels=len(rows) <= 40))
    told = ["trial:N", "state:N", alt.Tooltip("epochs:Q", title="epochs run"), alt.Tooltip("left:Q", title="not run")]
    bars = (
        chart(rows)
        .mark_bar()
        .encode(
            x=x,
            y=alt.Y("epochs:Q", title="epochs", axis=alt.Axis(tickMinStep=1)),
            color=state_color(results),
            tooltip=told,
        )
    )
    limit = chart([{"planned": planned}]).mark_rule(strokeDash=[4, 3], color="#666").encode(y="planned:Q")
    known, unit = found.epochs, costs.unit(results.sweep)
    said = f"{known.run} epochs were run ({known.hours:.2g} {unit})"
    if known.saved:
        share = known.saved / (known.run + known.saved)
        said += f"; stopping saved {known.saved} ({share:.0%}, {known.saved_hours:.2g} {unit})".replace("%", " %")
    return Figure("cost", "What it cost, and what stopping saved", f"{said}.", alt.layer(bars, limit))


def trade_off(results: "Results") -> Figure | None:
    """The objective against the first trade-off, the front in green; None for a sweep with one objective."""
    import altair as alt

    if not results.sweep.tradeoffs:
        return None
    other = results.sweep.tradeoffs[0].metric
    rows = []
    for trial in results.trials:
        values = trial.at_best(results.sweep.objective.metric, results.sweep.objective.mode, [other])
        if values is not None and all(math.isfinite(value) for value in values):
            front = "front" if trial.number in results.front else "beaten"
            rows.append({"trial": trial.id, "value": values[0], "other": values[1], "front": front})
    colors = alt.Color("front:N", scale=alt.Scale(domain=["front", "beaten"], range=[BEST, "#BBBBBB"]), title=None)
    made = (
        chart(rows)
        .mark_point(filled=True, size=70)
        .encode(
            x=alt.X("other:Q", title=other, scale=alt.Scale(zero=False)),
            y=alt.Y("value:Q", title=value_axis(results), scale=alt.Scale(zero=False)),
            color=colors,
            tooltip=["trial:N", "value:Q", "other:Q"],
        )
    )
    said = f"{len(results.front)} trials are beaten by no other in both: {text.names(sorted(results.front))}."
    return Figure("trade-off", "Quality against cost", said, made)
