"""The metrics of every query on the test split: measured once a training, kept for whoever wants to judge anew."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables import bucket
from trainables.commands import values_on_test
from trainables.console import Bars
from trainables.steps import Diverged
from trainables.trainable import CHECKPOINT
from tuner.confirmation.ledger import Repeat
from tuner.confirmation.office import Office


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
        with bucket.local(trained) as here:
            values = values_on_test(here / CHECKPOINT, bars)
    except Diverged as error:  # nothing was embedded on the way
        office.ended(repeat, "infeasible", f"diverged: {error}")
        return
    flat = {f"{split}/{name}": by_query for split, metrics in values.items() for name, by_query in metrics.items()}
    file = Path(f"confirm-{office.confirmation.number}") / f"{repeat.key}.npz"
    (folder / file).parent.mkdir(exist_ok=True)
    np.savez_compressed(folder / file, **flat)  # type: ignore[arg-type]
    office.tested(repeat, {name: float(np.nanmean(by_query)) for name, by_query in flat.items()}, str(file))


def read_values(file: Path) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Test split -> metric -> by query (N,), of one training."""
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    with np.load(file, allow_pickle=False) as arrays:
        for key in arrays.files:
            split, _, name = key.partition("/")
            found.setdefault(split, {})[name] = arrays[key]
    return found
