"""A sweep file -> one frozen Sweep."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from yaml import YAMLError

from trainables import bucket, environment
from trainables.errors import UserError, first_line
from tuner import secrets
from tuner.language import parse_space
from tuner.places import check_storage, folder_of, home
from tuner.schema import Block, Settings
from tuner.space import Distribution, Space
from tuner.unused import check_unused


class Sweep(Settings):
    """One search over a space, on one data set, for one objective."""

    @property
    def searched(self) -> Space:
        """The space, parsed."""
        return parse_space(self.space, self.constraints)

    @property
    def distributions(self) -> dict[str, Distribution]:
        """Of the space: key -> distribution, a key after those that decide whether it exists."""
        return dict(self.searched.distributions)

    @property
    def folder(self) -> Path:
        """Where the sweep keeps its journal, results and, unless it is in S3, checkpoints."""
        return folder_of(self.storage, self.name)

    @property
    def place(self) -> str:
        """As people read it: its folder, or of one in S3 that there."""
        return bucket.shown(home(self.folder))

    def fixed(self) -> list[str]:
        """The overrides that every trial shares: the train part, the held-out classes, and never the test split."""
        return [
            *self.train,
            *self.validation.overrides(),
            f"experience.principal_metric={self.objective.metric.removeprefix('val/')}",
            "experience.val_eval_freq=1",
            "experience.test_eval_freq=-1",
            f"experience.num_threads={self.resources.cpu}",
        ]


def load_sweep(path: str | Path, settings: Sequence[str] = ()) -> Sweep:
    """The sweep file with `KEY=VALUE` settings laid over it; UserError in one line for anything not valid."""
    file = Path(path)
    if not file.is_file():
        raise _missing(file)
    environment.register()
    try:
        written = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{file} cannot be read as YAML: {first_line(error)}") from None
    if not isinstance(written, dict):
        raise UserError(f"{file} is not a sweep: it needs name, goal and space")
    values = {str(key): value for key, value in written.items()}
    for setting in settings:
        _lay_over(values, setting)
    return _sweep(values, str(file))


def _missing(file: Path) -> UserError:
    beside = [str(found) for found in file.parent.glob("*.yaml")] if file.parent.is_dir() else []
    shipped = [str(found) for found in Path("search_spaces").glob("*.yaml")]
    near = difflib.get_close_matches(str(file), [*beside, *shipped], n=1, cutoff=0.3)
    return UserError(f"there is no sweep file {str(file)!r}" + (f", did you mean {near[0]!r}?" if near else ""))


def _lay_over(values: dict[str, Any], setting: str) -> None:
    """`search.trials=8`; behind `space.` the whole rest is the key, since override paths have dots of their own.

    null takes a key of the file out.
    """
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise UserError(f"cannot read {setting!r}: --set takes KEY=VALUE")
    try:
        value = OmegaConf.to_container(OmegaConf.create(f"value: {text}"), resolve=True)["value"]  # type: ignore[index,call-overload]
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"cannot read the value of {setting!r}: {first_line(error)}") from None
    section, dot, rest = key.partition(".")
    if not dot:
        values[section] = value
        return
    node = values.setdefault(section, {})
    if not isinstance(node, dict):
        raise UserError(f"--set {key}: {section!r} has no parts")
    if value is None and rest in node:
        del node[rest]
    else:
        node[rest] = value


def _sweep(values: Mapping[str, Any], file: str) -> Sweep:
    try:
        sweep = Sweep.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _sweep_keys(*(str(part) for part in first["loc"] if isinstance(part, int)))
            near = difflib.get_close_matches(path, known, n=1, cutoff=0.4)
            hint = f", did you mean {near[0]!r}?" if near else "."
            raise UserError(f"{file}: unknown key {path!r}{hint} Known: {', '.join(known)}") from None
        if first["type"] == "missing":
            raise UserError(f"{file}: {path!r} is missing") from None
        raise UserError(f"{file}: {path}={first['input']!r}: {first['msg']}") from None
    for key in ("tracking", "storage"):
        secrets.check_address(key, getattr(sweep, key))
    check_storage(sweep.storage)
    check_unused(sweep)
    _ = sweep.searched  # every distribution, condition and constraint can be read
    return sweep


def _sweep_keys(member: str = "0") -> list[str]:
    """Every key of a file; of a list of blocks, those of one member."""
    keys = []
    for name, field in Sweep.model_fields.items():
        blocks = [kind for kind in (field.annotation, *get_args(field.annotation)) if _is_block(kind)]
        listed = f".{member}" if get_origin(field.annotation) is tuple else ""
        keys += [f"{name}{listed}.{part}" for block in blocks for part in block.model_fields] or [name]
    return keys


def _is_block(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Block)
