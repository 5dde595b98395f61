"""roadmap-tune pictures: what it refuses, what figures and page make of a record, and one from real checkpoints."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import write_emoji
from tests.tuner.reporting.made import made_sweep
from trainables.composition import compose
from trainables.data import LabelledImages, sealing
from trainables.panels import HEAD, MARGIN, Tile, draw
from trainables.training import Training
from tuner import space
from tuner.__main__ import main
from tuner.analysis.audit import CHECKPOINT
from tuner.journal import Journal
from tuner.reporting import contents, pictures, retrieval
from tuner.reporting.command import made_of
from tuner.reporting.page import write_page
from tuner.reporting.pictures import FILE, FOLDER, PANEL_BYTES, Arm, Panel, Pictures, Point, Score
from tuner.results import Results
from tuner.sweep import Sweep, load_sweep

POINTS = (
    {"loss.SupAP.tau": 0.01, "loss.CalibrationLoss.weight": 1.0, "optimizer.backbone.lr": 0.0003},
    {"loss.SupAP.tau": 0.05, "loss.CalibrationLoss.weight": 0.5, "optimizer.backbone.lr": 0.001},
)


@pytest.fixture
def unsealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command seals its process; the tests' is open again afterwards."""
    monkeypatch.setitem(sealing._state, "sealed", False)


def record(arms: int = 2, classes: int = 4, supers: bool = True) -> Pictures:
    """Class n has the winner's value n / classes, the defaults' 0.5."""
    roles = ("winner", "defaults")[:arms]
    scores = tuple(
        Score(
            name=f"c{n}",
            group=f"s{n % 2}" if supers else "",
            queries=2,
            map_at_r=(n / classes, 0.5)[:arms],
            recall_at_1=(1.0, 0.0)[:arms],
        )
        for n in range(classes)
    )
    groups = tuple(
        Score(name=f"s{n}", group=f"s{n}", queries=4, map_at_r=(0.25 + n, 0.5)[:arms], recall_at_1=(0.5, 0.5)[:arms])
        for n in range(2)
    )
    return Pictures(
        arms=tuple(
            Arm(role=role, trial=f"000{1 - n}", epoch=3, map_at_r=0.3, recall_at_1=0.5, explained=(0.5, 0.25))
            for n, role in enumerate(roles)
        ),
        fold=None,
        images=2 * classes,
        by_class=scores,
        by_group=groups if supers else (),
        points=tuple(
            Point(name=one.name, group=one.group, places=((0.1, n), (0.2, -n))[:arms])
            for n, one in enumerate([*scores, *scores])
        ),
        panels=(Panel(name="hardest", title="The </h3> hardest", said="Read & see."),),
    )


def leave(folder: Path, known: Pictures, size: tuple[int, int] = (60, 120)) -> None:
    """What the command leaves: the record, and pictures that no codec makes small."""
    (folder / FOLDER).mkdir(parents=True)
    (folder / FOLDER / FILE).write_text(known.model_dump_json())
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    for panel in known.panels:
        Image.fromarray(noise).save(folder / FOLDER / f"{panel.name}.png", compress_level=0)


def points_of(figure: retrieval.Figure) -> list[dict[str, object]]:
    """The rows of a figure's largest layer."""
    spec = figure.spec()
    layers = [layer.get("data", spec.get("data")) for layer in spec.get("layer", [spec])]
    rows: list[dict[str, object]] = max((layer["values"] for layer in layers), key=len)
    return rows


def test_the_figures_of_two_arms() -> None:
    groups, classes, winner, defaults = retrieval.figures(record())
    assert (
        groups.conclusion == "s1 is easiest for the winner, s0 hardest; it beats the defaults in 1 of 2 super-classes."
    )
    assert "1 of 4 classes, worse: 2." in classes.conclusion
    assert "gains most in c3, c2, c1, loses most in c0, c1, c2." in classes.conclusion
    assert {(row["name"], row["value"], row["defaults"]) for row in points_of(classes)} == {
        ("c0", 0.0, 0.5), ("c1", 0.25, 0.5), ("c2", 0.5, 0.5), ("c3", 0.75, 0.5)
    }  # fmt: skip
    assert "8 images" in winner.conclusion and "75% of the variance" in winner.conclusion
    assert [row["y"] for row in points_of(winner)] == list(range(8))
    assert [row["y"] for row in points_of(defaults)] == [-n for n in range(8)]
    assert winner.spec()["encoding"]["color"]["scale"]["domain"] == ["s0", "s1"]


def test_the_figures_of_a_winner_alone_without_super_classes() -> None:
    classes, winner = retrieval.figures(record(arms=1, classes=14, supers=False))
    assert classes.conclusion == "Hardest: c0, c1, c2."
    assert [row["name"] for row in points_of(classes)][:2] == ["c13", "c12"]
    colors = winner.spec()["encoding"]["color"]["scale"]["domain"]
    assert len(colors) == 12 and colors[-1] == "others", "eleven classes have a colour, three share one"


def test_many_classes_are_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "CLASSES", 3)
    classes = retrieval.figures(record(classes=8))[1]
    assert [row["name"] for row in points_of(classes)] == ["c7", "c5", "c2"]
    assert classes.conclusion.endswith("Shown are 3 of them.")


def test_the_report_has_what_the_command_left(tmp_path: Path) -> None:
    sweep = made_sweep(tmp_path)
    results = Results.read(sweep)
    before = made_of(results, None, "x.yaml")
    assert "`roadmap-tune pictures x.yaml` makes them" in before.wanting and before.wanting in before.facts
    known = record()
    best = results.best
    assert best is not None
    mine = known.arms[0].model_copy(update={"trial": best.id, "epoch": int(results.best_metrics(best)["epoch"])})
    leave(sweep.folder, known.model_copy(update={"arms": (mine, known.arms[1])}))
    made = made_of(results, None, "x.yaml")
    assert made.wanting == ""
    (section,) = (section for section in made.sections if section.title == "Retrieval")
    assert [figure.name for figure in section.figures] == ["super-classes", "classes", "map-winner", "map-defaults"]
    write_page(made, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "The &lt;/h3&gt; hardest" in page and page.count('src="data:image/webp;base64,') == 1
    assert all(f'<figure id="{figure.name}">' in page for figure in section.figures)
    assert "those of trial 0001, the best one then: `roadmap-tune" in contents._wanting(results, known, "x.yaml")


def test_panels_on_the_page_are_small_and_have_no_title(tmp_path: Path) -> None:
    leave(tmp_path, record(), size=(2000, 900))
    (one,) = pictures.embedded(tmp_path, record())
    data = base64.b64decode(one.address.partition(",")[2])
    assert len(data) <= 2 * PANEL_BYTES, "noise: the smallest there is"
    Image.new("RGB", (400, 300), "red").save(tmp_path / FOLDER / "hardest.png")
    (tmp_path / "small.webp").write_bytes(
        base64.b64decode(pictures.embedded(tmp_path, record())[0].address.partition(",")[2])
    )
    with Image.open(tmp_path / "small.webp") as small:
        assert small.size == (400 - MARGIN, 300 - MARGIN - HEAD)
    (tmp_path / FOLDER / "hardest.png").unlink()
    assert pictures.embedded(tmp_path, record()) == []


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 2}'])
def test_a_record_of_another_version_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / FILE).write_text(text)
    assert pictures.read(tmp_path) is None


def test_a_record_names_no_file_elsewhere(tmp_path: Path) -> None:
    leave(tmp_path, record())
    assert pictures.read(tmp_path) == record()
    told = json.loads(record().model_dump_json())
    told["panels"][0]["name"] = "../../secret"
    (tmp_path / FOLDER / FILE).write_text(json.dumps(told))
    assert pictures.read(tmp_path) is None


def journal(sweep: Sweep, reports: list[list[dict[str, float]]], kept: bool = True) -> None:
    """Trials with these reports, the checkpoint of the last epoch in trial-N."""
    written = Journal(sweep.folder)
    written.open()
    written.write("sweep", launch="made", trials=len(reports), epochs=2, sweep=sweep.model_dump(mode="json"))
    for number, epochs in enumerate(reports):
        written.write("point", trial=number, point=POINTS[number])
        for epoch, metrics in enumerate(epochs, start=1):
            written.write("report", trial=number, epoch=epoch, metrics=metrics)
            if kept:
                written.write("checkpoint", trial=number, epoch=epoch, path=f"trial-{number}")
        written.write("end", trial=number, state="finished" if epochs else "infeasible", reason="")
    written.close()


@pytest.mark.parametrize(
    ("reports", "kept", "settings", "said"),
    [
        ([[]], True, (), "no trial of sweep 'small' has a value"),
        ([[{"val/map_at_r": 0.2}]], False, (), "trial 0000 has no checkpoint of its best epoch, 1"),
        ([[{"val/map_at_r": 0.2}]], True, (), "is not there any more"),
        ([[{"val/map_at_r": 0.2}]], True, ("validation={protocol: kfold, folds: 2}",), "/trial-0/training.fold0.ckpt"),
    ],
)
def test_refused_in_one_line(
    sweep_file: Path,
    unsealed: None,
    capsys: pytest.CaptureFixture[str],
    reports: list[list[dict[str, float]]],
    kept: bool,
    settings: tuple[str, ...],
    said: str,
) -> None:
    sweep = load_sweep(sweep_file, settings)
    journal(sweep, reports, kept)
    assert main(["pictures", str(sweep.folder), "--offline"]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
    assert not (sweep.folder / FOLDER).exists()


def test_trials_on_different_images_are_not_compared(
    sweep: Sweep, unsealed: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    journal(sweep, [[{"val/map_at_r": 0.1}], [{"val/map_at_r": 0.2}]])
    for number in range(2):
        (sweep.folder / f"trial-{number}").mkdir()
        (sweep.folder / f"trial-{number}" / CHECKPOINT).touch()

    def seen(path: Path, bars: object) -> tuple[LabelledImages, np.ndarray]:
        labels = np.array([0, 0, 1, 1] if "trial-1" in str(path) else [0, 0, 1, 2])
        return LabelledImages(None, np.arange(4), labels, None, ("a", "b", "c")), np.eye(4)  # type: ignore[arg-type]

    monkeypatch.setattr("tuner.reporting.drawing.seen_in_validation", seen)
    assert main(["pictures", str(sweep.folder), "--offline"]) == 2
    assert "trials 0001 and 0000 are validated on different images" in capsys.readouterr().err


@pytest.mark.slow
def test_pictures_of_real_checkpoints(
    sweep: Sweep, unsealed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scores are those that the trainings saw; the command seals the test split; the report has the section."""
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(write_emoji(tmp_path / "data", noise=400)))
    seen = []
    for number, point in enumerate(POINTS):
        training = Training(compose([*sweep.fixed(), *space.overrides(point)]))
        seen.append(dict(training.epoch().metrics))
        training.save(sweep.folder / f"trial-{number}" / CHECKPOINT)
    journal(sweep, [[{"val/map_at_r": 0.0}], [seen[1]]])  # so that trial 1 is the winner
    (sweep.folder / FOLDER).mkdir()
    (sweep.folder / FOLDER / "of-an-earlier-winner.png").touch()
    assert main(["pictures", str(sweep.folder), "--offline"]) == 0
    assert sealing._state["sealed"]
    assert "the winner, trial 0001 at epoch 1, on the validation split: mAP@R" in capsys.readouterr().out
    known = pictures.read(sweep.folder)
    assert known is not None and known.fold is None and known.images == len(known.points) == 40
    assert [(arm.role, arm.trial) for arm in known.arms] == [("winner", "0001"), ("defaults", "0000")]
    for place, arm in enumerate(known.arms):
        assert arm.map_at_r == pytest.approx(seen[int(arm.trial)]["val/map_at_r"], abs=1e-9)
        assert arm.recall_at_1 == pytest.approx(seen[int(arm.trial)]["val/recall_at_1"], abs=1e-9)
        assert 0.05 < arm.map_at_r < 0.95
        for scores in (known.by_class, known.by_group):
            weighted = sum(score.queries * score.map_at_r[place] for score in scores)
            assert weighted / known.images == pytest.approx(arm.map_at_r)
    assert {score.group for score in known.by_class} == {score.name for score in known.by_group} == {"s0", "s1", "s2"}
    panels = ["hardest", "median", "confused"]
    assert [panel.name for panel in known.panels] == panels
    figures = ["classes", "super-classes", "map-winner", "map-defaults"]
    files = {path.name for path in (sweep.folder / FOLDER).iterdir()}
    assert files == {FILE, *(f"{name}.png" for name in (*panels, *figures))}
    with Image.open(sweep.folder / FOLDER / "hardest.png") as panel:
        assert panel.width == draw([[Tile(panel, frame="query")] * 11]).width, "a query and ten neighbours"
    made = made_of(Results.read(sweep), None, "x.yaml")
    assert made.wanting == "" and "Retrieval" in [section.title for section in made.sections]
