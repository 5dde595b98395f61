"""`roadmap-train`: one training from overrides, without Ray.

roadmap-train dataset=emoji loss=roadmap experience.max_iter=5 loss.SupAP.tau=0.02
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.errors import UserError

if TYPE_CHECKING:
    from trainables.console import Bars
    from trainables.experiment import Experiment
    from trainables.training import Report, Training


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 trained, 1 diverged, 2 the user's mistake, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="roadmap-train", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="a group's preset or one setting")
    arguments = parser.parse_args(argv)
    try:
        return train(arguments.overrides)
    except UserError as error:
        print(f"roadmap-train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "roadmap-train: interrupted; experience.maybe_resume=true goes on from the last epoch",
            file=sys.stderr,
        )
        return 130


def train(overrides: Sequence[str]) -> int:
    """Trains to the end, a line an epoch; checkpoints and reports under log_dir/experiment_name."""
    from trainables.building import build_dataset
    from trainables.composition import compose
    from trainables.console import Bars
    from trainables.data import summary
    from trainables.steps import Diverged
    from trainables.training import Training

    experiment = compose(overrides)
    folder = Path(experiment.experience.log_dir).expanduser() / experiment.experience.experiment_name
    start = _starting_point(experiment, folder)
    with Bars(sys.stderr) as bars:
        dataset = build_dataset(experiment)
        dataset.ensure(bars.update)
        for line in summary(dataset):
            bars.line(line)
        training = Training(experiment, progress=bars.update)
        try:
            if start is not None:
                training.load(start)
                bars.line(f"resumed from {start} after epoch {training.finished_epochs}")
            return _run(training, folder, bars)
        except Diverged as error:
            bars.line(f"diverged: {error}")
            return 1
        finally:
            training.close()


def _starting_point(experiment: "Experiment", folder: Path) -> Path | None:
    experience = experiment.experience
    last = folder / "weights" / "last.ckpt"
    if experience.resume is not None:
        named = Path(experience.resume).expanduser()
        found = named if named.is_file() else folder / "weights" / experience.resume
        if not found.is_file():
            raise UserError(f"experience.resume: there is no checkpoint {experience.resume!r}, nor {str(found)!r}")
        return found
    if not last.exists():
        return None
    if not experience.maybe_resume:
        raise UserError(
            f"{folder} already holds a training: experience.maybe_resume=true goes on with it, "
            "another experience.experiment_name starts beside it"
        )
    return last


def _run(training: "Training", folder: Path, bars: "Bars") -> int:
    experience = training.experiment.experience
    weights = folder / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "experiment.json").write_text(training.experiment.model_dump_json(indent=2))
    bars.line(f"{', '.join(f'{count} {name} images' for name, count in training.splits.items())} on {training.device}")
    while not training.done:
        report = training.epoch()
        training.save(weights / "last.ckpt")
        if training.best is not None and training.best["epoch"] == report.epoch:
            training.save(weights / "best.ckpt")
        if report.epoch % experience.save_model == 0:
            training.save(weights / f"epoch_{report.epoch:04d}.ckpt")
        with (folder / "reports.jsonl").open("a") as file:
            file.write(json.dumps({"epoch": report.epoch, **report.metrics}) + "\n")
        bars.line(sentence(report, experience.max_iter))
    if training.best is not None:
        best = ", ".join(f"val/{name} {value:.4f}" for name, value in training.best.items() if name != "epoch")
        bars.line(f"best epoch {training.best['epoch']:.0f}: {best}; {weights / 'best.ckpt'}")
    return 0


def sentence(report: "Report", epochs: int) -> str:
    """A report on one line: the losses, the leading metrics, the time."""
    shown = {key: value for key, value in report.metrics.items() if key.startswith("train/") and "lr_" not in key}
    shown.pop("train/images", None)
    for key, value in report.metrics.items():
        if key.endswith(("/recall_at_1", "/map_at_r", "/mapM", "/mapH")):
            shown[key] = value
    numbers = "  ".join(f"{key} {value:.4f}" for key, value in shown.items())
    return f"epoch {report.epoch}/{epochs}  {numbers}  {report.metrics['time/epoch_s']:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
