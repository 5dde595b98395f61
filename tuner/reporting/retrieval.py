"""What the winner's and the defaults' networks do with the validation images: scores by class, maps of embeddings."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tuner.reporting.figure import BASELINE, BEST, Figure, chart

if TYPE_CHECKING:
    import altair

    from tuner.reporting.pictures import Arm, Pictures, Score

CLASSES = 1500  # in one figure
NAMED = 3  # in a sentence
ARMS = {"winner": BEST, "defaults": BASELINE}
# Okabe and Ito's, and four more: eleven are told apart as well as eleven can be
PALETTE = (
    *("#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#000000"),
    *("#7B4FA3", "#8C6D46", "#6AC36A", "#D9C400"),
)
OTHERS, OTHER_COLOR = "others", "#C8CCD0"


def figures(found: "Pictures") -> list[Figure]:
    """Scores by super-class (where there are some) and by class, then a map for each arm."""
    maps = [_map(found, arm, place) for place, arm in enumerate(found.arms)]
    return [*([_by_group(found)] if found.by_group else []), _by_class(found), *maps]


def _by_group(found: "Pictures") -> Figure:
    import altair as alt

    ranked = _ranked(found.by_group)
    roles = [arm.role for arm in found.arms]
    rows = [{**_row(score, place), "arm": role} for score in ranked for place, role in enumerate(roles)]
    ends = [{"name": score.name, "low": min(score.map_at_r), "high": max(score.map_at_r)} for score in ranked]
    y = alt.Y("name:N", sort=[score.name for score in ranked], title=None, axis=alt.Axis(labelLimit=150))
    spans = chart(ends).mark_rule(color=OTHER_COLOR, strokeWidth=3).encode(y=y, x="low:Q", x2="high:Q")
    legend = alt.Legend(orient="top", title=None)
    points = (
        chart(rows)
        .mark_point(filled=True, size=90, opacity=1)
        .encode(
            y=y,
            x=alt.X("value:Q", title="mAP@R"),
            color=alt.Color("arm:N", scale=alt.Scale(domain=roles, range=[ARMS[one] for one in roles]), legend=legend),
            shape=alt.Shape("arm:N", scale=alt.Scale(domain=roles), legend=legend),
            tooltip=["arm:N", *_told("super-class")],
        )
    )
    said = f"{ranked[0].name} is easiest for the winner, {ranked[-1].name} hardest"
    if len(roles) > 1:
        said += f"; it beats the defaults in {_beaten(ranked)} of {len(ranked)} super-classes"
    made = alt.layer(spans, points).properties(height=40 + 26 * len(ranked))
    return Figure("super-classes", "Super-class by super-class", f"{said}.", made)


def _by_class(found: "Pictures") -> Figure:
    """The defaults to the right, the winner upwards; of one arm alone the classes from best to worst."""
    import altair as alt

    ranked = _ranked(found.by_class)
    many = len(ranked) > CLASSES
    shown = [ranked[place * len(ranked) // CLASSES] for place in range(CLASSES)] if many else ranked
    colors = _colors(found)
    rows = [
        {
            **_row(score, 0),
            "place": place,
            "defaults": round(score.map_at_r[-1], 4),
            "group": score.group,
            "shown": colors.shown(score.group),
        }
        for place, score in enumerate(shown, start=1)
    ]
    alone = len(found.arms) == 1
    told = [*_told("class"), *([] if alone else [alt.Tooltip("defaults:Q", format=".3f", title="mAP@R, defaults")])]
    whole = alt.Scale(domain=[0, 1])
    x = alt.X("defaults:Q", title="defaults", scale=whole)
    if alone:
        x = alt.X("place:Q", title="classes, best first", axis=alt.Axis(tickMinStep=1, format="d"))
    points = (
        chart(rows)
        .mark_point(filled=True, size=45, opacity=0.65)
        .encode(
            x=x,
            y=alt.Y("value:Q", title="mAP@R" if alone else "winner", scale=whole),
            color=colors.encoded() if found.by_group else alt.value(BEST),
            tooltip=[*told, *([alt.Tooltip("group:N", title="super-class")] if found.by_group else [])],
        )
    )
    said = f"Hardest: {_names(ranked[::-1])}"
    if not alone:
        gained = sorted(ranked, key=lambda score: score.map_at_r[1] - score.map_at_r[0])
        worse = sum(score.map_at_r[0] < score.map_at_r[1] for score in ranked)
        said = (
            f"mAP@R of each class. Above the line the winner is better: {_beaten(ranked)} of {len(ranked):,} classes, "
            f"worse: {worse:,}. It gains most in {_names(gained)}, loses most in {_names(gained[::-1])}"
        )
        ends = chart([{"x": 0, "y": 0}, {"x": 1, "y": 1}]).encode(x="x:Q", y="y:Q")
        points = alt.layer(ends.mark_line(color=BASELINE, strokeDash=[4, 4], strokeWidth=1), points)
    said += f". Shown are {CLASSES:,} of them." if many else "."
    return Figure("classes", "Class by class", said, points.properties(height=380))


def _map(found: "Pictures", arm: "Arm", place: int) -> Figure:
    """Coloured by super-class, without those by class."""
    import altair as alt

    colors = _colors(found)
    rows = []
    for point in found.points:
        group = point.group if found.by_group else point.name
        x, y = point.places[place]
        rows.append({"class": point.name, "group": group, "shown": colors.shown(group), "x": x, "y": y})
    clicked = alt.selection_point(fields=["shown"], bind="legend")
    first, second = (f"component {number}, {share:.0%} of variance" for number, share in enumerate(arm.explained, 1))
    bare = alt.Axis(labels=False, ticks=False)
    made = (
        chart(rows)
        .mark_point(filled=True, size=24)
        .encode(
            x=alt.X("x:Q", title=first, axis=bare),
            y=alt.Y("y:Q", title=second, axis=bare),
            color=colors.encoded(),
            opacity=alt.condition(clicked, alt.value(0.75), alt.value(0.06)),
            tooltip=["class:N", *([alt.Tooltip("group:N", title="super-class")] if found.by_group else [])],
        )
        .add_params(clicked)
        .properties(height=380)
    )
    count = f"{found.images:,} images" if len(rows) == found.images else f"{len(rows):,} of {found.images:,} images"
    said = (
        f"{count} on the first two principal components, {sum(arm.explained):.0%} of the variance: what lies apart "
        "here is apart, what lies together may not be. Click a name to see it alone."
    )
    return Figure(f"map-{arm.role}", f"The embeddings of the {arm.role} (trial {arm.trial})", said, made)


class _Colors:
    """One colour a group, the same in every figure; those beyond the palette share a grey one."""

    def __init__(self, groups: Sequence[str]) -> None:
        """groups: the most important first."""
        beyond = len(groups) > len(PALETTE)
        self._own = sorted(groups[: len(PALETTE)])
        self._others = [OTHERS] if beyond else []

    def shown(self, group: str) -> str:
        return group if group in self._own else OTHERS

    def encoded(self) -> "altair.Color":
        import altair as alt

        palette = [*PALETTE[: len(self._own)], *(OTHER_COLOR for _ in self._others)]
        legend = alt.Legend(orient="bottom", title=None, columns=3, labelLimit=120, symbolOpacity=1)
        return alt.Color("shown:N", scale=alt.Scale(domain=[*self._own, *self._others], range=palette), legend=legend)


def _colors(found: "Pictures") -> _Colors:
    """Of the super-classes with most queries, else of the classes."""
    scores = sorted(found.by_group or found.by_class, key=lambda score: (-score.queries, score.name))
    return _Colors([score.name for score in scores])


def _ranked(scores: "Sequence[Score]") -> "list[Score]":
    """By the winner's value, best first."""
    return sorted(scores, key=lambda score: (-score.map_at_r[0], score.name))


def _row(score: "Score", place: int) -> dict[str, Any]:
    return {
        "name": score.name,
        "queries": score.queries,
        "value": round(score.map_at_r[place], 4),
        "first": round(score.recall_at_1[place], 4),
    }


def _told(what: str) -> list[Any]:
    import altair as alt

    return [
        alt.Tooltip("name:N", title=what),
        "queries:Q",
        alt.Tooltip("value:Q", format=".3f", title="mAP@R"),
        alt.Tooltip("first:Q", format=".3f", title="R@1"),
    ]


def _beaten(scores: "Sequence[Score]") -> int:
    """In how many the winner is better than the defaults."""
    return sum(score.map_at_r[0] > score.map_at_r[1] for score in scores)


def _names(scores: "Sequence[Score]") -> str:
    return ", ".join(score.name for score in scores[:NAMED])
