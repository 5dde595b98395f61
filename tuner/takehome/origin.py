"""What the card of a sweep's export says of its origin: how it was chosen, what it reached, how to repeat it."""

import shlex
from collections.abc import Sequence

from trainables.composition import compose
from trainables.evaluation import bootstrap_intervals
from trainables.exported.card import Origin
from tuner.confirmation.arms import overrides
from tuner.confirmation.summary import table
from tuner.confirmation.values import read_values
from tuner.summary import pixel_floor_of
from tuner.takehome.choice import Choice


def origin_of(choice: Choice, file: str) -> Origin:
    """file: how the user named the sweep."""
    sweep = choice.results.sweep
    title = f"{sweep.name}, trial {choice.trial.id}"
    if choice.confirmed:
        said = f"{choice.why[0].upper()}{choice.why[1:]}."
        return Origin(title, [*_chosen(choice), said, *_confirmed(choice)], _repeat(choice, file), _measured(choice))
    told = f"**Not confirmed**: {choice.why.partition(': ')[2]}. Nobody has measured this network on the test split."
    return Origin(title, [*_chosen(choice), told], _repeat(choice, file), {choice.metric: choice.value})


def _chosen(choice: Choice) -> list[str]:
    results = choice.results
    sweep, objective = results.sweep, results.sweep.objective
    trials = f"The sweep `{sweep.name}`: {len(results.trials)} trials by {sweep.search.sampler}"
    stopping = "" if sweep.scheduler.name == "none" else f", the weaker ones stopped early by {sweep.scheduler.name}"
    place = results.place(choice.trial.number)
    point = ", ".join(f"`{key}` {value}" for key, value in results.point(choice.trial).items())
    presets = next((trial for trial in results.trials if trial.number == 0), None)
    known = presets is not None and bool(results.best_metrics(presets))
    floor = pixel_floor_of(compose(sweep.fixed())).get(objective.metric.removeprefix("val/"))
    lines = [
        f"- this trial: {results.told(choice.trial)}, place {place} of {len(results.trials)}",
        *([f"- the presets (trial 0000): {results.told(presets)}"] if known and presets is not None else []),
        *([] if floor is None else [f"- raw pixels on the same images: {floor:.4f}"]),
    ]
    return [
        f"{trials}{stopping}. Objective: the best {objective.metric}, held out of the train split. Goal: {sweep.goal}.",
        "\n".join(lines),
        f"Its point: {point}." if point else "It has the presets' point.",
    ]


def _confirmed(choice: Choice) -> list[str]:
    """Every seed of every arm on the test split, the verdict, and this network's own values with their intervals."""
    confirmation, repeat = choice.confirmation, choice.repeat
    assert confirmation is not None and repeat is not None
    folder = choice.results.sweep.folder
    rows = "\n".join(f"    {line}" for line in table(confirmation, choice.metric))
    lines = [f"Confirmed on the test split, {choice.metric} by seed:", rows]
    lines += [f"{verdict.sentence()[0].upper()}{verdict.sentence()[1:]}." for verdict in confirmation.verdicts or ()]
    if (folder / repeat.values).is_file():
        own = []
        for split, metrics in read_values(folder / repeat.values).items():
            for name, (low, high) in bootstrap_intervals(metrics).items():
                key = f"{split}/{name}"
                if repeat.test is not None and key in repeat.test:
                    own.append(f"- {key}: {repeat.test[key]:.4f} [{low:.4f}, {high:.4f}]")
        lines += [f"This network (seed {repeat.seed}), with 95 % intervals over the queries:", "\n".join(own)]
    return lines


def _measured(choice: Choice) -> dict[str, float]:
    assert choice.repeat is not None and choice.repeat.test is not None
    return choice.repeat.test


def _repeat(choice: Choice, file: str) -> Sequence[str]:
    results = choice.results
    if choice.repeat is None:
        training = results.command(choice.trial)
    else:
        parts = overrides(results.sweep, choice.repeat)
        training = " ".join(["roadmap-train", *(shlex.quote(part) for part in parts)])
    return [f"    {training}", f"    roadmap-tune export {file} --trial {choice.trial.number}"]
