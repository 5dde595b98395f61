"""The constructors are the only schema of a configuration's kwargs: they refuse with the name, the value, the rule."""

import math

import pytest

from trainables import losses
from trainables.errors import UserError

REFUSED = [
    ("SupAP", "tau", 0, "> 0"),
    ("SupAP", "tau", -0.1, "> 0"),
    ("SupAP", "tau", math.nan, "finite"),
    ("SupAP", "tau", True, "finite"),
    ("SupAP", "tau", "0.01", "finite"),
    ("SupAP", "tau", None, "finite"),
    ("SupAP", "rho", -1, ">= 0"),
    ("SupAP", "rho", math.inf, "finite"),
    ("SupAP", "delta", -0.01, ">= 0"),
    ("SupAP", "delta", False, "finite"),
    ("SupAP", "offset", math.inf, "finite"),
    ("SupAP", "offset", -1, ">= 0"),
    ("SupAP", "start", None, "finite"),
    ("SupAP", "start", -0.5, ">= 0"),
    ("SmoothAP", "tau", 0.0, "> 0"),
    ("CalibrationLoss", "pos_margin", 1.5, "[-1, 1]"),
    ("CalibrationLoss", "neg_margin", "x", "finite"),
    ("FastAP", "num_bins", 0, ">= 1"),
    ("FastAP", "num_bins", 10.5, "whole"),
    ("FastAP", "num_bins", True, "whole"),
    ("SoftBinAP", "nq", 1, ">= 2"),
    ("SoftBinAP", "min", math.nan, "finite"),
    ("SoftBinAP", "max", -1, "> -1"),
    ("BlackBoxAP", "lambda_", 0, "> 0"),
    ("BlackBoxAP", "margin", -0.1, ">= 0"),
    ("PairLoss", "margin", 2, "[-1, 1]"),
    ("ROADMAP", "calibration_weight", -1, ">= 0"),
    ("ROADMAP", "ap_weight", math.nan, "finite"),
    ("ROADMAP", "tau", 0, "> 0"),
    ("ROADMAP", "neg_margin", -3, "[-1, 1]"),
]


@pytest.mark.parametrize(("loss", "name", "value", "rule"), REFUSED)
def test_refused(loss: str, name: str, value: object, rule: str) -> None:
    with pytest.raises(UserError) as caught:
        getattr(losses, loss)(**{name: value})
    text = str(caught.value)
    assert text.startswith(f"{loss}: {name} must be")
    assert repr(value) in text
    assert rule in text
    assert "\n" not in text


def test_null_is_a_setting_of_delta_and_offset() -> None:
    losses.SupAP(delta=None, offset=None)
    losses.ROADMAP(delta=None, offset=None)


def test_whole_numbers_serve_as_numbers() -> None:
    losses.SupAP(tau=1, rho=0, delta=0, offset=0, start=0)
