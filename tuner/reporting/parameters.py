"""What the values do: parallel coordinates, importance, one axis plot and one isolation plot a key."""

import math
from typing import TYPE_CHECKING, Any

from tuner.analysis import text
from tuner.analysis.scale import position, searched
from tuner.reporting.figure import Figure, chart, state_color, value_axis
from tuner.space import Choice, Distribution, Value

if TYPE_CHECKING:
    from tuner.analysis.report import Report
    from tuner.results import Results

VALUE = "objective"
TWO = ["#0072B2", "#E69F00"]  # colours of two things side by side


def parallel(results: "Results") -> Figure:
    """A line a trial over the searched keys, each on its own scale, to the objective on the right."""
    import altair as alt

    rows, names = _lines(results)
    colors = alt.Color(
        "value:Q",
        scale=alt.Scale(scheme="viridis", reverse=results.sweep.objective.mode == "min"),
        legend=alt.Legend(orient="top", title=results.sweep.objective.metric, gradientLength=200),
    )
    near = alt.selection_point(fields=["trial"], on="pointerover", nearest=True, empty=False, clear="pointerout")
    # a label's second line: the ends of its range
    ends = alt.Axis(labelExpr="split(datum.label, '\\n')", labelAngle=-30, labelLimit=150, grid=True)
    x = alt.X("key:N", sort=names, title=None, axis=ends)
    lines = (
        chart(rows)
        .mark_line()
        .encode(
            x=x,
            y=alt.Y("place:Q", title="low end to high end", axis=alt.Axis(labels=False, ticks=False)),
            detail="trial:N",
            order="rank:Q",
            color=alt.condition("isValid(datum.value)", colors, alt.value("#CCCCCC")),
            opacity=alt.condition(near, alt.value(1.0), alt.value(0.45)),
            strokeWidth=alt.condition(near, alt.value(3), alt.value(1.2)),
        )
    )
    points = (
        chart(rows)
        .mark_point(opacity=0, size=80)
        .encode(
            x=x, y="place:Q", tooltip=["trial:N", "state:N", "setting:N", "at:N", alt.Tooltip("value:Q", format=".4f")]
        )
    )
    said = "Each line is a trial; bright ones reach the best values, grey ones have none. Point at a line to see it."
    return Figure("parallel", "All settings at once", said, alt.layer(lines, points.add_params(near)))


def _lines(results: "Results") -> tuple[list[dict[str, Any]], list[str]]:
    """A row for each trial and axis; the axes' labels from left to right, the objective's last."""
    known = {key: one for key, one in results.sweep.distributions.items() if searched(one)}
    labels = {key: f"{text.short(key)}\n{_ends(one)}" for key, one in known.items()}
    values = [value for trial in results.trials if math.isfinite(value := results.value(trial))]
    low, high = min(values), max(values)
    names = [*labels.values(), f"{VALUE}\n{low:.4g} to {high:.4g}"]
    rows: list[dict[str, Any]] = []
    for trial in results.trials:
        value = results.value(trial)
        shown = {"trial": trial.id, "state": trial.state, "value": value if math.isfinite(value) else None}
        for key, label in labels.items():
            if key in trial.point:
                told = {"key": label, "setting": text.short(key), "at": text.written(trial.point[key])}
                rows.append({**shown, **told, "place": _place(known[key], trial.point[key])})
        if math.isfinite(value):
            place = (value - low) / (high - low) if high > low else 0.5
            rows.append({**shown, "key": names[-1], "setting": VALUE, "at": f"{value:.4f}", "place": place})
    return [{**row, "rank": names.index(row["key"])} for row in rows], names


def _ends(known: Distribution) -> str:
    if isinstance(known, Choice):
        return f"{known.values[0]} to {known.values[-1]}"
    return f"{text.written(known.low)} to {text.written(known.high)}"


def _place(known: Distribution, value: Value) -> float:
    if isinstance(known, Choice):
        return known.values.index(value) / max(1, len(known.values) - 1) if value in known.values else 0.0
    return position(known, value)


def importances(found: "Report") -> Figure | None:
    """Each method's shares with their intervals; None where too few trials were judged."""
    import altair as alt

    rows = [
        {"method": known.method, "key": text.short(row.key), "share": row.share, "low": row.low, "high": row.high}
        for known in found.importances
        for row in known.rows
    ]
    if not rows:
        return None
    y = alt.Y("key:N", sort="-x", title=None, axis=alt.Axis(labelLimit=220))
    colors = alt.Color("method:N", scale=alt.Scale(range=TWO), legend=alt.Legend(orient="top", title=None))
    told: list[Any] = [
        "method:N",
        "key:N",
        *(alt.Tooltip(f"{name}:Q", format=".2f") for name in ("share", "low", "high")),
    ]
    base = chart(rows).encode(y=y, yOffset="method:N", tooltip=told)
    bars = base.mark_bar().encode(x=alt.X("share:Q", title="share"), color=colors)
    spans = base.mark_rule(color="#333").encode(x="low:Q", x2="high:Q")
    first = found.importances[0]
    clear = [text.short(row.key) for row in first.rows if not row.by_chance]
    said = f"{', '.join(clear)} stand out beyond chance" if clear else "No key stands out from chance"
    said += f" ({first.method}, {first.trials} trials). Lines: 90 % of resamples."
    height = 60 + 34 * len({row["key"] for row in rows})
    return Figure("importance", "Which settings matter", said, alt.layer(bars, spans).properties(height=height))


def axes(results: "Results", found: "Report") -> list[Figure]:
    """For each searched key its values beside the objective; trials without one at the bottom, as triangles."""
    figures = []
    for number, (key, points) in enumerate(found.axes.items()):
        if searched(results.sweep.distributions[key]) and points:
            figures.append(_axis(results, found, number, key))
    return figures


def _axis(results: "Results", found: "Report", number: int, key: str) -> Figure:
    import altair as alt

    known = results.sweep.distributions[key]
    rows = [
        {"trial": f"{point.trial:04d}", "x": point.value, "value": point.objective, "state": point.state}
        for point in found.axes[key]
    ]
    if isinstance(known, Choice):
        x = alt.X("x:N", title=key, sort=[str(value) for value in known.values])
    else:
        scale = alt.Scale(type="log" if known.log else "linear", domain=[known.low, known.high], nice=False)
        x = alt.X("x:Q", title=key, scale=scale)
    told: list[Any] = [
        "trial:N",
        alt.Tooltip("x:N", title=text.short(key)),
        alt.Tooltip("value:Q", format=".4f"),
        "state:N",
    ]
    valued = chart([row for row in rows if row["value"] is not None])
    marks = valued.mark_point(filled=True, size=55, opacity=0.75).encode(
        x=x,
        y=alt.Y("value:Q", title=value_axis(results), scale=alt.Scale(zero=False)),
        color=state_color(results),
        tooltip=told,
    )
    without = chart([row for row in rows if row["value"] is None])
    bottom = without.mark_point(shape="triangle-down", size=70, filled=True, clip=False).encode(
        x=x, y=alt.value("height"), color=state_color(results), tooltip=told
    )
    edges = [edge for edge in found.edges if edge.key == key]
    said = "; ".join(
        f"{edge.count} of the best {edge.top} lie at the {edge.end} end" + (f": try {edge.line}" if edge.line else "")
        for edge in edges
    )
    count = sum(row["value"] is None for row in rows)
    said = said or "The best trials do not crowd at an end of the range"
    without_value = "a trial" if count == 1 else f"{count} trials"
    said += f". At the bottom: {without_value} without a value." if count else "."
    return Figure(f"axis-{number}", text.short(key), said, alt.layer(marks, bottom))


def isolation(results: "Results", found: "Report") -> list[Figure]:
    """For each searched key the best over everything else, part by part."""
    import altair as alt

    figures = []
    for number, (key, cells) in enumerate(found.isolation.items()):
        rows = [
            {"part": cell.label, "kind": kind, "value": value, "trials": cell.trials}
            for cell in cells
            for kind, value in (("best", cell.best), ("best of equally many", cell.fair))
            if value is not None
        ]
        if not rows:
            continue
        made = (
            chart(rows)
            .mark_point(filled=True, size=90)
            .encode(
                x=alt.X("part:N", sort=[cell.label for cell in cells], title=key, axis=alt.Axis(labelAngle=-20)),
                y=alt.Y("value:Q", title=value_axis(results), scale=alt.Scale(zero=False)),
                shape=alt.Shape("kind:N", legend=alt.Legend(orient="top", title=None)),
                color=alt.Color("kind:N", scale=alt.Scale(range=TWO), legend=alt.Legend(orient="top", title=None)),
                tooltip=["part:N", "kind:N", alt.Tooltip("value:Q", format=".4f"), "trials:Q"],
            )
        )
        valued = [cell for cell in cells if cell.fair is not None]
        sign = 1 if results.sweep.objective.mode == "max" else -1
        top = max(valued, key=lambda cell: sign * (cell.fair or 0.0))
        said = f"Of equally many trials the best are expected at {top.label}."
        figures.append(Figure(f"isolation-{number}", text.short(key), said, made))
    return figures
