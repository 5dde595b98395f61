"""Tables that are fitted to a width."""

from tuner.tables import cut, fit

ROWS = [["trial", "value", "a.long.name", "why"], ["0001", "0.5000", "1", "it was stopped at a rung of its scheduler"]]


def lengths(rows: object) -> int:
    return max(len("  ".join(cell.ljust(max(len(r[n]) for r in rows)) for n, cell in enumerate(row))) for row in rows)  # type: ignore[attr-defined]


def test_wide_enough_is_whole() -> None:
    assert fit(ROWS, None, [3, 2], [2], 3) == (ROWS, [])
    assert fit(ROWS, lengths(ROWS), [3, 2], [2], 3) == (ROWS, [])


def test_text_is_cut_then_names_then_columns_are_left_out() -> None:
    fitted, left_out = fit(ROWS, 50, [3, 2], [2], 3)
    assert not left_out and lengths(fitted) == 50 and fitted[1][3] == "it was stopped at a r…"
    fitted, left_out = fit(ROWS, 39, [3, 2], [2], 3)
    assert not left_out and fitted[0][2] == "a.lon…name" and fitted[1][3] == "it was stop…"
    fitted, left_out = fit(ROWS, 30, [3, 2], [2], 3)
    assert left_out == ["why"] and fitted[0] == ["trial", "value", "a.long.name"]
    fitted, left_out = fit(ROWS, 15, [3, 2], [2], 3)
    assert left_out == ["a.long.name", "why"] and fitted == [["trial", "value"], ["0001", "0.5000"]]


def test_more_than_that_is_never_left_out() -> None:
    assert fit(ROWS, 5, [3, 2], [2], 3)[0] == [["trial", "value"], ["0001", "0.5000"]]


def test_both_ends_of_a_name_stay() -> None:
    assert cut("CalibrationLoss.weight", 10) == "Calib…ight" and cut("fc.lr", 10) == "fc.lr"
