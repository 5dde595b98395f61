"""The presets of losses and optimizers are the published values."""

from typing import Any

import pytest

from trainables import compose

CALIBRATION = {"name": "CalibrationLoss", "weight": 1.0, "kwargs": {"pos_margin": 0.9, "neg_margin": 0.6}}
SUPAP = {"tau": 0.01, "rho": 100.0, "delta": 0.05, "offset": 1.44, "start": 0.5}
LOSSES: dict[str, list[dict[str, Any]]] = {
    "roadmap": [CALIBRATION, {"name": "SupAP", "weight": 1.0, "kwargs": SUPAP}],
    "roadmap_inat": [CALIBRATION, {"name": "SupAP", "weight": 1.0, "kwargs": {**SUPAP, "offset": 1.0, "start": 0.0}}],
    "supap": [{"name": "SupAP", "weight": 1.0, "kwargs": SUPAP}],
    "supap_inat": [{"name": "SupAP", "weight": 1.0, "kwargs": {**SUPAP, "offset": 1.0, "start": 0.0}}],
    "smoothap": [{"name": "SmoothAP", "weight": 1.0, "kwargs": {"tau": 0.01}}],
    "fastap": [{"name": "FastAP", "weight": 1.0, "kwargs": {"num_bins": 10}}],
    "softbinap": [{"name": "SoftBinAP", "weight": 1.0, "kwargs": {"nq": 20, "min": -1.0, "max": 1.0}}],
    "blackboxap": [{"name": "BlackBoxAP", "weight": 1.0, "kwargs": {"lambda_": 4.0, "margin": 0.02}}],
    "pair_loss": [{"name": "PairLoss", "weight": 1.0, "kwargs": {"margin": 0.5}}],
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    assert [term.model_dump() for term in compose([f"loss={name}"]).loss] == LOSSES[name]


# algorithm, (part, rate), ..., weight decay, epochs at which the rate is multiplied by 0.3
OPTIMIZERS: dict[str, tuple[str, list[tuple[str, float]], float, list[int] | None]] = {
    "sop": ("Adam", [("backbone", 1e-5), ("fc", 2e-5)], 1e-4, [30, 70]),
    "sop_deit": ("AdamW", [("all", 1e-5)], 5e-4, [25, 50]),
    "inaturalist": ("Adam", [("backbone", 1e-5), ("fc", 2e-5)], 4e-4, [30, 70]),
    "inaturalist_deit": ("AdamW", [("all", 1e-5)], 5e-4, [30, 70]),
    "cub": ("Adam", [("all", 1e-6)], 4e-4, None),
    "cub_deit": ("AdamW", [("all", 1e-6)], 5e-4, None),
    "inshop": ("Adam", [("backbone", 1e-5), ("fc", 2e-5)], 1e-4, None),
    "inshop_deit": ("AdamW", [("all", 1e-5)], 5e-4, None),
    "sfm120k_deit": ("AdamW", [("all", 1e-5)], 5e-4, None),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str) -> None:
    algorithm, rates, decay, milestones = OPTIMIZERS[name]
    schedule = None if milestones is None else {
        "name": "MultiStepLR",
        "kwargs": {"milestones": milestones, "gamma": 0.3},
    }  # fmt: skip
    assert [part.model_dump() for part in compose([f"optimizer={name}"]).optimizer] == [
        {
            "name": algorithm,
            "params": part,
            "kwargs": {"lr": rate, "weight_decay": decay},
            "scheduler_on_epoch": schedule,
            "scheduler_on_step": None,
            "scheduler_on_val": None,
        }
        for part, rate in rates
    ]
