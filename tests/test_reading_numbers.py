"""Numbers as people write them: the same in a file and in a stream, or refused."""

import io
import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from adlib.reading.dialect import raw_table
from adlib.reading.numbers import (
    NA_WORDS,
    Numbers,
    needs_text,
    present,
    sentinels,
    trouble,
)
from adlib.reading.options import Reading


def read(*columns, separator=";", **options):
    """Decimal mark, numbers of each column, cells that are none, notes."""
    notes: list[str] = []
    series = [pd.Series(cells, name=f"c{k}", dtype=object) for k, cells in enumerate(columns)]
    numbers = Numbers.recognise(series, Reading(**options), separator, notes.append)
    pairs = [numbers.column(column) for column in series]
    return numbers.decimal, [v.tolist() for v, _ in pairs], [b.tolist() for _, b in pairs], notes


@pytest.mark.parametrize(
    ("columns", "options", "decimal", "values"),
    [
        ((["1.234", "2.345"], ["21,5", "20,0"]), {}, ",", [[1234, 2345], [21.5, 20]]),
        ((["1.234", "2.345"],), {}, ".", [[1.234, 2.345]]),
        ((["1,234", "2,345"],), {}, ",", [[1.234, 2.345]]),
        ((["1,234", "2.5"],), {}, ".", [[1234, 2.5]]),
        ((["1,234", "12"], ["0.125", "3"]), {"separator": ","}, ".", [[1234, 12], [0.125, 3]]),
        ((["1,234", "12"],), {"separator": ",", "decimal": ","}, ",", [[1.234, 12]]),
        ((["1,234", "12"],), {"separator": ",", "decimal": "."}, ".", [[1234, 12]]),
        ((["1,234.5", "1,234,567"],), {"separator": ","}, ".", [[1234.5, 1234567]]),
        ((["1.234,5", "1.234.567"],), {"separator": ","}, ",", [[1234.5, 1234567]]),
        ((["1'234.5", "7"],), {}, ".", [[1234.5, 7]]),
        ((["1\u2019234", "7"],), {}, ".", [[1234, 7]]),
        ((["1 234,5", "-1\u00a0234\u00a0567"],), {}, ",", [[1234.5, -1234567]]),
        ((["1\u202f234", "7"],), {}, ".", [[1234, 7]]),
        ((["0,125", "-,5", "+3,"],), {"separator": "\t"}, ",", [[0.125, -0.5, 3]]),
        ((["1,5e3", "2"],), {"separator": "\t"}, ",", [[1500, 2]]),
        ((["\u22125", "1e3"],), {}, ".", [[-5, 1000]]),
        ((["1\u2009234", "7"],), {}, ".", [[1234, 7]]),
        ((["1.25D+01", "-.5d2"],), {}, ".", [[12.5, -50]]),
    ],
)
def test_marks_of_a_file(columns, options, decimal, values):
    separator = options.pop("separator", ";")
    found, numbers, bad, notes = read(*columns, separator=separator, **options)
    assert (found, numbers) == (decimal, values)
    assert not np.any(bad)
    marked = any(
        ord(mark) > 127 or mark in ",' "
        for cells in columns
        for c in cells
        for mark in c
        if mark != "\u2212"
    )
    told = [note for note in notes if "read as fractions" not in note]
    assert bool(told) == (marked and options.get("decimal") != ",")


def test_codes_are_no_exponents_of_fortran():
    assert np.all(read(["12.D4", "7.D2"])[2]) and read(["1.0D4", "-.5d2"])[1] == [[10000, -50]]


@pytest.mark.parametrize("cell", ["\uff11\uff12\uff0e\uff15", "\u0661\u0662\u066b\u0665",
                                  "\u06f1\u06f2\u066b\u06f5", "\u0e51\u0e52.\u0e55", "12.5"])
def test_digits_of_every_script_are_digits(cell):
    assert read([cell, f"-{cell}"])[1:3] == ([[12.5, -12.5]], [[False, False]])


@pytest.mark.parametrize(
    ("columns", "separator"),
    [
        ((["1,234", "2,345"],), ","),
        ((["1,234", "2,345"],), "\t"),
        ((["1,234"], ["1.234"]), ";"),
        ((["1.5", "7"], ["2,5", "1"]), ";"),
        ((["1.5", "2,5"],), ";"),
        ((["1,234.5", "1.234,5"],), ";"),
    ],
)
def test_marks_that_may_mean_two_things_are_refused(columns, separator):
    with pytest.raises(
        ValueError, match=r"decimal='\.' or decimal=','|decimal=',' or decimal='\.'"
    ):
        read(*columns, separator=separator)


@pytest.mark.parametrize(
    "cell",
    [
        "1_000",
        "0x10",
        "1e",
        "e5",
        "--5",
        ".",
        "-",
        "12a",
        "1d5",
        "1 2",
        "1,23,456",
        "12.34.56",
        "01.234.567",
        "10.0.0.1",
        "21.5 C",
        "12 %",
        "\u20ac 5",
        "?",
        "***",
        "Bad Input",
        "yes",
        "on",
        "2024-01-01",
        "infinit",
        "1.2345,6",
        "1'234.567,8",
        [1],
        {"a": 1},
        1j,
        b"x",
        pd.Timestamp(0),
    ],
)
def test_what_is_no_number(cell):
    numbers = Numbers(Reading(), ";", print)
    with pytest.raises(ValueError, match="is no number"):
        numbers.cell(cell)
    values, bad = numbers.column(pd.Series([cell, "7"], dtype=object))
    assert np.isnan(values[0]) and bad.tolist() == [True, False]


@pytest.mark.parametrize(
    "cell",
    [
        *sorted(NA_WORDS),
        " N/A ",
        "NAN",
        "none",
        "Null",
        "inf",
        "-Infinity",
        "+INF",
        "1e400",
        "-1e999",
        None,
        math.nan,
        math.inf,
        10**400,
        pd.NA,
        pd.NaT,
        np.float32("nan"),
        Decimal("NaN"),
        "gap",
        -999,
        "-999",
        "-999.0",
        "-999,0",
        "-9.99e2",
        -999.0,
        np.int16(-999),
        "-99.9",
        np.float32(-99.9),
    ],
)
def test_what_is_missing(cell):
    numbers = Numbers(Reading(na_values=["gap", -999, "-99.9"]), ";", lambda sentence: None)
    assert math.isnan(numbers.cell(cell))
    values, bad = numbers.column(pd.Series([cell, "7"], dtype=object))
    assert np.isnan(values[0]) and not bad.any()


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        (True, 1),
        (False, 0),
        ("True", 1),
        ("false", 0),
        ("TRUE", 1),
        (np.bool_(True), 1),
        (3, 3),
        (2**70, 2.0**70),
        (Decimal("1.5"), 1.5),
        (np.float32(0.5), 0.5),
        (np.uint8(255), 255),
        ("317.3988", 317.3988),
        (" 5 ", 5),
        ("\t5\u00a0", 5),
        ("123456789012345678901234567890", 123456789012345678901234567890.0),
        ("1e-400", 0),
        ("5.", 5),
        (".5", 0.5),
        ("+5", 5),
    ],
)
def test_what_is_a_number(cell, number):
    numbers = Numbers(Reading(), ",", print)
    assert numbers.cell(cell) == number
    values, bad = numbers.column(pd.Series([cell, "7"], dtype=object))
    assert values[0] == number and not bad.any()


def test_columns_that_are_typed():
    numbers = Numbers(Reading(na_values=[-999, 0.1]), ",", print)
    for kind, cells in [
        ("float32", [1, -999, 0.1]),
        ("Int64", [1, -999, None]),
        ("boolean", [1, None, None]),
        ("float64", [1, math.inf, -999]),
        ("category", ["1", "-999", None]),
        ("bool", [1, 0, 0]),
    ]:
        values, bad = numbers.column(pd.Series(cells, dtype=kind, name="a"))
        assert values.name == "a" and values.dtype == np.float64 and not bad.any()
        assert np.nan_to_num(values).tolist() == [1, 0, 0]
    for typed in (
        pd.Series(pd.to_datetime(["2024-01-01", None])),
        pd.Series(pd.to_timedelta([1, None])),
    ):
        values, bad = numbers.column(typed)
        assert values.isna().all() and bad.tolist() == [True, False]


def texts(rng, count):
    """Cells that are numbers, nearly numbers, and words."""
    parts = [
        "",
        "",
        "+",
        "-",
        "0",
        "1",
        "12",
        "123",
        "234",
        "7",
        ".",
        ",",
        "'",
        " ",
        "\u00a0",
        "_",
        "e",
        "E",
        "5",
        "e-3",
        "%",
        "nan",
        "inf",
        "NA",
        "?",
        "True",
        "9" * 20,
        "000",
        "\u2212",
        "\u0661",
    ]
    return ["".join(rng.choice(parts, rng.integers(1, 6))) for _ in range(count)]


def given(numbers, cell):
    try:
        return numbers.cell(cell)
    except ValueError:
        return None


@pytest.mark.parametrize("decimal", [None, ".", ","])
def test_column_and_cell_agree_on_every_text(decimal):
    cells = texts(np.random.default_rng(3), 3000)
    for dtype in (object, "str", "string"):
        column = pd.Series(cells, dtype=dtype)
        numbers = Numbers(
            Reading(decimal=decimal, na_values=["7", "?"]), ",", lambda sentence: None
        )
        values, bad = numbers.column(column)
        single = [given(numbers, cell) for cell in cells]
        assert bad.tolist() == [one is None for one in single]
        np.testing.assert_array_equal(values, [math.nan if one is None else one for one in single])
    assert 0.1 < bad.mean() < 0.9 and values.notna().mean() > 0.1


def test_cells_are_as_pandas_types_them():
    cells = list(dict.fromkeys(texts(np.random.default_rng(4), 4000)))
    table = "\n".join([
        ",".join(map(str, range(len(cells)))), ",".join(f'"{cell}"' for cell in cells),
        ",".join(["7.5"] * len(cells))])  # fmt: skip
    frame = pd.read_csv(io.StringIO(table), keep_default_na=False, na_values=list(NA_WORDS))
    numbers = Numbers(Reading(), ",", lambda sentence: None)
    typed = [k for k in range(len(cells)) if pd.api.types.is_numeric_dtype(frame.iloc[:, k])]
    known = frame.iloc[0, typed].astype(float).replace([math.inf, -math.inf], math.nan)
    np.testing.assert_allclose([numbers.cell(cells[k]) for k in typed], known, rtol=1e-15)
    assert len(typed) > 100


def test_a_stream_settles_its_mark_by_what_comes():
    notes = []
    numbers = Numbers(Reading(), ",", notes.append)
    assert numbers.cell("7") == 7 and numbers.decimal is None
    with pytest.raises(ValueError, match="decimal"):
        numbers.cell("1,234")
    assert numbers.cell("21,5") == 21.5 and numbers.decimal == ","
    assert numbers.cell("1.234") == 1234
    with pytest.raises(ValueError, match="is no number"):
        numbers.cell("21.5")
    assert len(notes) == 2
    numbers.settle([["21.5"]])  # settled already
    assert numbers.decimal == ","
    assert Numbers(Reading(), ";", notes.append).cell("1,234") == 1.234


def test_columns_of_words_say_nothing_of_numbers():
    assert read(["1,5", "red", "blue", "green"], ["1.5", "2", "3", "4"])[0] == "."
    assert read(["1,5", "?", "-", "", "2"])[0] == ","  # two numbers and two words
    frame = pd.DataFrame({"a": [0.5, 1.5]})
    assert Numbers.recognise([frame["a"]], Reading(), ",", print).decimal == "."
    assert Numbers.recognise([frame["a"]], Reading(), "", print).decimal is None
    late = ["1.234"] * 15000 + ["21,5"]
    assert read(late)[0] == "," and read(late)[1][0][0] == 1234


def test_columns_that_must_be_read_as_text():
    typed, words = pd.Series([1.234, 2.5]), pd.Series(["12:30", "31.12.2024"])
    for cell in ["21,5", "1,234", " 1.234.567", "-1.234,5", "1 234,5"]:
        assert needs_text([typed, words, pd.Series(["1", cell])], Reading())
        assert not needs_text([pd.Series([1, 2]), pd.Series(["1", cell])], Reading())
        assert not needs_text([typed, pd.Series(["1", cell])], Reading(decimal="."))
    assert not needs_text([typed, words], Reading())
    assert needs_text([typed], Reading(decimal=","))


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            ["1", "2", "Bad Input", "?", "?"],
            "column 'c' is not numeric ('Bad Input' in data row 3, 3 such cells): if that means a "
            "missing value, pass na_values=['?', 'Bad Input']; else ",
        ),
        (["1", *"abcdefg"], "pass na_values=['a', 'b', 'c', 'd', 'e'] and 2 other words; else "),
        (["12 %", "13 %"], "write the number alone, with its unit"),
        (["21.5 C", "70 F", "20 C"], "its unit"),
        (["\u20ac5", "\u20ac6"], "its unit"),
        (["21.5", "1"], "decimal='.' or decimal=','"),
        (["on", "off"], None),
        (["M14860", "L47181"], None),
        (["231,08 V AC", "230,9 V AC"], "write the number alone"),
        (["1.234,50 \u20ac", "99,10 \u20ac"], "write the number alone"),
        (["1,5", "(50,28)", "(50,1)"], "write the number alone"),
        (["1,5", "<0,05", "<0,05"], "with its unit in the name of the column; if that means"),
        (["1,5", "46,64-", "3,20-", "2", "3", "4"], "write the number alone"),
        (["Plan", *["1,5"] * 20], "if it stands above the table, leave it out with skip_rows"),
        (["1st floor", "2nd floor", "3rd floor"], None),
        (["+49 89 123 456", "+49 89 123 457"], None),
        (["12a", "13b", "14c", "15d"], None),
        (["7", *(f"x{k}" for k in range(30))], None),
    ],
)
def test_why_a_column_is_not_numeric(cells, said):
    column = pd.Series(cells, name="c")
    values, bad = Numbers(Reading(decimal=","), ";", print).column(column)
    why = trouble(column, values, bad)
    assert why is None if said is None else said in why
    assert "is not numeric" in trouble(column, values, bad, wanted=True)
    assert trouble(column, values, np.zeros(len(bad), bool)) is None


def test_missing_values_by_policy():
    frame = pd.DataFrame(
        {"a": [math.nan, 1, math.nan, math.nan], "b": [1.0, 2, 3, 4]}, index=[5, 6, 7, 8]
    )
    notes = []
    with pytest.raises(
        ValueError, match=r"'a' has 3 missing or infinite values \(first in data row 6"
    ):
        present(frame, "error", notes.append)
    for missing, rows in [
        ("drop", [6]),
        ("hold", [6, 7, 8]),
        ("keep", [5, 6, 7, 8]),
        ("impute", [5, 6, 7, 8]),
    ]:
        values, keep = present(frame, missing, notes.append)
        assert values.index.tolist() == rows == frame.index[keep].tolist()
        assert values["a"].isna().any() == (missing in ("keep", "impute"))
    with pytest.raises(ValueError, match="no row is left with missing='drop'"):
        present(frame.iloc[:1], "drop", notes.append)
    assert notes == []
    gaps = pd.DataFrame({"a": [1.0] + [math.nan] * 9, "b": [1, math.nan] * 5, "c": range(10)})
    present(gaps, "hold", notes.append)
    assert notes == ["missing='hold' fills 90% of column 'a', 9 rows in a row at most (of 10)"]


@pytest.mark.parametrize(
    "told", [-200, -999, -9999, -99.9, -32768, 999, 9999, 99999, 65535, 1e20, np.float32(-99.9)]
)
def test_placeholders_are_named(told):
    values = np.random.default_rng(0).normal(20, 3, 500)
    values[::50] = told
    notes = []
    sentinels(pd.DataFrame({"a": values, "b": 1.0}), notes.append)
    assert len(notes) == 1
    assert (
        f"column 'a' holds {told:.6g} 10 times" in notes[0]
        and f"na_values=[{told:.6g}]" in notes[0]
    )


def test_ordinary_numbers_are_no_placeholders():
    rng, notes = np.random.default_rng(0), []
    frame = pd.DataFrame(
        {
            "spike": np.r_[rng.normal(size=997), 999, 999.5, 9999],
            "count": rng.integers(0, 1000, 1000),
            "clipped": np.clip(rng.normal(0, 20000, 1000), -32768, 32767),
            "constant": 999.0,
            "signed": np.r_[rng.normal(0, 300, 995), [-999.0] * 5],
            "empty": math.nan,
            "rare": np.r_[np.zeros(998), -999, -999],
        }
    )
    sentinels(frame, notes.append)
    assert notes == []
    sentinels(
        pd.DataFrame({"both": np.r_[rng.normal(size=90), [-999.0] * 5, [9999.0] * 5]}), notes.append
    )
    assert len(notes) == 2


def test_blanks_behind_a_sign_belong_to_the_number():
    _, values, _, _ = read(["+  21,5", "-  1.234,5", "3,5"])
    assert values == [[21.5, -1234.5, 3.5]]


@pytest.mark.parametrize(("cells", "asks"), [
    ([9.459, 8.12, 7.0], True), ([9.459, 0.5], False), ([9.459, 8.1234], False),
    ([21.5, 20.25], False), ([1234.567], False),
])  # fmt: skip
def test_points_that_may_stand_between_thousands_are_pointed_out(cells, asks):
    notes = []
    numbers = Numbers.recognise([pd.Series(cells)], Reading(), ";", notes.append)
    assert numbers.decimal == "." and bool(notes) == asks
    assert not asks or "9.459 are read as fractions" in notes[0]


def test_a_column_whose_points_may_be_decimal_is_named():
    notes = []
    columns = [pd.Series(["52.507", "51.250"], name="lat"), pd.Series(["21,5", "20,5"], name="t")]
    numbers = Numbers.recognise(columns, Reading(), ";", notes.append)
    assert numbers.column(columns[0])[0].tolist() == [52507, 51250]
    assert any("column 'lat' has a point before three digits" in note for note in notes)


@pytest.mark.parametrize("mark", [";", "|", "\t"])
def test_zeros_behind_a_point_that_may_stand_between_thousands_count(tmp_path, mark):
    notes, path = [], tmp_path / "a.csv"
    path.write_text("a b\n12.500 3\n11.000 4\n".replace(" ", mark))
    raw = raw_table(path, Reading(), notes.append)
    numbers = Numbers.recognise([raw.frame["a"]], Reading(), raw.separator, notes.append)
    assert numbers.column(raw.frame["a"])[0].tolist() == [12.5, 11]
    assert "12.500' in column 'a' are read as fractions" in notes[-1]
