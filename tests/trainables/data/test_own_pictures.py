"""Pictures of one's own: class folders, and tables."""

from pathlib import Path

import pytest

from tests.trainables.data.miniatures import IMAGES_A_CLASS, picture, write_csv, write_folder
from tests.trainables.data.test_on_disk import names, paths
from trainables.data import ClassFolders, ImageTable, summary
from trainables.errors import UserError


def test_folders_are_split_by_class_by_share_and_seed(tmp_path: Path) -> None:
    write_folder(tmp_path)
    half, quarter = ClassFolders(str(tmp_path)), ClassFolders(str(tmp_path), test_share=0.25)
    assert len(set(half.train().labels)) == len(set(half.test()[0].query.labels)) == 8
    assert len(set(quarter.train().labels)) == 12 and len(set(quarter.test()[0].query.labels)) == 4
    assert names(half.train()) == names(ClassFolders(str(tmp_path)).train())
    assert names(half.train()) != names(ClassFolders(str(tmp_path), split_seed=1).train())
    assert half.train().super_labels is None and half.train().super_names == ()
    assert paths(half.train())[0].count("/") == 1


def test_train_and_test_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    write_folder(tmp_path, "train", range(3))
    write_folder(tmp_path, "test", range(3, 5))
    (tmp_path / ".cache").mkdir()
    dataset = ClassFolders(str(tmp_path))
    assert set(names(dataset.train())) == {"class 00", "class 01", "class 02"}
    assert set(names(dataset.test()[0].query)) == {"class 03", "class 04"}
    assert paths(dataset.test()[0].query)[0] == "test/class 03/0.jpg"
    (tmp_path / "val" / "class 09").mkdir(parents=True)
    with pytest.raises(UserError, match=r"held out of train/ by experience\.holdout"):
        ClassFolders(str(tmp_path)).train()


def test_two_levels_are_super_class_and_class(tmp_path: Path) -> None:
    for label in range(8):
        for seed in range(2):
            picture(tmp_path / f"super{label % 2}" / f"c{label // 2}" / f"{seed}.png", label, seed)
    train = ClassFolders(str(tmp_path)).train()
    assert set(names(train)) < {f"super{a}/c{b}" for a in range(2) for b in range(4)}
    assert train.super_labels is not None
    assert sorted(set(train.super_labels)) == [0, 1] and len(set(train.labels)) == 4
    above = [train.super_names[label] for label in train.super_labels]
    assert above == [name.partition("/")[0] for name in names(train)]
    shown, stored = train.picture(3), train.source[int(train.rows[3])]
    assert shown.size == (stored.shape[2], stored.shape[1]) and shown.getpixel((1, 0)) == tuple(stored[:, 0, 1])


def test_what_is_no_picture_by_its_ending_is_left_aside_and_told(tmp_path: Path) -> None:
    write_folder(tmp_path, classes=range(4))
    (tmp_path / "class 00" / "Thumbs.db").write_text("x")
    (tmp_path / "class 00" / ".hidden.jpg").write_text("x")
    (tmp_path / "class 01" / "0.jpg").rename(tmp_path / "class 01" / "0.JPEG")
    dataset = ClassFolders(str(tmp_path))
    assert len(dataset.train()) + len(dataset.test()[0].query) == 4 * IMAGES_A_CLASS
    assert summary(dataset)[-1] == "left aside as no pictures by their ending: 1, such as class 00/Thumbs.db"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (["a.jpg"], "is in no class folder"),
        (["a/1.jpg", "b/c/1.jpg"], "mixes CLASS/FILE and SUPER-CLASS/CLASS/FILE"),
        (["a/b/c/1.jpg"], "is too deep"),
        (["train/a/1.jpg"], "has train/ alone"),
        (["test/a/1.jpg", "x/1.jpg"], "has test/ alone"),
        (["train/a/1.jpg", "test/b/x.txt"], "there is no test image"),
        (["a/1.jpg"], "no test classes: holding out 0.5 of 1 classes"),
        (["a/1.txt"], "there is no"),
    ],
)
def test_folders_that_mean_nothing_are_refused(tmp_path: Path, made: list[str], said: str) -> None:
    for path in made:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    with pytest.raises(UserError, match=said):
        ClassFolders(str(tmp_path)).ensure()


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for label, name in enumerate(("bus", "train", "tram", "ship")):
        picture(tmp_path / name / "1.jpg", label, 0)
    assert {"train"} < set(ClassFolders(str(tmp_path)).train().class_names)


def test_a_table_with_splits_is_taken_as_it_is(tmp_path: Path) -> None:
    dataset = ImageTable(str(write_csv(tmp_path)))
    (split,) = dataset.test()
    assert split.gallery is not None and len(split.query) == len(split.gallery) == 24
    assert set(names(dataset.train())) == {f"c{label}" for label in range(8)}
    assert dataset.train().super_labels is not None
    table = tmp_path / "images.csv"
    table.write_text(table.read_text().replace(",gallery", ",test").replace(",query", ",test"))
    assert ImageTable(str(tmp_path)).test()[0].gallery is None


def test_a_table_without_splits_is_split_by_class(tmp_path: Path) -> None:
    write_csv(tmp_path, split=False)
    (tmp_path / "images.csv").rename(tmp_path / "other.csv")
    dataset = ImageTable(str(tmp_path), file="other.csv", test_share=0.25, split_seed=3)
    assert len(set(dataset.train().labels)) == 12
    assert set(dataset.test()[0].query.super_labels) == {0, 1}  # type: ignore[arg-type]
    assert not set(names(dataset.train())) & set(names(dataset.test()[0].query))


def test_a_table_as_spreadsheets_write_it(tmp_path: Path) -> None:
    """A byte order mark, CR LF, quotes, columns of other programs, an absolute path."""
    for label in range(2):
        picture(tmp_path / "here" / f"{label}, {label}.jpg", label, 0)
    rows = [f'"{tmp_path}/here/{label}, {label}.jpg",7,class {label}' for label in range(2)]
    (tmp_path / "images.csv").write_bytes("\r\n".join(["\ufeffpath,weight,label", *rows, ""]).encode())
    dataset = ImageTable(str(tmp_path))
    dataset.ensure()
    assert {*names(dataset.train()), *names(dataset.test()[0].query)} == {"class 0", "class 1"}
    assert len(dataset.fingerprint) == 64


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("path,lable\na,b\n", "has no column 'label' but path, lable"),
        ("", "has no column 'path' but nothing"),
        ("path,label\n", "lists no image"),
        ("path,label\na,\n", "line 2 of .*: label is empty"),
        ("path,label\na\n", "line 2 of .*: label is empty"),
        ("path,label\na,b,c\n", "more values than the 2 columns"),
        ("path,label\na,x\na,y\n", "line 3 of .*'a' stands in line 2 already"),
        ("path,label,super_label\na,x,1\nb,x,2\n", "class 'x' is in '2' and, above, in '1'"),
        ("path,label,split\na,x,trian\n", "did you mean 'train'"),
        ("path,label,split\na,x,train\n", "the splits are train and test, or train, query and gallery; not train"),
        ("path,label,split\na,x,train\nb,x,query\n", "not query, train"),
        ("path,label\na,x\nb,x\n", "no test classes"),
        ('path,label\n"a,x\n', "cannot be read as a table"),
    ],
)
def test_tables_that_mean_nothing_are_refused(tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "images.csv").write_text(table)
    with pytest.raises(UserError, match=said) as caught:
        ImageTable(str(tmp_path)).ensure()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [ClassFolders, ImageTable])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"test_share": 0}, "test_share must be above 0 and below 1, not 0"),
        ({"test_share": True}, "test_share must be above 0"),
        ({"split_seed": -1}, "split_seed must be a whole number from 0"),
    ],
)
def test_settings_are_refused_at_the_door(
    kind: type[ClassFolders | ImageTable], settings: dict[str, float], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        kind(**settings)  # type: ignore[arg-type]
