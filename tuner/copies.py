"""The files of a sweep in S3, twice: in its folder on a driver's machine, and as objects.

    HOME/desk/journal.jsonl/000000000000000   a file that grows, in parts: each named by the byte it begins at
    HOME/desk/results.csv                     any other, whole
    HOME/launch-1/trial-0000-00000/...        Ray's, with the checkpoints: not copied

The last part is written again as it grows, until it is PART long: an upload costs the same however long the file is.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainables import bucket
from trainables.errors import UserError
from tuner.events import whole

GROWING = ("*.jsonl", "audit/*.jsonl")
WHOLE = ("*.csv", "*.txt", "*.json", "confirm-*/*.npz")
PART = 128 * 1024  # bytes
DIGITS = 15
AT_A_TIME = 8  # requests

Parts = dict[int, int]  # the byte that a part begins at -> its length


class Copies:
    """One sweep's. folder: here. desk: there."""

    def __init__(self, folder: Path, desk: str) -> None:
        self.folder, self.desk = folder, desk
        self._growing: dict[str, Parts] = {}  # there
        self._grown: dict[str, float] = {}  # unix seconds of their last change there
        self._whole: dict[str, float] = {}  # there: the same
        self._sent: dict[str, tuple[int, int]] = {}  # (ns, bytes) of a whole file as this process has sent it

    def look(self) -> None:
        """What is there. OSError where S3 does not say."""
        self._growing, self._grown, self._whole = {}, {}, {}
        root = bucket.key(self.desk)
        for found in bucket.listed(self.desk):
            name = found.path[len(root) + 1 :]
            parent, _, last = name.rpartition("/")
            if found.is_file and len(last) == DIGITS and last.isdigit() and _is(parent, GROWING):
                self._growing.setdefault(parent, {})[int(last)] = int(found.size)
                self._grown[parent] = max(self._grown.get(parent, 0.0), found.mtime.timestamp())
            elif found.is_file and _is(name, WHOLE):
                self._whole[name] = found.mtime.timestamp()

    def grown(self, name: str) -> float:
        """Unix seconds of the last change there of a file that grows."""
        return self._grown.get(name, 0.0)

    @property
    def known(self) -> bool:
        """Whether there is anything of the sweep there."""
        return bool(self._growing)

    def ahead(self) -> list[str]:
        """Files that grow of which more is here than there. UserError where the two have parted."""
        return [name for name in self._names(GROWING) if self._compared(name) > 0]

    def behind(self) -> list[str]:
        """Files that grow of which more is there than here. UserError where the two have parted."""
        return [name for name in self._growing if self._compared(name) < 0]

    def fetch(self) -> None:
        """What is there and not here. UserError, and nothing is written, where a file has parted from its copy."""
        for name in self.behind():
            after = whole(self.folder / name)
            content = self._content(name, after)
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (self.folder / name).open("ab") as growing:
                growing.truncate(after)  # half a line
                growing.write(content)
        for name, changed in self._whole.items():
            file = self.folder / name
            if not file.exists() or file.stat().st_mtime < changed - 1:
                content = bucket.read(bucket.below(self.desk, name)) or b""
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
                os.utime(file, (changed, changed))

    def send(self) -> None:
        """What is here and not there, all of it that has changed since the last time. OSError where S3 takes none."""
        for name in self._names(GROWING):
            self._send_grown(name)
        for name in self._names(WHOLE):
            state = (self.folder / name).stat()
            version = (state.st_mtime_ns, state.st_size)
            if self._sent.get(name) != version and state.st_mtime > self._whole.get(name, 0.0):
                bucket.write(bucket.below(self.desk, name), (self.folder / name).read_bytes())
                self._sent[name] = version

    def _send_grown(self, name: str) -> None:
        parts = self._growing.setdefault(name, {})
        begin = max(parts, default=0)
        if parts.get(begin, 0) >= PART:
            begin += parts[begin]
        if (self.folder / name).stat().st_size == begin + parts.get(begin, 0):
            return
        with (self.folder / name).open("rb") as file:
            file.seek(begin)
            content = file.read()
        content = content[: content.rfind(b"\n") + 1]
        if len(content) > parts.get(begin, 0):
            bucket.write(self._part(name, begin), content)
            parts[begin] = len(content)

    def _compared(self, name: str) -> int:
        """How many bytes more are here than there."""
        here, parts = whole(self.folder / name), self._growing.get(name, {})
        there = 0
        for begin in sorted(parts):
            if begin != there:
                raise UserError(
                    f"{bucket.key(self.desk)}/{name} has lost what was before byte {begin}: "
                    "the machine that wrote it has all of it"
                )
            there += parts[begin]
        common = min(here, there)
        if common:
            # histories that have parted before do not agree in events of the same time later
            begin = max(begin for begin in parts if begin < common)
            theirs = bucket.read(self._part(name, begin)) or b""
            with (self.folder / name).open("rb") as file:
                file.seek(begin)
                if file.read(common - begin) != theirs[: common - begin]:
                    raise UserError(
                        f"{self.folder} and {bucket.key(self.desk)} have gone apart: two drivers have written {name}, "
                        f"or one has started over; to go on with that of the bucket: mv {self.folder} "
                        f"{self.folder}.aside"
                    )
        return here - there

    def _content(self, name: str, after: int) -> bytes:
        """Of the file there, what comes after so many bytes."""
        parts = self._growing[name]
        begins = [begin for begin in sorted(parts) if begin + parts[begin] > after]
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            contents = list(pool.map(lambda begin: bucket.read(self._part(name, begin)) or b"", begins))
        cut = {
            begin: content[max(0, after - begin) : parts[begin]]
            for begin, content in zip(begins, contents, strict=True)
        }
        return b"".join(cut.values())

    def _part(self, name: str, begin: int) -> str:
        return bucket.below(self.desk, name, f"{begin:0{DIGITS}}")

    def _names(self, patterns: tuple[str, ...]) -> list[str]:
        return sorted(str(file.relative_to(self.folder)) for pattern in patterns for file in self.folder.glob(pattern))


def _is(name: str, patterns: tuple[str, ...]) -> bool:
    return any(Path(name).match(pattern) and name.count("/") == pattern.count("/") for pattern in patterns)
