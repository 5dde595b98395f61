"""The five commands of the reference's README, as they stand there, and every value that they mean."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.trainables.data.miniatures import WRITERS
from trainables import compose
from trainables.__main__ import main
from trainables.experiment import Experiment

COMMANDS = {
    "sop": """
        'experience.experiment_name=sop_ROADMAP_${dataset.sampler.kwargs.batch_size}_sota' experience.seed=333
        experience.max_iter=100 'experience.log_dir=${env:HOME}experiments/ROADMAP' optimizer=sop model=resnet
        transform=sop_big dataset=sop dataset.sampler.kwargs.batch_size=128
        dataset.sampler.kwargs.batches_per_super_pair=10 loss=roadmap""",
    "sop_deit": """
        'experience.experiment_name=sop_ROADMAP_${dataset.sampler.kwargs.batch_size}_DeiT' experience.seed=333
        experience.max_iter=75 'experience.log_dir=${env:HOME}/experiments/ROADMAP' optimizer=sop_deit model=deit
        transform=sop dataset=sop dataset.sampler.kwargs.batch_size=128
        dataset.sampler.kwargs.batches_per_super_pair=10 loss=roadmap""",
    "inaturalist": """
        'experience.experiment_name=inat_ROADMAP_${dataset.sampler.kwargs.batch_size}_sota' experience.seed=333
        experience.max_iter=90 'experience.log_dir=experiments/ROADMAP' optimizer=inaturalist model=resnet
        transform=inaturalist dataset=inaturalist dataset.sampler.kwargs.batch_size=384 loss=roadmap_inat""",
    "cub": """
        'experience.experiment_name=cub_ROADMAP_${dataset.sampler.kwargs.batch_size}_sota' experience.seed=333
        experience.max_iter=200 'experience.log_dir=${env:HOME}/experiments/ROADMAP' optimizer=cub
        model=resnet_max_ln transform=cub_big dataset=cub dataset.sampler.kwargs.batch_size=128 loss=roadmap""",
    "cub_deit": """
        'experience.experiment_name=cub_ROADMAP_${dataset.sampler.kwargs.batch_size}_sota_DeiT' experience.seed=333
        experience.max_iter=150 'experience.log_dir=${env:HOME}/experiments/ROADMAP' optimizer=cub_deit model=deit
        transform=cub dataset=cub dataset.sampler.kwargs.batch_size=128 loss=roadmap""",
}

EXPERIENCE: dict[str, Any] = {
    "seed": 333,
    "resume": None,
    "maybe_resume": False,
    "force_lr": False,
    "warm_up": -1,
    "warm_up_key": "fc",
    "train_eval_freq": -1,
    "val_eval_freq": 1,
    "test_eval_freq": 5,
    "eval_split": None,
    "eval_bs": 96,
    "save_model": 50,
    "principal_metric": "map_at_r",
    "with_AP": False,
    "landmarks": False,
    "log_grad": False,
    "clip_grad": None,
    "holdout": None,
    "kfold": None,
    "split": None,
    "split_random_state": 0,
    "with_super_labels": False,
    "closed_set": False,
    "sub_batch": 128,
    "update_type": "base",
    "num_workers": 16,
    "num_threads": None,
    "pin_memory": True,
    "amp_dtype": "bfloat16",
    "channels_last": False,
    "compile": False,
}
NO_MEMORY = {"name": None, "kwargs": {}, "weight": 1.0, "activate_after": -1}
PER_CLASS = {"name": "MPerClassSampler", "kwargs": {"batch_size": 128, "samples_per_class": 4}}
FEW_KS, MANY_KS = (1, 2, 4, 8, 16, 32), (1, 10, 100, 1000)
SOP = {
    "name": "sop",
    "sampler": {
        "name": "HierarchicalSampler",
        "kwargs": {"batch_size": 128, "samples_per_class": 4, "batches_per_super_pair": 10, "nb_categories": 2},
    },
    "on_bad_image": "error",
    "cache": None,
    "ks": MANY_KS,
}
CUB = {"name": "cub", "sampler": PER_CLASS, "on_bad_image": "error", "cache": None, "ks": FEW_KS}
INATURALIST = {
    "name": "inaturalist",
    "sampler": {"name": "MPerClassSampler", "kwargs": {"batch_size": 384, "samples_per_class": 4}},
    "on_bad_image": "error",
    "cache": None,
    "ks": FEW_KS,
}
CALIBRATION = {"name": "CalibrationLoss", "weight": 1.0, "kwargs": {"pos_margin": 0.9, "neg_margin": 0.6}}
ROADMAP = (
    CALIBRATION,
    {
        "name": "SupAP",
        "weight": 1.0,
        "kwargs": {"tau": 0.01, "rho": 100.0, "delta": 0.05, "offset": 1.44, "start": 0.5},
    },
)
ROADMAP_INAT = (
    CALIBRATION,
    {
        "name": "SupAP",
        "weight": 1.0,
        "kwargs": {"tau": 0.01, "rho": 100.0, "delta": 0.05, "offset": 1.0, "start": 0.0},
    },
)
RESNET = {
    "name": "RetrievalNet",
    "kwargs": {
        "backbone_name": "resnet50",
        "embed_dim": 512,
        "pooling": "avg",
        "norm_features": False,
        "without_fc": False,
        "pretrained": True,
        "with_autocast": True,
    },
    "freeze_batch_norm": True,
}
RESNET_MAX_LN = {**RESNET, "kwargs": {**RESNET["kwargs"], "pooling": "max", "norm_features": True}}  # type: ignore[dict-item]
DEIT = {
    "name": "RetrievalNet",
    "kwargs": {
        "backbone_name": "vit_deit_distilled",
        "embed_dim": 384,
        "norm_features": False,
        "without_fc": True,
        "pretrained": True,
        "with_autocast": True,
    },
}


def optimizer(name: str, params: str, lr: float, weight_decay: float, milestones: list[int] | None) -> dict[str, Any]:
    schedule = {"name": "MultiStepLR", "kwargs": {"milestones": milestones, "gamma": 0.3}}
    return {
        "name": name,
        "params": params,
        "kwargs": {"lr": lr, "weight_decay": weight_decay},
        "scheduler_on_epoch": schedule if milestones else None,
        "scheduler_on_step": None,
        "scheduler_on_val": None,
    }


NORMALIZE = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def training(crop: int, **first: Any) -> dict[str, Any]:
    return {
        **first,
        "RandomResizedCrop": {"size": crop, "scale": [0.16, 1.0], "ratio": [0.75, 1.33]},
        "RandomHorizontalFlip": {"p": 0.5},
        "ToTensor": None,
        "Normalize": NORMALIZE,
    }


def evaluation(resize: int | list[int], crop: int) -> dict[str, Any]:
    return {"Resize": {"size": resize}, "CenterCrop": {"size": crop}, "ToTensor": None, "Normalize": NORMALIZE}


EXPERIMENTS: dict[str, dict[str, Any]] = {
    "sop": {
        "experience": {
            **EXPERIENCE,
            "experiment_name": "sop_ROADMAP_128_sota",
            "log_dir": "/home/someoneexperiments/ROADMAP",  # as it is written there
            "max_iter": 100,
        },
        "dataset": SOP,
        "loss": ROADMAP,
        "memory": NO_MEMORY,
        "model": RESNET,
        "optimizer": (
            optimizer("Adam", "backbone", 1e-5, 1e-4, [30, 70]),
            optimizer("Adam", "fc", 2e-5, 1e-4, [30, 70]),
        ),
        "transform": {"train": training(256, Resize={"size": 288}), "test": evaluation([288, 288], 256)},
    },
    "sop_deit": {
        "experience": {
            **EXPERIENCE,
            "experiment_name": "sop_ROADMAP_128_DeiT",
            "log_dir": "/home/someone/experiments/ROADMAP",
            "max_iter": 75,
        },
        "dataset": SOP,
        "loss": ROADMAP,
        "memory": NO_MEMORY,
        "model": DEIT,
        "optimizer": (optimizer("AdamW", "all", 1e-5, 5e-4, [25, 50]),),
        "transform": {"train": training(224, Resize={"size": 256}), "test": evaluation([256, 256], 224)},
    },
    "inaturalist": {
        "experience": {
            **EXPERIENCE,
            "experiment_name": "inat_ROADMAP_384_sota",
            "log_dir": "experiments/ROADMAP",
            "max_iter": 90,
        },
        "dataset": INATURALIST,
        "loss": ROADMAP_INAT,
        "memory": NO_MEMORY,
        "model": RESNET,
        "optimizer": (
            optimizer("Adam", "backbone", 1e-5, 4e-4, [30, 70]),
            optimizer("Adam", "fc", 2e-5, 4e-4, [30, 70]),
        ),
        "transform": {"train": training(224), "test": evaluation(256, 224)},
    },
    "cub": {
        "experience": {
            **EXPERIENCE,
            "experiment_name": "cub_ROADMAP_128_sota",
            "log_dir": "/home/someone/experiments/ROADMAP",
            "max_iter": 200,
        },
        "dataset": CUB,
        "loss": ROADMAP,
        "memory": NO_MEMORY,
        "model": RESNET_MAX_LN,
        "optimizer": (optimizer("Adam", "all", 1e-6, 4e-4, None),),
        "transform": {"train": training(256), "test": evaluation(288, 256)},
    },
    "cub_deit": {
        "experience": {
            **EXPERIENCE,
            "experiment_name": "cub_ROADMAP_128_sota_DeiT",
            "log_dir": "/home/someone/experiments/ROADMAP",
            "max_iter": 150,
        },
        "dataset": CUB,
        "loss": ROADMAP,
        "memory": NO_MEMORY,
        "model": DEIT,
        "optimizer": (optimizer("AdamW", "all", 1e-6, 5e-4, None),),
        "transform": {"train": training(224), "test": evaluation(256, 224)},
    },
}


def composed(name: str, monkeypatch: pytest.MonkeyPatch, *more: str) -> Experiment:
    monkeypatch.setenv("HOME", "/home/someone")
    return compose([*shlex.split(COMMANDS[name]), *more])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_the_experiment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = composed(name, monkeypatch).model_dump()
    # where data lie, and what a network has beside the published settings, is not the reference's to say
    del found["dataset"]["kwargs"]
    model = EXPERIMENTS[name]["model"]
    found["model"] = {key: found["model"][key] for key in model}
    found["model"]["kwargs"] = {key: found["model"]["kwargs"][key] for key in model["kwargs"]}
    assert found == EXPERIMENTS[name]
    for part in ("train", "test"):
        assert list(found["transform"][part]) == list(EXPERIMENTS[name]["transform"][part]), "the steps have an order"


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_touches_a_file(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(tmp_path / "nowhere"))
    experiment = composed(name, monkeypatch)
    assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment
    assert not list(tmp_path.iterdir())


def test_members_of_lists_go_by_their_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = composed("sop", monkeypatch, "loss.1.kwargs.tau=0.02", "optimizer.0.kwargs.lr=1e-4")
    assert experiment.loss[1].kwargs["tau"] == 0.02
    assert [part.kwargs["lr"] for part in experiment.optimizer] == [1e-4, 2e-5]


def test_the_name_follows_the_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = composed("cub", monkeypatch, "dataset.sampler.kwargs.batch_size=64")
    assert experiment.experience.experiment_name == "cub_ROADMAP_64_sota"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_trains_on_a_miniature_of_its_data(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything as the command says, pixels too, but a small network, a small batch, one epoch."""
    monkeypatch.setenv("HOME", str(tmp_path / "home-"))
    monkeypatch.chdir(tmp_path)
    dataset = name.partition("_")[0]
    folder = WRITERS[dataset](tmp_path / "data")
    small = [
        "model.kwargs.backbone_name=conv4",
        "model.kwargs.pretrained=false",
        "dataset.sampler.kwargs.batch_size=16",
    ]
    once = ["experience.max_iter=1", "experience.test_eval_freq=1", f"dataset.kwargs.data_dir={folder}"]
    assert main([*shlex.split(COMMANDS[name]), *small, *once, "experience.num_workers=0"]) == 0
    said = capsys.readouterr().err
    assert "epoch 1/1" in said and "test/recall_at_1" in said
    (report,) = [json.loads(line) for line in next(tmp_path.rglob("reports.jsonl")).read_text().splitlines()]
    assert {"train/SupAP", "train/CalibrationLoss", "test/map_at_r"} <= set(report)
    named = compose([*shlex.split(COMMANDS[name]), *small]).experience.experiment_name
    assert next(tmp_path.rglob("last.ckpt")).parent.parent.name == named
