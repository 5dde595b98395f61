"""The report as one HTML file that asks no network for anything."""

import html
import json
from pathlib import Path
from string import Template

from tuner.reporting.contents import Contents, Section

SOURCE = Path(__file__).parent


def write_page(contents: Contents, path: Path) -> None:
    """The page with the chart library and every number in it."""
    import vl_convert

    bundle = vl_convert.javascript_bundle((SOURCE / "page.js").read_text(encoding="utf-8"))
    data = {
        "figures": {figure.name: figure.spec() for figure in contents.figures},
        "columns": contents.columns,
        "rows": contents.rows,
    }
    page = Template((SOURCE / "page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(contents.name),
        goal=html.escape(contents.goal),
        verdict=_code(contents.verdict),
        facts="".join(f"<li>{_code(fact)}</li>" for fact in contents.facts),
        sections="".join(map(_section, contents.sections)),
        repeat="".join(
            f"<h3>{html.escape(what)}</h3><pre>{html.escape(command)}</pre>" for what, command in contents.repeat
        ),
        style=(SOURCE / "page.css").read_text(encoding="utf-8"),
        # "</" would end the script that it stands in
        bundle=bundle.replace("</script", "<\\/script"),
        data=json.dumps(data, allow_nan=False).replace("</", "<\\/"),
    )
    path.write_text(page, encoding="utf-8")


def _section(section: Section) -> str:
    said = f"<p>{html.escape(section.said)}</p>" if section.said else ""
    pictures = "".join(
        f'<figure class="wide" id="{picture.name}"><h3>{html.escape(picture.title)}</h3>'
        f"<figcaption>{html.escape(picture.said)}</figcaption>"
        f'<div class="panel"><img src="{picture.address}" alt="{html.escape(picture.title)}"></div></figure>'
        for picture in section.pictures
    )
    figures = "".join(
        f'<figure id="{figure.name}"><h3>{html.escape(figure.title)}</h3>'
        f'<figcaption>{html.escape(figure.conclusion)}</figcaption><div class="chart"></div></figure>'
        for figure in section.figures
    )
    inside = f'<div class="figures">{pictures}{figures}</div>'
    return f"<section><h2>{html.escape(section.title)}</h2>{said}{inside}</section>"


def _code(sentence: str) -> str:
    """Escaped; what stands between backticks is a command."""
    parts = html.escape(sentence).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
