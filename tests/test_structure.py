"""The walls of docs/architecture.md, measured from the imports themselves."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted([*ROOT.glob("trainables/**/*.py"), *ROOT.glob("tuner/**/*.py")])


def imports(file: Path) -> set[str]:
    """Every module a file imports, relative ones resolved."""
    found: set[str] = set()
    package = file.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            found.add(".".join([*base, *([node.module] if node.module else [])]))
    return found


def uses(file: Path, name: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for module in imports(file))


def named(path: str) -> Path:
    return ROOT / path


@pytest.mark.parametrize("file", FILES, ids=str)
def test_import_rules(file: Path) -> None:
    inside = file.relative_to(ROOT).parts
    if inside[0] == "trainables":
        assert not uses(file, "tuner") and not uses(file, "mlflow")
        ray_side = [named("trainables/trainable.py"), named("trainables/trainable_group.py")]
        assert not uses(file, "ray") or file in ray_side
        assert not uses(file, "hydra") or file == named("trainables/composition.py")
        if inside[1] in ("losses", "models", "data", "evaluation"):
            others = {"losses", "models", "data", "evaluation"} - {inside[1]}
            assert not any(uses(file, f"trainables.{other}") for other in others)
            for outside in ("pydantic", "omegaconf", "trainables.experiment", "trainables.registry"):
                assert not uses(file, outside)
    else:
        writers = ("tuner/tracking.py", "tuner/store.py", "tuner/takehome/registry.py", "tuner/takehome/served.py")
        assert not uses(file, "mlflow") or file in map(named, writers)
        assert not uses(file, "torch") or file == named("tuner/plan.py"), "torch only through trainables"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_files_are_short(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 300


def test_public_names() -> None:
    assert set(importlib.import_module("trainables").__all__) == {"Report", "Training", "compose"}
    assert set(importlib.import_module("tuner").__all__) == {"Results", "Sweep", "load_sweep", "run"}
    for package in ("trainables", "tuner"):
        module = importlib.import_module(package)
        for name in module.__all__:
            assert callable(getattr(module, name))
