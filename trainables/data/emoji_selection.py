"""Which drawings of which vendor belong to which class: names in, a list of drawings out, no pixels yet."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LISTING = ("openmoji", "twemoji", "noto")  # the vendors whose names make the class list
CATEGORY_NAMES = {
    "Animals Nature": "Animals & Nature",
    "Food Drink": "Food & Drink",
    "People Body": "People & Body",
    "Smileys Emotion": "Smileys & Emotion",
    "Travel Places": "Travel & Places",
}
LEFT_OUT_CATEGORIES = re.compile(r"^(Extras|Flags|Modifiers|Component)")
# skin tones, flags, keycaps, families by name; gendered sequences and the rest of the skin tones by code point
LEFT_OUT_NAMES = re.compile(r"skin-tone|(^|-)flag(-|$)|^keycap|^family")
JOINER = "200d"
GENDERED = {"2640", "2642", "1f468", "1f469", "1f466", "1f467"}
SKIN = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"}
KEYCAP = "20e3"


@dataclass(frozen=True)
class Drawing:
    """One vendor's drawing of one class, as SVG."""

    vendor: str
    label: str
    super_label: str
    codepoint: str
    svg: str


@dataclass(frozen=True)
class Vendor:
    """One package, read: bodies by name (aliases resolved), category by name, name by codepoint."""

    name: str
    width: int
    height: int
    bodies: dict[str, str]
    categories: dict[str, str]
    codepoints: dict[str, str]  # name -> codepoint


def read_vendor(name: str, folder: Path) -> Vendor:
    icons, metadata, chars = (
        json.loads((folder / f"{part}.json").read_text()) for part in ("icons", "metadata", "chars")
    )
    categories = {
        icon: CATEGORY_NAMES.get(category, category)
        for category, members in metadata.get("categories", {}).items()
        for icon in members
    }
    codepoints: dict[str, str] = {}
    for codepoint, icon in chars.items():
        codepoints.setdefault(icon, codepoint)
    width, height = int(icons.get("width", 16)), int(icons.get("height", 16))
    return Vendor(name, width, height, _bodies(icons), categories, codepoints)


def classes(vendors: Mapping[str, Vendor]) -> dict[str, tuple[str, str]]:
    """label -> (super-class, codepoint), from the vendors that list names as Unicode does."""
    found: dict[str, tuple[str, str]] = {}
    for vendor in (vendors[name] for name in LISTING):
        for label, category in vendor.categories.items():
            codepoint = vendor.codepoints.get(label, "")
            if label not in found and _wanted(label, category, codepoint):
                found[label] = (category, codepoint)
    return found


def select(vendors: Mapping[str, Vendor]) -> list[Drawing]:
    """Every vendor's drawing of every class; a drawing that a vendor uses for two classes is nobody's."""
    wanted = classes(vendors)
    drawings = []
    for vendor in vendors.values():
        named = {label: vendor.bodies[label] for label in wanted if label in vendor.bodies}
        uses = Counter(named.values())
        for label, body in named.items():
            if uses[body] == 1:
                drawings.append(Drawing(vendor.name, label, *wanted[label], _svg(vendor, body)))
    return drawings


def _wanted(label: str, category: str, codepoint: str) -> bool:
    if LEFT_OUT_CATEGORIES.match(category) or LEFT_OUT_NAMES.search(label):
        return False
    parts = set(codepoint.split("-"))
    return not (parts & SKIN or KEYCAP in parts or (JOINER in parts and parts & GENDERED))


def _bodies(icons: Mapping[str, Any]) -> dict[str, str]:
    """SVG bodies by name. An alias without a transformation is its parent's drawing; others are left out."""
    bodies = {name: str(icon["body"]) for name, icon in icons["icons"].items() if not icon.get("hidden")}
    for name, alias in icons.get("aliases", {}).items():
        seen = {name}
        while set(alias) == {"parent"} and alias["parent"] not in seen:
            parent = alias["parent"]
            if parent in bodies:
                bodies[name] = bodies[parent]
                break
            seen.add(parent)
            alias = icons["aliases"].get(parent, {})
    return bodies


def _svg(vendor: Vendor, body: str) -> str:
    size = f'width="{vendor.width}" height="{vendor.height}" viewBox="0 0 {vendor.width} {vendor.height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {size}>{body}</svg>'
