"""Each link of `roadmap-tune ui` in a browser: MLflow's pages show what the links promise.

pytest tests/tuner/test_pages.py --screenshots docs    # the README's pictures of MLflow, made anew
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests import browser
from tests.ports import free_port
from tests.tuner.reporting.made import made_sweep
from tuner import store
from tuner.analysis.commands import found
from tuner.journal import Journal
from tuner.plan import make_plan
from tuner.replay import replay
from tuner.reporting.command import FOLDER, PAGE, made_of
from tuner.reporting.page import write_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.program() is None, reason="no chromium here: apt-get install chromium"),
]
SECONDS = 60.0  # for a page: a busy machine
# MLflow offers its assistant to each new browser once, over a third of the page
NO_ASSISTANT = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"


@pytest.fixture(scope="module")
def served(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`roadmap-tune ui` on a made sweep with its report: title -> link."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    sweep = made_sweep(folder)
    assert replay(make_plan(sweep, here=False), Journal.read(sweep.folder)).failed == 0
    made = made_of(found(str(sweep.folder), []), None, "emoji.yaml")
    (folder / FOLDER).mkdir()
    write_page(made, folder / FOLDER / PAGE)  # without its PNGs, which take longest
    assert store.attach(sweep.tracking, sweep.name, "made", folder / FOLDER, FOLDER) == ""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tuner", "ui", "--port", str(port)],  # the newest sweep of the working folder
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        said = [process.stdout.readline().split() for _ in range(5)]
        yield dict(said)
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.opened(tmp_path_factory.mktemp("browser")) as opened:
        opened.size(1360, 1180)
        opened.first(NO_ASSISTANT)
        yield opened


def test_each_link_shows_what_it_promises(
    served: dict[str, str], page: browser.Page, pytestconfig: pytest.Config
) -> None:
    assert list(served) == ["trials", "charts", "compare", "launch", "report"]
    folder = pytestconfig.getoption("screenshots")

    def has(selector: str, count: int, framed: bool = False) -> None:
        page.wait(f"document.querySelectorAll({selector!r}).length >= {count}", SECONDS, framed)

    def shows(title: str, *words: str, framed: bool = False) -> str:
        """The page's text, once it has the words."""
        page.open(served[title])
        for word in words:
            page.wait(f"document.body && document.body.innerText.includes({word!r})", SECONDS, framed)
        return page.text(framed)

    def keep(title: str) -> None:
        if folder is not None:
            page.settle()
            page.save(file := Path(folder) / f"mlflow-{title}.png")
            with Image.open(file) as shot:
                shot.convert("RGB").quantize(256, kmeans=4).save(file, optimize=True)  # a third of the size

    table = shows("trials", "0010 tau", "0.328601", "stopped", "loss.SupAP.tau", "24 matching runs")
    assert table.index("0010 tau") < table.index("0000 presets"), "best first"
    keep("trials")
    shows("charts", "every setting beside the objective", "log10/optimizer.fc.lr", "24 matching runs")
    page.wait(f"{_inked('.parcoords canvas')} > 1000", SECONDS)
    has(".scatterlayer .trace .lines path.js-line", 20)  # of the trials that had more epochs than one
    has(".scatterlayer .points path.point", 4 * 23)  # the objective over each of four settings
    keep("charts")
    compared = shows("compare", "Comparing 10 Runs", "loss.SupAP.tau", "best/val/map_at_r")
    assert "0010 tau" in compared and "0023 tau" not in compared, "the best ten"
    page.wait(f"{_inked('.pcp-plot canvas')} > 1000", SECONDS)
    keep("compare")
    assert "0.328601" in shows("launch", "best/val/map_at_r", "Child runs")
    keep("launch")
    said = shows("report", "Not proven yet", "Best so far", framed=True)
    assert "trial 0010 has the best val/map_at_r" in said
    has("svg path", 50, framed=True)
    keep("report")


def _inked(canvases: str) -> str:
    """JavaScript: how many pixels of these canvases are not empty."""
    return (
        f"[...document.querySelectorAll({canvases!r})].filter(c => c.width * c.height).map(c => {{"
        "const copy = document.createElement('canvas'); copy.width = c.width; copy.height = c.height;"
        "const pen = copy.getContext('2d'); pen.drawImage(c, 0, 0);"
        "const seen = pen.getImageData(0, 0, c.width, c.height).data; let inked = 0;"
        "for (let i = 3; i < seen.length; i += 4) inked += seen[i] > 0;"
        "return inked}).reduce((a, b) => a + b, 0)"
    )
