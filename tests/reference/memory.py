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


def unique(batches: list[list[Entry]], size: int) -> list[Entry]:
    """The newest entry of each of the `size` positions that were seen last, by position."""
    held: list[Entry] = []
    for batch in batches:
        newest = {entry[2]: entry for entry in batch}
        for position in dict.fromkeys(entry[2] for entry in batch):
            held = [entry for entry in held if entry[2] != position] + [newest[position]]
            held = held[-size:]
    return sorted(held, key=lambda entry: entry[2])
