"""Overrides -> Hydra groups -> one frozen, checked Experiment. The only file that knows Hydra.

    compose(["dataset=emoji", "loss=roadmap", "loss.SupAP.tau=0.02", "optimizer.backbone.lr=1e-3"])

List members are addressed by position (`loss.1.kwargs.tau`) or by name (`loss.SupAP.tau`): a loss by its name, an
optimizer by the part it trains. Behind a name, a key that is not a field of the entry is one of its kwargs. A loss
of pytorch-metric-learning goes by its name with or without the library's: `loss.pml/NTXentLoss.temperature`.
"""

import re
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from trainables import environment
from trainables.checks import check
from trainables.errors import UserError, first_line, unknown
from trainables.experiment import Experiment, LossTerm, OptimizerPart

CONFIG = Path(__file__).parent / "config"
# group of a list -> the field that names a member, and the fields an entry has
MEMBERS: dict[str, tuple[str, type[BaseModel]]] = {
    "loss": ("name", LossTerm),
    "optimizer": ("params", OptimizerPart),
}

# Hydra's grammar has no slash in a key
_LIBRARY = re.compile(r"^(\+{0,2}loss\.)pml/")
_TURN = threading.Lock()  # Hydra keeps its state in one place of the process


def compose(overrides: Sequence[str] = ()) -> Experiment:
    """The Experiment that the overrides describe; UserError in one line for anything that is not valid."""
    return from_values(tree(overrides))


def from_values(values: dict[str, Any]) -> Experiment:
    """The Experiment of a whole configuration in plain values, checked as an override's is."""
    try:
        experiment = Experiment.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        told = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}={first['input']!r}: {told}" if path else told) from None
    check(experiment)
    return experiment


def groups() -> dict[str, list[str]]:
    """The configuration groups and their presets."""
    folders = sorted(path for path in CONFIG.iterdir() if path.is_dir())
    return {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}


def preset(path: str, overrides: Sequence[str]) -> Any:
    """The value at an override path (by name or position) once the overrides are applied."""
    config = OmegaConf.create(tree(overrides))
    return OmegaConf.select(config, _resolve_members(path, config))


def selected(group: str, overrides: Sequence[str]) -> str:
    """The preset of a group that the overrides choose, or the embedded default's."""
    chosen: dict[str, str] = {}
    for entry in OmegaConf.select(OmegaConf.load(CONFIG / "default.yaml"), "defaults"):
        chosen |= dict(entry) if OmegaConf.is_dict(entry) else {}
    chosen |= dict(text.split("=", 1) for text in _sort_overrides(overrides)[0])
    return chosen[group]


def tree(overrides: Sequence[str]) -> dict[str, Any]:
    """The composed configuration as plain values, interpolations resolved, not yet typed."""
    with _TURN:
        chosen, values = _sort_overrides(overrides)
        config = _base(tuple(chosen))
        for override in values:
            _apply(config, override)
    try:
        container = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(first_line(error)) from None
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def _sort_overrides(overrides: Sequence[str]) -> tuple[list[str], list[Override]]:
    """Which overrides choose a group's preset, and which set a value."""
    known = groups()
    chosen, values = [], []
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(_LIBRARY.sub(r"\1", text))
        except HydraException:
            raise UserError(f"cannot read {text!r}: an override is KEY=VALUE") from None
        key = override.key_or_group
        if override.is_delete() or override.is_sweep_override():
            raise UserError(f"{text!r}: one value for one key; deletions and lists of values belong elsewhere")
        if key in known:
            if override.value() not in known[key]:
                raise unknown(key, override.value(), known[key])
            chosen.append(f"{key}={override.value()}")
        elif "." not in key:
            raise unknown("configuration group", key, known)
        else:
            values.append(override)
    return chosen, values


@lru_cache(maxsize=32)
def _composed(chosen: tuple[str, ...]) -> DictConfig:
    environment.register()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIG.resolve())):
        return hydra_compose("default", overrides=list(chosen))


def _base(chosen: tuple[str, ...]) -> DictConfig:
    config = _composed(chosen).copy()
    OmegaConf.set_struct(config, False)
    return config


def _apply(config: DictConfig, override: Override) -> None:
    path = _resolve_members(override.key_or_group, config)
    parent, _, last = path.rpartition(".")
    node = OmegaConf.select(config, parent)
    # kwargs are open here: the constructor's signature is their schema, checked by the registry
    if not parent.endswith("kwargs") and (
        node is None or not OmegaConf.is_config(node) or last not in _fields(parent, node)
    ):
        raise unknown("key", override.key_or_group, _paths(config))
    OmegaConf.update(config, path, override.value(), merge=False, force_add=True)


def _resolve_members(path: str, config: DictConfig) -> str:
    """loss.SupAP.tau -> loss.1.kwargs.tau; a path by position is returned as it is."""
    group, _, rest = path.partition(".")
    if group not in MEMBERS or not rest:
        return path
    naming, entry = MEMBERS[group]
    member, _, key = _short(rest).partition(".")
    names = [_short(item[naming]) for item in config[group]]
    if member.isdigit():
        if int(member) >= len(names):
            raise UserError(f"{path!r}: {group} has {len(names)} members, counted from 0: {', '.join(names)}")
        return path
    if member not in names:
        raise unknown(group, member, names, where=path)
    if names.count(member) > 1:
        raise UserError(f"{path!r}: several members are called {member}; address them by position")
    field = key.partition(".")[0]
    inside = key if field in entry.model_fields else f"kwargs.{key}"
    return f"{group}.{names.index(member)}.{inside}"


def _short(name: object) -> str:
    """A name without the library that it is from."""
    return str(name).removeprefix("pml/")


def _fields(path: str, node: Any) -> set[str]:
    """The keys below a path; of a member of a list every field, also one that its preset leaves out."""
    group, _, member = path.partition(".")
    return _keys(node) | set(MEMBERS[group][1].model_fields if group in MEMBERS and member.isdigit() else ())


def _keys(node: Any) -> set[str]:
    return {str(key) for key in (range(len(node)) if OmegaConf.is_list(node) else node)}


def _paths(node: Any, prefix: str = "") -> list[str]:
    """Every override path of the configuration, members of lists by name."""
    found: list[str] = []
    if OmegaConf.is_dict(node):
        for key in node:
            child = OmegaConf.select(node, str(key), throw_on_missing=False)
            found += _paths(child, f"{prefix}{key}.")
    elif OmegaConf.is_list(node) and prefix.rstrip(".") in MEMBERS:
        naming = MEMBERS[prefix.rstrip(".")][0]
        for item in node:
            found += [path.replace(".kwargs.", ".", 1) for path in _paths(item, f"{prefix}{_short(item[naming])}.")]
    else:
        found.append(prefix.rstrip("."))
    return found
