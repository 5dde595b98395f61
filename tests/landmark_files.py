"""SfM-120k and Revisited Oxford and Paris as they are published, small and made here."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

INDEX = "retrieval-SfM-120k-imagenames-clusterids.mat"
CLUSTERS, IMAGES_A_CLUSTER = 12, 5
LANDMARKS, IMAGES_A_LANDMARK = 4, 6
BOX = [4.4, 3.6, 36.5, 27.5]  # Python's and PIL's rounding: 4, 4, 36, 28


def cid(number: int) -> str:
    """32 hexadecimal letters, as the real names."""
    return f"{number * 2654435761 % 2**32:08x}" * 4


def picture(seed: int, noise: int, width: int = 40, height: int = 32) -> np.ndarray:
    """(height, width, 3): every seed its own colours, every noise its own grain."""
    colours = np.random.default_rng(seed).integers(0, 256, (4, 4, 3))
    tiled = np.kron(colours, np.ones((height // 4, width // 4, 1)))
    grain = np.random.default_rng(1000 * seed + noise).normal(0, 20, tiled.shape)
    return np.clip(tiled + grain, 0, 255).astype(np.uint8)


def write_jpeg(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, format="JPEG", quality=95)


def write_sfm120k(root: Path, clusters: int = CLUSTERS) -> None:
    """The index and `ims`; clusters are numbered 3, 13, 23, ..."""
    count = clusters * IMAGES_A_CLUSTER
    names = [cid(number) for number in range(count)]
    cells = np.empty((1, count), dtype=object)
    cells[0] = names
    models = np.repeat(10 * np.arange(clusters) + 3, IMAGES_A_CLUSTER)
    root.mkdir(parents=True, exist_ok=True)
    savemat(root / INDEX, {"cids": cells, "cluster": models[None].astype(np.float64)})
    for number, name in enumerate(names):
        pixels = picture(number // IMAGES_A_CLUSTER, number)
        write_jpeg(root / "ims" / name[-2:] / name[-4:-2] / name[-6:-4] / name, pixels)


def ground_truth(name: str) -> dict[str, Any]:
    """Of each landmark two easy answers, one hard, one junk, and two that nobody labelled right: wrong."""
    gallery = [f"{name}_place{place}_{number:06d}" for place in range(LANDMARKS) for number in range(IMAGES_A_LANDMARK)]
    entries = []
    for place in range(LANDMARKS):
        start = place * IMAGES_A_LANDMARK
        entries.append({"bbx": BOX, "easy": [start, start + 1], "hard": [start + 2], "junk": [start + 3]})
    return {"imlist": gallery, "qimlist": [f"{name}_place{place}_999999" for place in range(LANDMARKS)], "gnd": entries}


def write_revisited(root: Path, name: str, protocol: int = 2) -> None:
    """root/name/gnd_name.pkl and root/name/jpg."""
    truth = ground_truth(name)
    for kind in ("imlist", "qimlist"):
        for number, image in enumerate(truth[kind]):
            seed = 50 + (number if kind == "qimlist" else number // IMAGES_A_LANDMARK)
            write_jpeg(root / name / "jpg" / f"{image}.jpg", picture(seed, number))
    (root / name / f"gnd_{name}.pkl").write_bytes(pickle.dumps(truth, protocol=protocol))


def write_landmarks(root: Path) -> Path:
    """All three, below root; returns it."""
    write_sfm120k(root)
    for name in ("roxford5k", "rparis6k"):
        write_revisited(root, name)
    return root
