"""Miniature copies of the data sets, in the exact formats that their homes give them out in."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES, IMAGES_A_CLASS, SUPERS = 8, 6, ("Albatross", "Gull")


def picture(path: Path, label: int, seed: int) -> None:
    """A class's pattern with noise, of a size and shape of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pattern = np.random.default_rng(label).integers(0, 256, (3, 4, 3))
    noise = np.random.default_rng([label, seed])
    height, width = 36 + 4 * (seed % 3), 40 + 4 * (seed % 2)
    large = np.asarray(Image.fromarray(pattern.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST))
    Image.fromarray(np.clip(large + noise.normal(0, 30, large.shape), 0, 255).astype(np.uint8)).save(path, quality=95)


def write_sop(folder: Path) -> Path:
    """Ebay_{train,test}.txt and SUPER_final/ITEM_NUMBER.JPG."""
    number = 0
    for split, first in (("train", 1), ("test", 1 + CLASSES)):
        lines = ["image_id class_id super_class_id path"]
        for label in range(first, first + CLASSES):
            above = 1 + label % 2
            for seed in range(IMAGES_A_CLASS):
                number += 1
                path = f"{('bicycle', 'cabinet')[above - 1]}_final/1110850{label:05d}_{seed}.JPG"
                picture(folder / path, label, seed)
                lines.append(f"{number} {label} {above} {path}")
        (folder / f"Ebay_{split}.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_cub(folder: Path) -> Path:
    """classes.txt and images/NUMBER.Name_of_Bird/Name_of_Bird_0001_796111.jpg."""
    lines = []
    for label in range(2 * CLASSES):
        species = f"{label + 1:03d}.Kind{label}_{SUPERS[label % 2]}"
        lines.append(f"{label + 1} {species}")
        for seed in range(IMAGES_A_CLASS):
            picture(folder / "images" / species / f"Kind{label}_{seed:04d}_79{seed}.jpg", label, seed)
    (folder / "classes.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_inaturalist(folder: Path) -> Path:
    """Inat_dataset_splits, train_val2018/SUPER/CLASS/HASH.jpg and the categories of train2018.json."""
    categories = []
    for split, first in (("train", 0), ("test", CLASSES)):
        lines = []
        for label in range(first, first + CLASSES):
            above = ("Aves", "Insecta")[label % 2]
            categories.append({"id": label, "name": str(label), "supercategory": above, "order": f"order{label % 3}"})
            for seed in range(IMAGES_A_CLASS):
                path = f"train_val2018/{above}/{label}/{label:04x}{seed:04x}.jpg"
                picture(folder / path, label, seed)
                lines.append(path)
        lists = folder / "Inat_dataset_splits"
        lists.mkdir(exist_ok=True)
        (lists / f"Inaturalist_{split}_set1.txt").write_text("\n".join(lines) + "\n")
    (folder / "train2018.json").write_text(json.dumps({"images": [], "categories": categories}))
    return folder


def write_inshop(folder: Path) -> Path:
    """list_eval_partition.txt with its two header lines, and img/GENDER/KIND/ITEM/PICTURE.jpg."""
    rows = []
    for label in range(2 * CLASSES):
        item, kind = f"id_{label:08d}", ("WOMEN/Dresses", "MEN/Denim")[label % 2]
        for seed in range(IMAGES_A_CLASS):
            path = f"img/{kind}/{item}/{seed:02d}_1_front.jpg"
            picture(folder / path, label, seed)
            use = "train" if label < CLASSES else ("query", "gallery")[seed % 2]
            rows.append(f"{path:<70} {item}   {use}")
    header = [str(len(rows)), "image_name item_id evaluation_status"]
    (folder / "list_eval_partition.txt").write_text("\n".join([*header, *rows]) + "\n")
    return folder


def write_folder(folder: Path, below: str = "", classes: range = range(2 * CLASSES)) -> Path:
    """CLASS/FILE."""
    for label in classes:
        for seed in range(IMAGES_A_CLASS):
            picture(folder / below / f"class {label:02d}" / f"{seed}.jpg", label, seed)
    return folder


def write_csv(folder: Path, split: bool = True) -> Path:
    """images.csv beside the pictures that it lists."""
    lines = ["path,label,super_label" + (",split" if split else "")]
    for label in range(2 * CLASSES):
        for seed in range(IMAGES_A_CLASS):
            picture(folder / f"p/{label}-{seed}.jpg", label, seed)
            use = "train" if label < CLASSES else ("query", "gallery")[seed % 2]
            lines.append(f"p/{label}-{seed}.jpg,c{label},{SUPERS[label % 2]}" + (f",{use}" if split else ""))
    (folder / "images.csv").write_text("\n".join(lines) + "\n")
    return folder


WRITERS = {
    "sop": write_sop,
    "cub": write_cub,
    "inaturalist": write_inaturalist,
    "inshop": write_inshop,
    "folder": write_folder,
    "csv": write_csv,
}
