"""`roadmap-train`: one training from overrides, without Ray.

roadmap-train dataset=emoji loss=roadmap experience.max_iter=5 loss.SupAP.tau=0.02

roadmap-train --check dataset=sop model=resnet ...         what it would train, how large it is; trains nothing
roadmap-train --schedule runs/NAME/trial-0007.schedule.json ...     settings that change at given epochs
roadmap-train evaluate experiments/emoji/weights/best.ckpt --split test
roadmap-train export experiments/emoji/weights/best.ckpt --out DIR     a folder that anybody can open

On several GPUs the same batches, shared:  torchrun --nproc-per-node 2 -m trainables dataset=...
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.errors import ProcessLost, UserError

if TYPE_CHECKING:
    from trainables.console import Bars
    from trainables.distributed import World
    from trainables.experiment import Experiment
    from trainables.schedule import Schedule
    from trainables.training import Report, Training


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 trained, 1 diverged, 2 the user's mistake, 3 another process was lost, 130 interrupted.

    Of several processes each has one; torchrun's own is 1 for every one but 0.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    others = {"evaluate": _evaluation, "export": _export}
    run = others[words[0]](words[1:]) if words and words[0] in others else _training(words)
    # torchrun's processes meet the same mistakes: one of them says so
    said = sys.stderr if os.environ.get("RANK", "0") == "0" else open(os.devnull, "w")  # noqa: SIM115
    try:
        return run()
    except UserError as error:
        print(f"roadmap-train: {error}", file=said)
        return 2
    except ProcessLost as error:
        print(f"roadmap-train: {error}; experience.maybe_resume=true goes on from the last epoch", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("roadmap-train: interrupted; experience.maybe_resume=true goes on from the last epoch", file=said)
        return 130


def _training(words: Sequence[str]) -> Callable[[], int]:
    parser = argparse.ArgumentParser(
        prog="roadmap-train", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="say what would be trained, train nothing")
    parser.add_argument("--schedule", type=Path, metavar="FILE", help="settings by epoch, as a sweep by pbt saves them")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="a group's preset or one setting")
    arguments = parser.parse_intermixed_args(words)
    if arguments.check and arguments.schedule is not None:
        parser.error("--check looks at one setting: it has no --schedule")
    return lambda: (
        look_ahead(arguments.overrides) if arguments.check else train(arguments.overrides, arguments.schedule)
    )


def _evaluation(words: Sequence[str]) -> Callable[[], int]:
    parser = argparse.ArgumentParser(
        prog="roadmap-train evaluate", description="The metrics of a checkpoint's network."
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--split", default="test", help="train, val, test (each test split) or the name of one")
    parser.add_argument("--json", action="store_true", help="the metrics as one JSON object")
    parser.add_argument(
        "--reference",
        action="store_true",
        help="the checkpoint was written by the reference's code: KEY=VALUE... describe its training",
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="where the data are, what is measured")
    arguments = parser.parse_intermixed_args(words)
    return lambda: evaluate(arguments)


def _export(words: Sequence[str]) -> Callable[[], int]:
    parser = argparse.ArgumentParser(prog="roadmap-train export", description="A checkpoint as weights, ONNX and card.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    arguments = parser.parse_args(words)
    return lambda: export(arguments.checkpoint.expanduser(), arguments.out.expanduser())


def export(checkpoint: Path, folder: Path) -> int:
    """Writes the network of a checkpoint as a folder that needs no code of this project."""
    from trainables.console import Bars
    from trainables.exported.card import card, of_training
    from trainables.exported.writing import export

    with Bars(sys.stderr) as bars:
        written = export(checkpoint, folder, lambda made: card(made, of_training(made, checkpoint)), bars)
    print("\n".join(written.lines()))
    return 0


def look_ahead(overrides: Sequence[str]) -> int:
    """Prints what a training would be."""
    from trainables import commands

    for line in commands.look_ahead(overrides):
        print(line)
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Prints the metrics of a checkpoint with their 95 % intervals over the queries, a line each, or as JSON."""
    from trainables import commands
    from trainables.console import Bars

    with Bars(sys.stderr) as bars:
        found = commands.evaluate(
            arguments.checkpoint.expanduser(), arguments.split, arguments.overrides, bars, arguments.reference
        )
    if arguments.json:
        print(json.dumps({split: evaluated._asdict() for split, evaluated in found.items()}, indent=2))
        return 0
    for split, (metrics, intervals) in found.items():
        for name, value in metrics.items():
            sure = "  [{:.4f}, {:.4f}]".format(*intervals[name]) if name in intervals else ""
            print(f"{split}/{name}  {value:.0f}" if name.startswith("num_") else f"{split}/{name}  {value:.4f}{sure}")
    return 0


def train(overrides: Sequence[str], changes: Path | None = None) -> int:
    """Trains to the end, a line an epoch; checkpoints and reports under log_dir/experiment_name.

    changes: a file of a schedule, whose settings overrule the overrides from epoch to epoch.
    """
    from trainables import schedule
    from trainables.console import Bars
    from trainables.rendezvous import from_environment

    stages = (schedule.Stage(epoch=1, overrides=()),) if changes is None else schedule.read(changes.expanduser())
    planned = schedule.composed(stages, overrides)
    with (
        from_environment() as world,
        open(os.devnull, "w") as nowhere,
        Bars(sys.stderr if world.leads else nowhere) as bars,
    ):
        return _train(planned, world, bars)


def _train(planned: "Schedule", world: "World", bars: "Bars") -> int:
    from trainables import checkpoint, schedule
    from trainables.building import build_dataset
    from trainables.data import summary

    experiment = planned[0][1]
    folder = Path(experiment.experience.log_dir).expanduser() / experiment.experience.experiment_name
    start = world.together(lambda: _starting_point(experiment, folder))
    # one process of a machine prepares the data, the others find them ready
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    dataset = build_dataset(experiment)
    world.together(lambda: dataset.ensure(bars.update) if first else None)
    world.together(lambda: None if first else dataset.ensure(bars.update))
    for line in summary(dataset):
        bars.line(line)
    done = world.together(lambda: 0 if start is None else int(checkpoint.read(start)["epoch"]))
    for begin, settings, end in schedule.left(planned, done):
        code = _stage(settings, world, bars, folder, start, end, changes=done == begin - 1)
        if code:
            return code
        start, done = folder / "weights" / "last.ckpt", end
    return 0


def _stage(
    experiment: "Experiment", world: "World", bars: "Bars", folder: Path, start: Path | None, end: int, changes: bool
) -> int:
    """The epochs up to `end` from a checkpoint, at which the settings may change."""
    from trainables.steps import Diverged
    from trainables.training import Training

    training = world.together(lambda: Training(experiment, progress=bars.update, world=world))
    try:
        if start is not None:
            world.together(lambda: training.load(start, scheduled=changes))
            bars.line(f"resumed from {start} after epoch {training.finished_epochs}")
        return _run(training, folder, bars, end)
    except Diverged as error:
        bars.line(f"diverged: {error}")
        return 1
    except UserError as error:
        if not world.leads:  # such as an unreadable image: the leader may not have met it
            print(f"roadmap-train, process {world.rank}: {error}", file=sys.stderr)
        raise
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


def _run(training: "Training", folder: Path, bars: "Bars", end: int) -> int:
    experience = training.experiment.experience
    leads = training.world.leads
    if leads:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "experiment.json").write_text(training.experiment.model_dump_json(indent=2))
    processes = f" and {training.world.size - 1} more" if training.world.size > 1 else ""
    images = ", ".join(f"{count} {name} images" for name, count in training.splits.items())
    bars.line(f"{images} on {training.device}{processes}")
    while training.finished_epochs < end:
        report = training.epoch()
        if leads:
            _keep(training, report, folder)
        bars.line(sentence(report, experience.max_iter))
    if training.done and training.best is not None:
        best = ", ".join(f"val/{name} {value:.4f}" for name, value in training.best.items() if name != "epoch")
        bars.line(f"best epoch {training.best['epoch']:.0f}: {best}; {folder / 'weights' / 'best.ckpt'}")
    return 0


def _keep(training: "Training", report: "Report", folder: Path) -> None:
    """The epoch's checkpoints and its line in reports.jsonl."""
    weights = folder / "weights"
    training.save(weights / "last.ckpt")
    if training.best is not None and training.best["epoch"] == report.epoch:
        training.save(weights / "best.ckpt")
    if report.epoch % training.experiment.experience.save_model == 0:
        training.save(weights / f"epoch_{report.epoch:04d}.ckpt")
    with (folder / "reports.jsonl").open("a") as file:
        file.write(json.dumps({"epoch": report.epoch, **report.metrics}) + "\n")


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
