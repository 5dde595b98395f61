"""Names of runs that say the point: `0019 tau 0.0124 weight 1.27 lr 1.8e-3`."""

from collections.abc import Iterable, Mapping

from tuner.space import Point, Value

WIDTH = 72  # of a name: what a column of MLflow's table shows


def labels(keys: Iterable[str]) -> dict[str, str]:
    """Each key's shortest end that no other has: loss.SupAP.tau -> tau. Of tied paths the first speaks."""
    parts = {key: key.split(",")[0].strip().split(".") for key in keys}
    found = {}
    for key, own in parts.items():
        others = [other for name, other in parts.items() if name != key]
        length = next((n for n in range(1, len(own)) if all(own[-n:] != other[-n:] for other in others)), len(own))
        found[key] = ".".join(own[-length:])
    return found


def number(value: Value) -> str:
    """Three digits, two where it is small: 0.0124, 1.27, 1.8e-3."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    if value == 0 or 0.01 <= abs(value) < 1e4:
        return f"{value:.3g}"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def title(start: str, point: Point, known: Mapping[str, str]) -> str:
    """The name of a run at a point, the settings that do not fit left out. known: `labels` of the whole space."""
    told = start
    for key, value in point.items():
        more = f"{told} {known.get(key, key)} {number(value)}"
        if len(more) > WIDTH - 2:
            return f"{told} …"
        told = more
    return told
