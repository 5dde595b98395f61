"""Pictures of one's own, listed in a CSV file."""

import csv
from typing import ClassVar

from trainables.data.listing import (
    GALLERY,
    QUERY,
    Entry,
    FileDataset,
    Listing,
    check_split_settings,
    split_by_class,
)
from trainables.errors import UserError, unknown

COLUMNS = ("path", "label", "super_label", "split")
SPLITS = ("train", "test", QUERY, GALLERY)


class ImageTable(FileDataset):
    """data_dir: the folder that the paths start from (None: `data_root()/csv`). file: the table, below it.

    Columns: path, label, and where wanted super_label and split (train, and test or query with gallery); others are
    left aside. Without split, `test_share` of the classes, of each super-class, are test classes, by `split_seed`.
    """

    name: ClassVar = "csv"
    home: ClassVar = "a table has the columns path, label and, where wanted, super_label and split"

    def __init__(
        self,
        data_dir: str | None = None,
        file: str = "images.csv",
        test_share: float = 0.5,
        split_seed: int = 0,
    ) -> None:
        super().__init__(data_dir)
        if not isinstance(file, str) or not file:
            raise UserError(f"{self.name}: file must be the name of a table, not {file!r}")
        check_split_settings(self.name, test_share, split_seed)
        self._file, self._test_share, self._split_seed = file, test_share, split_seed

    def needed(self) -> tuple[str, ...]:
        return (self._file,)

    def read(self) -> Listing:
        rows = self._rows()
        entries = [Entry(row["path"], row["label"], row.get("super_label")) for _, row in rows]
        self._check_classes(rows)
        if "split" not in rows[0][1]:
            return split_by_class(self.name, entries, self._test_share, self._split_seed)
        listing: Listing = {}
        for entry, (number, row) in zip(entries, rows, strict=True):
            if row["split"] not in SPLITS:
                raise unknown("split", row["split"], SPLITS, where=self._line(number))
            listing.setdefault(row["split"], []).append(entry)
        if set(listing) not in ({"train", "test"}, {"train", QUERY, GALLERY}):
            told = ", ".join(sorted(listing))
            raise UserError(f"{self.name}: the splits are train and test, or train, query and gallery; not {told}")
        return {split: listing[split] for split in SPLITS if split in listing}

    def _rows(self) -> list[tuple[int, dict[str, str]]]:
        """(line, the columns we know of it); every one of them has a value."""
        path = self.folder / self._file
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                table = csv.DictReader(file, strict=True)
                header = table.fieldnames or []
                read = [(table.line_num, row) for row in table]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{self.name}: {path} cannot be read as a table: {error}") from None
        for column in COLUMNS[:2]:
            if column not in header:
                told = ", ".join(header) or "nothing"
                raise UserError(f"{self.name}: {path} has no column {column!r} but {told}: {self.home}")
        if not read:
            raise UserError(f"{self.name}: {path} lists no image")
        columns = [column for column in COLUMNS if column in header]
        for number, row in read:
            empty = next((column for column in columns if not (row[column] or "").strip()), None)
            if empty is not None:
                raise UserError(f"{self._line(number)}: {empty} is empty")
            if len(row) > len(header):
                raise UserError(f"{self._line(number)}: more values than the {len(header)} columns")
        return [(number, {column: row[column].strip() for column in columns}) for number, row in read]

    def _check_classes(self, rows: list[tuple[int, dict[str, str]]]) -> None:
        """UserError for an image listed twice, which would be its own neighbour, and a class in two super-classes."""
        paths: dict[str, int] = {}
        above: dict[str, str] = {}
        for number, row in rows:
            if row["path"] in paths:
                raise UserError(f"{self._line(number)}: {row['path']!r} stands in line {paths[row['path']]} already")
            paths[row["path"]] = number
            upper = row.get("super_label", "")
            if above.setdefault(row["label"], upper) != upper:
                first = above[row["label"]]
                raise UserError(
                    f"{self._line(number)}: class {row['label']!r} is in {upper!r} and, above, in {first!r}"
                )

    def _line(self, number: int) -> str:
        return f"{self.name}: line {number} of {self.folder / self._file}"
