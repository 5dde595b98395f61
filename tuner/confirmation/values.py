"""The metrics of every query on the test split: measured once a training, kept for whoever wants to judge anew."""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables import bucket
from trainables.checkpoint import CHECKPOINT
from trainables.commands import values_on_test
from trainables.composition import compose
from trainables.console import Bars
from trainables.steps import Diverged
from tuner import cluster, nodes
from tuner.confirmation.arms import overrides
from tuner.confirmation.ledger import Repeat
from tuner.confirmation.office import Office

Measured = dict[str, dict[str, NDArray[np.float64]]]  # test split -> metric -> by query (N,)


def measure(office: Office, bars: Bars) -> None:
    """Every trained network meets the test split, once; what it reached is in the ledger and in an .npz of its own."""
    confirmation = office.confirmation
    if not confirmation.opened:
        office.ledger.write("opened")
    for repeat in confirmation.repeats.values():
        if repeat.state == "finished" and repeat.test is None:
            _measure(office, repeat, bars)


def _measure(office: Office, repeat: Repeat, bars: Bars) -> None:
    folder, trained = office.ledger.folder, repeat.trained
    assert trained is not None, "it has been trained to its end"
    try:
        values = _on_test(office, repeat, trained, bars)
    except Diverged as error:  # nothing was embedded on the way
        office.ended(repeat, "infeasible", f"diverged: {error}")
        return
    flat = {f"{split}/{name}": by_query for split, metrics in values.items() for name, by_query in metrics.items()}
    file = Path(f"confirm-{office.confirmation.number}") / f"{repeat.key}.npz"
    (folder / file).parent.mkdir(exist_ok=True)
    np.savez_compressed(folder / file, **flat)  # type: ignore[arg-type]
    office.tested(repeat, {name: float(np.nanmean(by_query)) for name, by_query in flat.items()}, str(file))


def _on_test(office: Office, repeat: Repeat, trained: str, bars: Bars) -> Measured:
    """Where the data are: the head of a cluster may have neither them nor a GPU."""
    if not cluster.is_joined():
        return _values(trained, bars)
    bars.line(f"{repeat.arm.name}, seed {repeat.seed}: the test split")
    data = [compose(overrides(office.sweep, repeat))]
    resources = office.sweep.resources
    values: Measured = nodes.on_some(_on_a_node, trained, resources=resources, data=data, seconds=None)
    return values


def _on_a_node(trained: str) -> Measured:
    with Bars(sys.stderr) as bars:
        return _values(trained, bars)


def _values(trained: str, bars: Bars) -> Measured:
    with bucket.local(trained) as folder:
        return values_on_test(folder / CHECKPOINT, bars)


def read_values(file: Path) -> Measured:
    """Of one training."""
    found: Measured = {}
    with np.load(file, allow_pickle=False) as arrays:
        for key in arrays.files:
            split, _, name = key.partition("/")
            found.setdefault(split, {})[name] = arrays[key]
    return found
