"""Constraints: expressions over the keys of a space that every point fulfils, read without running any code.

    optimizer.fc.lr >= optimizer.backbone.lr
    loss != 'roadmap' or loss.SupAP.tau <= 0.05
    0.1 < loss.CalibrationLoss.weight / loss.SupAP.weight < 10

Numbers, words in quotes, true values, + - * / **, comparisons, and / or / not, min, max, abs, log10.
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trainables.errors import UserError, unknown

Value = float | int | str | bool
Kind = Literal["number", "truth", "word"]
Evaluator = Callable[[Mapping[str, Value]], Any]

ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
ORDER: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
EQUALITY: dict[type, Callable[[Any, Any], bool]] = {ast.Eq: operator.eq, ast.NotEq: operator.ne}
FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs, "log10": math.log10}
SINGLE = ("abs", "log10")  # functions of one number


@dataclass(frozen=True)
class Constraint:
    """One expression. It says nothing of a point that lacks one of its keys: that key is inactive there."""

    text: str
    keys: frozenset[str]
    _evaluate: Evaluator = field(repr=False, compare=False)

    def holds(self, point: Mapping[str, Value]) -> bool:
        """Whether the point fulfils it; a point where it has no value (1 / 0, log10(-1)) does not."""
        if not self.keys <= point.keys():
            return True
        try:
            return bool(self._evaluate(point))
        except (ArithmeticError, ValueError, TypeError):  # TypeError: the complex root of a negative number
            return False


@dataclass(frozen=True)
class Name:
    """What a path in an expression stands for."""

    key: str  # of the space: of tied paths, each stands for the whole
    kind: Kind | None  # None: values of several kinds


def parse_constraint(text: str, names: Mapping[str, Name]) -> Constraint:
    """names: override path -> what it stands for; UserError in one line for anything that is not of the language."""
    # a path may hold what is no name in Python: loss.pml/NTXentLoss.temperature, loss.0.weight
    tokens: dict[str, str] = {}

    def token(found: re.Match[str]) -> str:
        if found[0] not in names:  # a word in quotes
            return found[0]
        tokens[f"path_{list(names).index(found[0])}_"] = found[0]
        return f"path_{list(names).index(found[0])}_"

    longest_first = "|".join(re.escape(path) for path in sorted(names, key=len, reverse=True))
    spelled = re.sub(rf"""'[^']*'|"[^"]*"|(?<![\w.])(?:{longest_first})(?![\w.])""", token, text)
    try:
        reader = _Reader(text, names, tokens)
        kind, evaluate = reader.read(ast.parse(spelled.strip(), mode="eval").body)
    except UserError:
        raise
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise UserError(f"constraints: cannot read {text!r}") from None
    if kind != "truth":
        raise UserError(f"constraints: {text!r} is a {kind}, not a comparison")
    if not reader.keys:
        raise UserError(f"constraints: {text!r} names no key of the space")
    return Constraint(text, frozenset(reader.keys), evaluate)


class _Reader:
    """A syntax tree -> what it is, and a function of the point; whatever is not listed here is refused."""

    def __init__(self, text: str, names: Mapping[str, Name], tokens: Mapping[str, str]) -> None:
        self._text, self._names, self._tokens = text, names, tokens
        self.keys: set[str] = set()

    def read(self, node: ast.expr) -> tuple[Kind, Evaluator]:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return _kind(value), lambda point: _plain(value)
            case ast.Name() | ast.Attribute():
                return self._path(node)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                [of] = self._all([operand], "number")
                return "number", lambda point: -of(point)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                [of] = self._all([operand], "truth")
                return "truth", lambda point: not of(point)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                one, other = self._all([left, right], "number")
                return "number", lambda point: ARITHMETIC[type(op)](one(point), other(point))
            case ast.BoolOp(op=op, values=values):
                parts, decide = self._all(values, "truth"), all if isinstance(op, ast.And) else any
                return "truth", lambda point: decide(part(point) for part in parts)
            case ast.Compare(left=left, ops=ops, comparators=right):
                return "truth", self._comparison([left, *right], ops)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS and arguments:
                return "number", self._call(name, arguments)
        raise self._refused(node)

    def _call(self, name: str, arguments: Sequence[ast.expr]) -> Evaluator:
        if (len(arguments) == 1) != (name in SINGLE):
            raise UserError(f"constraints: {self._text!r}: {name} takes {'one' if name in SINGLE else 'several'}")
        parts = self._all(arguments, "number")
        return lambda point: FUNCTIONS[name](*(part(point) for part in parts))

    def _comparison(self, nodes: Sequence[ast.expr], ops: Sequence[ast.cmpop]) -> Evaluator:
        sides = [self.read(node) for node in nodes]
        links = []
        for op, (left, one), (right, other) in zip(ops, sides, sides[1:], strict=False):
            compare = EQUALITY.get(type(op)) or (ORDER.get(type(op)) if left == "number" else None)
            if left != right or compare is None:
                raise UserError(f"constraints: {self._text!r} compares a {left} with a {right}")
            links.append((compare, one, other))
        return lambda point: all(compare(one(point), other(point)) for compare, one, other in links)

    def _all(self, nodes: Sequence[ast.expr], wanted: Kind) -> list[Evaluator]:
        read = [self.read(node) for node in nodes]
        for node, (kind, _) in zip(nodes, read, strict=True):
            if kind != wanted:
                raise UserError(f"constraints: {self._text!r}: {self._spelled(node)} is a {kind}, not a {wanted}")
        return [evaluate for _, evaluate in read]

    def _path(self, node: ast.expr) -> tuple[Kind, Evaluator]:
        path = self._spelled(node)
        if path not in self._names:
            raise unknown("key of the space", path, self._names, where=f"constraints: {self._text!r}")
        name = self._names[path]
        if name.kind is None:
            raise UserError(f"constraints: {self._text!r}: the values of {path} are of several kinds")
        self.keys.add(name.key)
        return name.kind, lambda point: _plain(point[name.key])

    def _spelled(self, node: ast.expr) -> str:
        return re.sub(r"path_\d+_", lambda found: self._tokens.get(found[0], found[0]), ast.unparse(node))

    def _refused(self, node: ast.expr) -> UserError:
        return UserError(
            f"constraints: {self._text!r}: {self._spelled(node)!r} is not of the language: numbers, words in quotes, "
            f"+ - * / **, comparisons, and, or, not, {', '.join(FUNCTIONS)}"
        )


def kind_of(values: Sequence[Value]) -> Kind | None:
    """What all of the values are; None where they differ."""
    kinds = {_kind(value) for value in values}
    return kinds.pop() if len(kinds) == 1 else None


def _kind(value: Value) -> Kind:
    return "truth" if isinstance(value, bool) else "word" if isinstance(value, str) else "number"


def _plain(value: Value) -> Value:
    """Whole numbers as floats: a tower of powers overflows at once instead of filling the memory."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
