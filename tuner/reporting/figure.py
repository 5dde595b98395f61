"""A figure of the report: a Vega-Lite chart with the sentence that it is there for."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair

    from tuner.results import Results

# Okabe and Ito's colours, which people who see few colours tell apart.
STATES = {
    "finished": "#0072B2",
    "stopped": "#E69F00",
    "infeasible": "#D55E00",
    "failed": "#CC79A7",
    "lost": "#999999",
    "running": "#009E73",
    "pending": "#BBBBBB",
}
BEST, BASELINE = "#009E73", "#000000"
HEIGHT, PNG_WIDTH, PNG_SCALE = 260, 760, 2.0


@dataclass(frozen=True)
class Figure:
    """name: of its PNG and its place on the page. conclusion: what one should see in it, in one sentence."""

    name: str
    title: str
    conclusion: str
    chart: Any  # altair.Chart, or layers of it

    def spec(self) -> dict[str, Any]:
        """As wide as its place on the page."""
        return json.loads(self.chart.properties(width="container").to_json())

    def write(self, folder: Path) -> Path:
        """folder/NAME.png."""
        import vl_convert

        spec = self.chart.properties(width=PNG_WIDTH, background="white").to_json()
        path = folder / f"{self.name}.png"
        path.write_bytes(vl_convert.vegalite_to_png(spec, scale=PNG_SCALE))
        return path


def state_color(results: "Results") -> "altair.Color":
    """One colour a state, the same in every figure; the legend has those that there are."""
    import altair

    there = {trial.state for trial in results.trials}
    shown = {state: color for state, color in STATES.items() if state in there}
    scale = altair.Scale(domain=list(shown), range=list(shown.values()))
    return altair.Color("state:N", scale=scale, legend=altair.Legend(orient="top", title=None))


def value_axis(results: "Results") -> str:
    """The objective as an axis' title."""
    better = "higher" if results.sweep.objective.mode == "max" else "lower"
    return f"{results.sweep.objective.metric} ({better} is better)"


def chart(rows: list[dict[str, Any]]) -> "altair.Chart":
    """An empty chart on the rows."""
    import altair

    return altair.Chart(altair.Data(values=rows)).properties(height=HEIGHT)
