"""SfM-120k and Revisited Oxford and Paris in their published formats, and every way in which they can be incomplete."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from tests.landmark_files import (
    BOX,
    CLUSTERS,
    IMAGES_A_CLUSTER,
    INDEX,
    cid,
    ground_truth,
    write_landmarks,
    write_revisited,
)
from trainables.data import RetrievalSplit, Sfm120k
from trainables.data.files import BadImage, FileImages
from trainables.data.landmarks import CroppedImages
from trainables.data.revisited import revisited
from trainables.data.sfm120k import image_path
from trainables.errors import UserError


@pytest.fixture(scope="module")
def landmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_landmarks(tmp_path_factory.mktemp("landmarks"))


@pytest.fixture
def copy(landmarks: Path, tmp_path: Path) -> Path:
    """One to break."""
    return Path(shutil.copytree(landmarks, tmp_path / "copy"))


def pixels(file: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)


def refused(call: Any, *arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_train_images_lie_where_their_last_letters_say(landmarks: Path) -> None:
    assert image_path("0000ab12cdef34567890a1b2c3") == "c3/b2/a1/0000ab12cdef34567890a1b2c3"
    images = Sfm120k(str(landmarks)).train()
    assert len(images) == CLUSTERS * IMAGES_A_CLUSTER
    for row in (0, 7, len(images) - 1):
        name = cid(row)
        file = landmarks / "ims" / name[-2:] / name[-4:-2] / name[-6:-4] / name
        assert torch.equal(images.source[int(images.rows[row])], pixels(file))


def test_the_cluster_is_the_class(landmarks: Path) -> None:
    images = Sfm120k(str(landmarks)).train()
    assert images.labels.tolist() == np.repeat(np.arange(CLUSTERS), IMAGES_A_CLUSTER).tolist()
    assert images.class_names[:3] == ("3", "13", "23") and images.super_labels is None


@pytest.mark.parametrize("shape", ["column", "characters", "struct"])
def test_the_index_in_other_shapes_is_the_same(shape: str, landmarks: Path, copy: Path) -> None:
    expected = Sfm120k(str(landmarks))
    names = [cid(number) for number in range(CLUSTERS * IMAGES_A_CLUSTER)]
    cells = np.empty((len(names), 1), dtype=object)
    cells[:, 0] = names
    clusters = np.array([[int(expected.train().class_names[label])] for label in expected.train().labels])
    train = {"cids": np.array(names) if shape == "characters" else cells, "cluster": clusters.astype(np.int32)}
    savemat(copy / INDEX, {"train": train, "val": {"cids": cells[:2]}} if shape == "struct" else train)
    found = Sfm120k(str(copy))
    assert found.fingerprint == expected.fingerprint
    assert found.train().labels.tolist() == expected.train().labels.tolist()


def test_the_test_splits_are_oxford_and_paris(landmarks: Path) -> None:
    splits = Sfm120k(str(landmarks)).test()
    assert [split.name for split in splits] == ["roxford5k", "rparis6k"]
    assert [split.name for split in Sfm120k(str(landmarks), ["rparis6k"]).test()] == ["rparis6k"]
    assert Sfm120k(str(landmarks), []).test() == ()


def test_a_landmark_split_is_a_retrieval_split_with_a_ground_truth(landmarks: Path) -> None:
    split = revisited(landmarks, "rparis6k")
    assert type(split) is RetrievalSplit and split.gallery is not None and split.ground_truth is not None
    assert (len(split.query), len(split.gallery)) == (4, 24)
    assert [own.tolist() for own in split.ground_truth.easy] == [[0, 1], [6, 7], [12, 13], [18, 19]]
    assert [own.tolist() for own in split.ground_truth.hard] == [[2], [8], [14], [20]]
    assert [own.tolist() for own in split.ground_truth.junk] == [[3], [9], [15], [21]]
    assert all(own.dtype == np.int64 for own in split.ground_truth.easy)
    assert [split.query.class_names[label] for label in split.query.labels] == [f"rparis6k_place{i}" for i in range(4)]
    assert split.gallery.labels.tolist() == np.repeat(np.arange(4), 6).tolist()


def test_queries_are_cut_to_their_box_as_pil_does(landmarks: Path) -> None:
    split = revisited(landmarks, "roxford5k")
    assert split.gallery is not None
    file = landmarks / "roxford5k" / "jpg" / "roxford5k_place1_999999.jpg"
    cut = np.array(Image.open(file).crop(tuple(BOX)))  # type: ignore[arg-type]
    assert cut.shape == (24, 32, 3)
    assert torch.equal(split.query.source[1], torch.from_numpy(cut).permute(2, 0, 1))
    assert not split.query.source.in_memory
    whole = landmarks / "roxford5k" / "jpg" / "roxford5k_place0_000001.jpg"
    assert torch.equal(split.gallery.source[1], pixels(whole))


def test_a_box_ends_at_the_edge_of_its_image(landmarks: Path) -> None:
    files = FileImages(landmarks / "roxford5k" / "jpg", ["roxford5k_place0_999999.jpg"])
    over = CroppedImages(files, np.array([[-3.0, 10, 90, 90]]))
    assert torch.equal(over[0], files[0][:, 10:, :])
    outside = CroppedImages(files, np.array([[50.0, 0, 60, 10]]))
    assert "lies outside its 40 x 32 pixels" in refused(outside.__getitem__, 0)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_ground_truths_of_lists_and_of_arrays_are_the_same(protocol: int, copy: Path) -> None:
    expected = revisited(copy, "rparis6k")
    truth = ground_truth("rparis6k")
    for entry in truth["gnd"]:
        entry.update({key: np.array(value) for key, value in entry.items()})
    truth["gnd"][0]["junk"] = np.array([])  # as numpy makes it: of floats
    (copy / "rparis6k" / "gnd_rparis6k.pkl").write_bytes(pickle.dumps(truth, protocol=protocol))
    found = revisited(copy, "rparis6k")
    assert found.ground_truth is not None and expected.ground_truth is not None
    for kind in ("easy", "hard", "junk"):
        for query, own in enumerate(getattr(found.ground_truth, kind)):
            known = getattr(expected.ground_truth, kind)[query].tolist()
            assert own.tolist() == ([] if (query, kind) == (0, "junk") else known)
    assert torch.equal(found.query.source[2], expected.query.source[2])


def test_everything_that_is_there_is_enough(landmarks: Path) -> None:
    told = []
    Sfm120k(str(landmarks)).ensure(lambda what, done, total: told.append((what, done, total)))
    assert told == [("sfm120k", 60, 60)]


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (INDEX, f"/{INDEX} is missing: http://cmp.felk.cvut.cz/cnnimageretrieval/data/train/ims/{INDEX}"),
        ("ims", "/ims is missing: http://cmp.felk.cvut.cz/cnnimageretrieval/data/train/ims/ims.tar.gz"),
        ("roxford5k", "revisitop/data/datasets/roxford5k/gnd_roxford5k.pkl"),
        ("rparis6k/gnd_rparis6k.pkl", "revisitop/data/datasets/rparis6k/gnd_rparis6k.pkl"),
        (
            "rparis6k/jpg",
            "/rparis6k/jpg is missing: https://www.robots.ox.ac.uk/~vgg/data/parisbuildings/paris_1-v1.tgz",
        ),
        ("roxford5k/jpg/roxford5k_place2_000003.jpg", "1 of 28 images are missing, the first is"),
        ("rparis6k/jpg/rparis6k_place2_999999.jpg", "dataset.kwargs.test_sets names the sets"),
        (f"ims/{image_path(cid(5))}", "is missing (1 of 60 images of sfm120k are, http://cmp.felk.cvut.cz"),
    ],
)
def test_what_is_missing_is_named_with_where_to_get_it(gone: str, said: str, copy: Path) -> None:
    file = copy / gone
    shutil.rmtree(file) if file.is_dir() else file.unlink()
    told = refused(Sfm120k(str(copy)).ensure)
    assert said in told and str(copy) in told


def test_a_train_image_may_be_left_out_and_not_all_of_them(copy: Path) -> None:
    (copy / "ims" / image_path(cid(5))).unlink()
    with pytest.raises(BadImage):
        Sfm120k(str(copy)).ensure()
    shutil.rmtree(copy / "ims")
    (copy / "ims").mkdir()
    with pytest.raises(UserError, match="60 of 60 images") as caught:
        Sfm120k(str(copy)).ensure()
    assert not isinstance(caught.value, BadImage)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cids": None}, "has no 'cids'"),
        ({"cluster": None}, "has no 'cluster'"),
        ({"cluster": np.arange(3)}, "60 cids and 3 clusters"),
        ({"cluster": np.full((1, 60), 0.5)}, "whole numbers"),
        ({"cids": np.array(["../../../../etc"] * 60, dtype=object)}, "'../../../../etc' is no name of an image"),
        ({"cids": np.array(["ab"] * 60, dtype=object)}, "'ab' is no name of an image"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(change: dict[str, Any], said: str, copy: Path) -> None:
    cells = np.array([cid(number) for number in range(60)], dtype=object)
    content = {"cids": cells, "cluster": np.arange(60), **change}
    savemat(copy / INDEX, {key: value for key, value in content.items() if value is not None})
    assert said in refused(Sfm120k(str(copy)).train)


@pytest.mark.parametrize("content", [b"", b"not a .mat file", b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"])
def test_a_file_that_is_no_mat_file_is_refused(content: bytes, copy: Path) -> None:
    (copy / INDEX).write_bytes(content)
    assert "cannot be read as a .mat file" in refused(Sfm120k(str(copy)).train)


def broken(**change: Any) -> dict[str, Any]:
    truth = ground_truth("rparis6k")
    truth["gnd"][1] = {key: value for key, value in {**truth["gnd"][1], **change}.items() if value is not None}
    return truth


def nested(depth: int) -> list[Any]:
    """2^depth leaves in a few bytes: whoever prints it never ends."""
    tree: list[Any] = []
    for _ in range(depth):
        tree = [tree, tree]
    return tree


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        ([1, 2], "'imlist' is missing"),
        ({"imlist": ["a"], "qimlist": ["b"]}, "'gnd' is missing"),
        ({**broken(), "gnd": broken()["gnd"][:2]}, "gnd needs an entry for each of the 4 queries"),
        ({**broken(), "imlist": ["../secret"]}, "'../secret', which is no name of an image"),
        ({**broken(), "qimlist": []}, "qimlist must be a list of names"),
        (broken(bbx=None), "'bbx' is missing"),
        (broken(bbx=[1, 2, 3]), "bbx of query 1 must be four numbers"),
        (broken(bbx=[1, 2, 3, float("nan")]), "bbx of query 1 must be four numbers"),
        (broken(bbx=[1, 2, 3, 10**400]), "is no ground truth"),
        (broken(bbx=[9, 2, 3, 8]), "bbx of query 1 encloses nothing"),
        (broken(bbx="1 2 3 4"), "is no list of numbers"),
        (broken(easy=None), "'easy' is missing"),
        (broken(easy=[24]), "an answer is 24, none of the 24 positions"),
        (broken(easy=[-1]), "an answer is -1, none of the 24 positions"),
        (broken(easy=[2**70]), "none of the 24 positions"),
        (broken(easy=np.array([1.5])), "an answer is 1.5"),
        (broken(easy=["a"]), "is no list of numbers"),
        (broken(easy=nested(60)), "is no list of numbers"),
        (broken(easy=[10**5000]), "is no ground truth"),
        ({**broken(), "imlist": nested(60)}, "imlist holds a list"),
        (broken(junk=[6]), "query 1 judges an image of the gallery twice"),
        ({**broken(), "gnd": [{**entry, "hard": []} for entry in broken()["gnd"]]}, "no query has an answer in 'hard'"),
    ],
)
def test_a_ground_truth_that_does_not_fit_is_refused(truth: Any, said: str, copy: Path) -> None:
    file = copy / "rparis6k" / "gnd_rparis6k.pkl"
    file.write_bytes(pickle.dumps(truth))
    told = refused(revisited, copy, "rparis6k")
    assert said in told and str(file) in told


def test_a_malicious_ground_truth_is_refused_before_anything_of_it_is_run(copy: Path) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return Path.touch, (copy / "was-run",)

    file = copy / "roxford5k" / "gnd_roxford5k.pkl"
    file.write_bytes(pickle.dumps({**ground_truth("roxford5k"), "cfg": Runs()}))
    assert "it is not data, and nothing of it was run" in refused(revisited, copy, "roxford5k")
    assert not (copy / "was-run").exists()


def test_a_broken_image_is_named(copy: Path) -> None:
    file = copy / "rparis6k" / "jpg" / "rparis6k_place0_000000.jpg"
    file.write_bytes(b"no image")
    gallery = revisited(copy, "rparis6k").gallery
    assert gallery is not None
    with pytest.raises(UserError, match=file.name):
        gallery.source[0]


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"test_sets": ["oxford"]}, "unknown test set 'oxford', did you mean 'roxford5k'"),
        ({"test_sets": "rparis6k"}, "test_sets must be a list"),
        ({"test_sets": ["rparis6k", "rparis6k"]}, "named twice"),
    ],
)
def test_settings_are_checked_without_a_file(kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Sfm120k("/nowhere", **kwargs)


def test_the_default_folder_is_beside_the_other_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(tmp_path))
    assert Sfm120k().folder == tmp_path / "sfm120k"
    write_revisited(tmp_path / "sfm120k", "rparis6k")
    assert len(Sfm120k(test_sets=["rparis6k"]).test()) == 1
