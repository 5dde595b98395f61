"""The data sets of the field, read from miniature copies in their own formats."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.trainables.data.miniatures import (
    CLASSES,
    IMAGES_A_CLASS,
    WRITERS,
    write_cub,
    write_inaturalist,
    write_inshop,
)
from trainables.data import (
    CUB200,
    BadImage,
    FileDataset,
    FileImages,
    INaturalist,
    InShop,
    LabelledImages,
    StanfordOnlineProducts,
    data_root,
    image_sets,
    summary,
)
from trainables.errors import UserError
from trainables.registry import DATASETS

OFFICIAL = [name for name, kind in DATASETS.items() if issubclass(kind, FileDataset) and kind.official]
SPLIT = CLASSES * IMAGES_A_CLASS


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Name -> the folder of its miniature, written once."""
    root = tmp_path_factory.mktemp("sets")

    def folder(name: str) -> str:
        if not (root / name).exists():
            WRITERS[name](root / name)
        return str(root / name)

    return folder


def paths(images: LabelledImages) -> list[str]:
    assert isinstance(images.source, FileImages)
    return [images.source.listed(int(row)) for row in images.rows]


def names(images: LabelledImages) -> list[str]:
    return [images.class_names[label] for label in images.labels]


@pytest.mark.parametrize("name", WRITERS)
def test_classes_are_disjoint_and_images_are_of_their_class(written: Callable[[str], str], name: str) -> None:
    dataset = DATASETS[name](written(name))
    dataset.ensure()
    sets = image_sets(dataset)
    assert set(sets["train"].labels).isdisjoint(set(np.concatenate([s.labels for s in list(sets.values())[1:]])))
    assert sum(map(len, sets.values())) == 2 * SPLIT and len(sets["train"]) == SPLIT
    for images in sets.values():
        assert images.labels.dtype == np.int64 and set(np.unique(images.labels, return_counts=True)[1]) <= {3, 6}
        assert images.source[int(images.rows[0])].shape[0] == 3
        if images.super_labels is not None:
            above = dict(zip(images.labels, images.super_labels, strict=True))
            assert all(above[label] == one for label, one in zip(images.labels, images.super_labels, strict=True))
            assert len(set(above.values())) == 2


def test_sop_reads_the_columns_of_its_lists(written: Callable[[str], str]) -> None:
    dataset = StanfordOnlineProducts(written("sop"))
    train, test = dataset.train(), dataset.test()[0]
    assert paths(train)[:2] == ["cabinet_final/111085000001_0.JPG", "cabinet_final/111085000001_1.JPG"]
    assert names(train) == [str(label) for label in range(1, 9) for _ in range(6)]
    assert names(test.query)[0] == "9" and test.name == "test" and test.gallery is None
    assert train.super_labels is not None and test.query.super_labels is not None
    assert train.super_labels[0] == test.query.super_labels[0] != train.super_labels[6]


def test_cub_trains_on_the_first_half_of_the_species_and_its_super_class_is_the_last_word(tmp_path: Path) -> None:
    dataset = CUB200(str(write_cub(tmp_path)))
    train, test = dataset.train(), dataset.test()[0].query
    assert set(names(train)) == {f"{n + 1:03d}.Kind{n}_{('Albatross', 'Gull')[n % 2]}" for n in range(8)}
    assert train.super_labels is not None and test.super_labels is not None
    gulls = {name for name, above in zip(names(train), train.super_labels, strict=True) if above == 1}
    assert len(gulls) == 4 and all(name.endswith("_Gull") for name in gulls)
    assert set(test.super_labels) == {0, 1}
    (tmp_path / "images" / "300.Moon_Gull").mkdir()
    with pytest.raises(UserError, match=r"images/300.Moon_Gull is not a class of"):
        CUB200(str(tmp_path)).train()


def test_inaturalist_takes_classes_from_the_path_and_super_classes_from_there_or_a_rank(tmp_path: Path) -> None:
    write_inaturalist(tmp_path)
    train = INaturalist(str(tmp_path)).train()
    assert names(train)[:1] == ["0"] and len(set(train.super_labels)) == 2  # type: ignore[arg-type]
    by_order = INaturalist(str(tmp_path), super_class="order").train()
    assert len(set(by_order.super_labels)) == 3  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no family for class 0"):
        INaturalist(str(tmp_path), super_class="family").train()
    with pytest.raises(UserError, match="did you mean 'order'"):
        INaturalist(str(tmp_path), super_class="ordre")
    (tmp_path / "train2018.json").write_text(json.dumps({"images": []}))
    with pytest.raises(UserError, match="no list of categories"):
        INaturalist(str(tmp_path), super_class="order").train()
    assert len(INaturalist(str(tmp_path)).train()) == SPLIT


def test_inshop_has_queries_and_a_gallery(written: Callable[[str], str]) -> None:
    dataset = InShop(written("inshop"))
    (split,) = dataset.test()
    assert split.gallery is not None and len(split.query) == len(split.gallery) == SPLIT // 2
    assert set(split.query.labels) == set(split.gallery.labels)
    assert not set(paths(split.query)) & set(paths(split.gallery))
    assert paths(dataset.train())[0] == "img/WOMEN/Dresses/id_00000000/00_1_front.jpg"


def test_inshop_is_found_as_the_official_archives_unpack_too(tmp_path: Path) -> None:
    write_inshop(tmp_path / "flat")
    (tmp_path / "official" / "Eval").mkdir(parents=True)
    (tmp_path / "official" / "Img").mkdir()
    (tmp_path / "flat" / "list_eval_partition.txt").rename(tmp_path / "official/Eval/list_eval_partition.txt")
    (tmp_path / "flat" / "img").rename(tmp_path / "official/Img/img")
    dataset = InShop(str(tmp_path / "official"))
    dataset.ensure()
    assert paths(dataset.train())[0].startswith("Img/img/WOMEN")


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_missing_is_named_with_where_to_get_it(tmp_path: Path, name: str) -> None:
    dataset = DATASETS[name](str(tmp_path / "nothing"))
    for ask in (dataset.ensure, dataset.train, dataset.test, lambda: dataset.fingerprint):
        with pytest.raises(UserError) as caught:
            ask()
        told = str(caught.value)
        assert told.startswith(f"{name}: {tmp_path / 'nothing'}") and dataset.home in told and "\n" not in told
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", OFFICIAL)
def test_missing_images_are_found_before_anything_is_trained(tmp_path: Path, name: str) -> None:
    dataset = DATASETS[name](str(WRITERS[name](tmp_path)))
    gone = tmp_path / paths(dataset.train())[7]
    gone.unlink()
    if name != "cub":  # whose manifest is the folder itself
        with pytest.raises(BadImage, match=rf"{gone.name} is missing \(1 of 96 images of {name} are\)"):
            DATASETS[name](str(tmp_path)).ensure()


def test_pictures_that_were_never_unpacked_are_one_error(tmp_path: Path) -> None:
    WRITERS["sop"](tmp_path / "whole")
    (tmp_path / "lists").mkdir()
    for file in (tmp_path / "whole").glob("*.txt"):
        file.rename(tmp_path / "lists" / file.name)
    with pytest.raises(UserError, match=r"none of its 96 images is there.*lifted_struct"):
        StanfordOnlineProducts(str(tmp_path / "lists")).ensure()


def test_the_constructor_touches_no_file_and_the_default_folder_is_the_data_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(tmp_path / "root"))
    for name in WRITERS:
        assert DATASETS[name]().folder == data_root() / name == tmp_path / "root" / name
    assert not (tmp_path / "root").exists()
    with pytest.raises(UserError, match="data_dir must be the path of a folder, not 3"):
        StanfordOnlineProducts(3)  # type: ignore[arg-type]


def test_counts_stand_beside_the_official_ones(written: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = StanfordOnlineProducts(written("sop"))
    assert summary(dataset) == [
        "48 train images of 8 classes (of 59,551 images of 11,318 classes)",
        "48 test images of 8 classes (of 60,502 images of 11,316 classes)",
    ]
    monkeypatch.setattr(StanfordOnlineProducts, "official", {"train": (48, 8), "test": (48, 9)})
    assert summary(dataset)[0] == "48 train images of 8 classes (complete)"
    assert summary(dataset)[1] == "48 test images of 8 classes (of 48 images of 9 classes)"
    assert (
        summary(InShop(written("inshop")))[1] == "24 test query images of 8 classes (of 14,218 images of 3,985 classes)"
    )


def test_official_counts() -> None:
    official = {name: DATASETS[name].official for name in OFFICIAL}  # type: ignore[attr-defined]
    assert official == {
        "sop": {"train": (59551, 11318), "test": (60502, 11316)},
        "cub": {"train": (5864, 100), "test": (5924, 100)},
        "inaturalist": {"train": (325846, 5690), "test": (136093, 2452)},
        "inshop": {"train": (25882, 3997), "test query": (14218, 3985), "test gallery": (12612, 3985)},
    }


def test_a_fingerprint_covers_paths_classes_and_sizes(tmp_path: Path) -> None:
    WRITERS["csv"](tmp_path)
    csv = DATASETS["csv"]
    first = csv(str(tmp_path)).fingerprint
    assert first == csv(str(tmp_path)).fingerprint and len(first) == 64
    with (tmp_path / "p/0-0.jpg").open("ab") as file:
        file.write(b"\0")
    second = csv(str(tmp_path)).fingerprint
    table = tmp_path / "images.csv"
    table.write_text(table.read_text().replace("p/0-1.jpg,c0,", "p/0-1.jpg,c2,"))
    third = csv(str(tmp_path)).fingerprint
    (tmp_path / "p/0-0.jpg").unlink()
    assert len({first, second, third, csv(str(tmp_path)).fingerprint}) == 4


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "said"),
    [
        ("sop", "Ebay_train.txt", "image_id class_id", "id class_id", "does not begin with the line"),
        ("sop", "Ebay_test.txt", "49 9 2 cabinet_final/", "49 9 ", "line 2 of"),
        ("sop", "Ebay_test.txt", None, "image_id class_id super_class_id path\n", "there is no test image"),
        ("sop", "Ebay_test.txt", None, "\xff\xfe", "does not begin"),
        ("cub", "classes.txt", "3 003.", "3 003 ", "line 3 of"),
        ("inaturalist", "Inat_dataset_splits/Inaturalist_test_set1.txt", "train_val2018/Aves/8/", "8/", "line 1 of"),
        ("inshop", "list_eval_partition.txt", "image_name", "image", "the second line of"),
        ("inshop", "list_eval_partition.txt", "96\n", "95\n", "announces '95' images and lists 96"),
        ("inshop", "list_eval_partition.txt", "  query", "  qery", "did you mean 'query'"),
        ("inshop", "list_eval_partition.txt", " id_00000000 ", " ", "is not an image, its item and its use"),
    ],
)
def test_a_damaged_manifest_is_refused_in_one_line(
    tmp_path: Path, name: str, file: str, old: str | None, new: str, said: str
) -> None:
    manifest = WRITERS[name](tmp_path) / file
    manifest.write_text(new if old is None else manifest.read_text().replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        DATASETS[name](str(tmp_path)).ensure()
    assert said in str(caught.value) and "\n" not in str(caught.value)
