"""The presets of data sets and transforms: the values that the paper's experiments ran with."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from trainables.data import build_transform
from trainables.registry import DATASETS, construct

CONFIG = Path(__file__).parents[3] / "trainables" / "config"
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
# preset -> first resize and crop of train, resize and crop of test
TRANSFORMS = {
    "sop": (256, 224, [256, 256], 224),
    "sop_big": (288, 256, [288, 288], 256),
    "cub": (None, 224, 256, 224),
    "cub_big": (None, 256, 288, 256),
    "inaturalist": (None, 224, 256, 224),
    "inshop_big": (None, 256, [288, 288], 256),
    "sfm120k": (None, 224, [224, 224], None),
}
HIERARCHICAL = {"batch_size": 128, "samples_per_class": 4, "batches_per_super_pair": 10, "nb_categories": 2}
PER_CLASS = {"batch_size": 128, "samples_per_class": 4}
SETS = {
    "sop": ("HierarchicalSampler", HIERARCHICAL, [1, 10, 100, 1000]),
    "inshop": (
        "HierarchicalSampler",
        {**HIERARCHICAL, "samples_per_class": 8, "batches_per_super_pair": 4},
        [1, 10, 20, 30],
    ),
    "cub": ("MPerClassSampler", PER_CLASS, [1, 2, 4, 8, 16, 32]),
    "inaturalist": ("MPerClassSampler", PER_CLASS, [1, 2, 4, 8, 16, 32]),
    "folder": ("MPerClassSampler", PER_CLASS, [1, 2, 4, 8, 16, 32]),
    "csv": ("MPerClassSampler", PER_CLASS, [1, 2, 4, 8, 16, 32]),
}


def preset(group: str, name: str) -> dict:  # type: ignore[type-arg]
    read = OmegaConf.to_container(OmegaConf.load(CONFIG / group / f"{name}.yaml"))
    assert isinstance(read, dict)
    return read


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name: str) -> None:
    first, crop, resized, centre = TRANSFORMS[name]
    steps = preset("transform", name)
    train = {"RandomResizedCrop": {"size": crop, "scale": [0.16, 1.0], "ratio": [0.75, 1.33]}}
    train = {"Resize": {"size": first}, **train} if first else train
    expected = {**train, "RandomHorizontalFlip": {"p": 0.5}, "ToTensor": None, "Normalize": IMAGENET}
    assert steps["train"] == expected and list(steps["train"]) == list(expected)
    test = {"Resize": {"size": resized}, **({"CenterCrop": {"size": centre}} if centre else {})}
    expected = {**test, "ToTensor": None, "Normalize": IMAGENET}
    assert steps["test"] == expected and list(steps["test"]) == list(expected)
    images = [torch.randint(0, 256, size, dtype=torch.uint8) for size in ((3, 300, 400), (3, 500, 260))]
    for part in ("train", "test"):
        transform = build_transform(steps[part])
        assert transform.equal_sizes and transform(images).shape == (2, 3, crop, crop)


def test_two_sizes_resize_to_exactly_those_and_one_to_the_shorter_side() -> None:
    image = torch.zeros(3, 100, 200, dtype=torch.uint8)
    image[:, :, 150:] = 255
    squeezed = build_transform({"Resize": {"size": [40, 40]}, "ToTensor": None})([image])
    assert squeezed.shape == (1, 3, 40, 40)
    assert squeezed[0, 0, 20, :28].max() == 0 and squeezed[0, 0, 20, 32:].min() == 1
    assert build_transform({"Resize": {"size": 40}, "ToTensor": None})([image]).shape == (1, 3, 40, 80)


@pytest.mark.parametrize("name", SETS)
def test_data_sets(name: str) -> None:
    sampler, kwargs, ks = SETS[name]
    read = preset("dataset", name)
    assert read["name"] == name and read["kwargs"]["data_dir"] is None
    assert read["sampler"] == {"name": sampler, "kwargs": kwargs}
    assert read["ks"] == ks and read["on_bad_image"] == "error"
    assert construct("dataset", DATASETS, read["name"], read["kwargs"]).name == name
