"""What `roadmap-tune pictures` found, on disk: panels of neighbours, scores by class, maps. Read without torch."""

import base64
import contextlib
import io
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FOLDER, FILE = "pictures", "pictures.json"
PANEL_BYTES = 250_000  # of three on a page
WIDTHS, QUALITIES = (2000, 1400, 1000), (85, 70, 50)  # tried in this order until one is small enough


Role = Literal["winner", "defaults"]


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Arm(Record):
    """A trial at its best epoch. explained: the share of the variance on each axis of its map."""

    role: Role
    trial: str
    epoch: int
    map_at_r: float
    recall_at_1: float
    explained: tuple[float, float]


class Score(Record):
    """Of a class or a super-class; values: one for each arm."""

    name: str
    group: str
    queries: int
    map_at_r: tuple[float, ...]
    recall_at_1: tuple[float, ...]


class Point(Record):
    """A picture on the maps: its place for each arm."""

    name: str
    group: str
    places: tuple[tuple[float, float], ...]


class Panel(Record):
    """NAME.png beside this record."""

    name: str = Field(pattern="^[a-z]+$")
    title: str
    said: str


class Pictures(Record):
    """Of the validation split. fold: which of its folds, None without. by_group: empty without super-classes.

    points: a sample of the images, where there are many.
    """

    format: Literal[1] = 1
    arms: tuple[Arm, ...]  # the winner first
    fold: int | None
    images: int
    by_class: tuple[Score, ...]
    by_group: tuple[Score, ...]
    points: tuple[Point, ...]
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Picture:
    """A panel on the page; address: the picture itself, as a data URI."""

    name: str
    title: str
    said: str
    address: str


def read(folder: Path) -> Pictures | None:
    """What lies in a sweep's folder; None where nothing does that this version has written."""
    try:
        return Pictures.model_validate_json((folder / FOLDER / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def embedded(folder: Path, found: Pictures) -> list[Picture]:
    """The panels, each small enough for a page; one whose file cannot be read is left out."""
    made = []
    for panel in found.panels:
        with contextlib.suppress(OSError):
            address = _address(folder / FOLDER / f"{panel.name}.png")
            made.append(Picture(panel.name, panel.title, panel.said, address))
    return made


def _address(file: Path) -> str:
    """As WebP, as large and as good as PANEL_BYTES allow; without its title, which the page has in words."""
    from PIL import Image

    from trainables.panels import HEAD, MARGIN

    edge = MARGIN // 2
    with Image.open(file) as image:
        panel = image.convert("RGB").crop((edge, edge + HEAD, image.width - edge, image.height - edge))
    for width, quality in itertools.product(WIDTHS, QUALITIES):
        size = (width, max(1, panel.height * width // panel.width))
        packed = io.BytesIO()
        (panel if size[0] >= panel.width else panel.resize(size)).save(packed, "WEBP", quality=quality)
        if packed.tell() <= PANEL_BYTES:
            break
    return f"data:image/webp;base64,{base64.b64encode(packed.getvalue()).decode()}"
