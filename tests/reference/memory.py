"""The memory as plain lists: what it holds after batches of (embedding, label, position)."""

Entry = tuple[list[float], int, int]  # embedding, label, position


def ring(batches: list[list[Entry]], size: int) -> list[Entry]:
    """The newest `size` entries."""
    held: list[Entry] = []
    for batch in batches:
        for entry in batch:
            held.append(entry)
            if len(held) > size:
                held.pop(0)
    return held


def unique(batches: list[list[Entry]]) -> list[Entry]:
    """The newest entry of each position, by position."""
    held: dict[int, Entry] = {}
    for batch in batches:
        for entry in batch:
            held[entry[2]] = entry
    return [held[position] for position in sorted(held)]
