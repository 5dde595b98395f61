"""Constraints: what Python itself makes of the same expression, and nothing that runs code."""

import itertools
import math

import pytest

from trainables.errors import UserError
from tuner.language import parse_space

SPACE = {
    "a.lr": {"loguniform": [0.01, 10]},
    "b.lr, c.lr": {"uniform": [-2, 2]},
    "n": {"int": [0, 4]},
    "loss": {"choice": ["x", "loss"]},
    "flag": {"choice": [True, False]},
    "loss.pml/Margin.beta": {"uniform": [0, 1], "when": {"loss": "x"}},
    "mixed": {"choice": [1, "one"]},
}
EXPRESSIONS = [
    "a.lr >= b.lr",
    "not a.lr >= c.lr and n != 3",
    "0 < a.lr - n < 2",
    "-b.lr ** 2 + 3 * n / 2 <= max(a.lr, n, 1)",
    "abs(b.lr) < min(1.5, a.lr) or flag",
    "log10(a.lr) > -1",
    "loss == 'loss' or a.lr < 1",
    'flag == True and loss != "x"',
]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_it_is_what_python_says(text: str) -> None:
    [constraint] = parse_space(SPACE, [text]).constraints
    spelled = text.replace("a.lr", "A").replace("b.lr", "B").replace("c.lr", "B").replace("'loss'", "'LOSS'")
    spelled = spelled.replace("loss", "L").replace("'LOSS'", "'loss'")
    names = {"min": min, "max": max, "abs": abs, "log10": math.log10}
    held = []
    for a, b, n, loss, flag in itertools.product([0.05, 1, 5], [-2, 0.0, 1.5], [0, 3], ["x", "loss"], [True, False]):
        point = {"a.lr": a, "b.lr, c.lr": b, "n": n, "loss": loss, "flag": flag}
        values = {"A": a, "B": b, "n": n, "L": loss, "flag": flag}
        expected = bool(eval(spelled, {"__builtins__": {}, **names}, values))
        assert constraint.holds(point) == expected
        held.append(expected)
    assert True in held and False in held


def test_a_name_that_is_not_there_makes_it_fulfilled() -> None:
    space = parse_space(SPACE, ["loss.pml/Margin.beta / 2 > 0.25"])
    assert not space.allows({"loss": "x", "loss.pml/Margin.beta": 0.5})
    assert space.allows({"loss": "x", "loss.pml/Margin.beta": 0.75}) and space.allows({"loss": "loss"})


@pytest.mark.parametrize("text", ["1 / n > 0", "log10(n) >= 0", "(0 - a.lr) ** 0.5 > 0", "10 ** 10 ** (n + 9) > 0"])
def test_a_point_without_a_value_is_not_allowed(text: str) -> None:
    assert not parse_space(SPACE, [text]).allows({"n": 0, "a.lr": 2.0})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.lrr > 1", "unknown key of the space 'a.lrr', did you mean 'a.lr'"),
        ("a.lr >", "cannot read 'a.lr >'"),
        ("a.lr + 1", "is a number, not a comparison"),
        ("1 < 2", "names no key"),
        ("loss > 'a'", "compares a word with a word"),
        ("loss == 3", "compares a word with a number"),
        ("flag + 1 > 0", "flag is a truth, not a number"),
        ("a.lr and flag", "a.lr is a number, not a truth"),
        ("mixed == 1", "of several kinds"),
        ("min(a.lr) > 0", "min takes several"),
        ("abs(a.lr, n) > 0", "abs takes one"),
        ("__import__('os').system('true') == 0", "is not of the language"),
        ("a.lr.__class__ == 1", "unknown key"),
        ("(lambda: 1)() == a.lr", "is not of the language"),
        ("[a.lr][0] > 1", "is not of the language"),
        ("a.lr if flag else n", "is not of the language"),
        ("f'{a.lr}' == 'x'", "is not of the language"),
        ("n % 2 == 0", "is not of the language"),
        ("not " * 3000 + "flag", "cannot read"),
        ("(" * 5000 + "n" + ")" * 5000, "cannot read"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_space(SPACE, [text])
    assert said in str(caught.value) and "\n" not in str(caught.value)
