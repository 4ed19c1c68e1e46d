"""Loaders: what they read, and the one sentence they say when they cannot."""

import hashlib
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from adlib.datasets import (
    card,
    load_adbench,
    load_csv,
    load_nab,
    load_odd,
    load_skab,
    load_sklearn,
    load_telemetry,
    load_tsb,
    sources,
)
from adlib.reading.options import ReadingWarning

REPO = Path(__file__).parents[1]
SHARED = Path(os.environ.get("ADLIB_DATA", REPO.parent / "shared" / "data"))
needs = {
    name: pytest.mark.skipif(
        not (SHARED / name).is_dir(), reason=f"no folder {name!r} below ADLIB_DATA"
    )
    for name in sources.COLLECTIONS
}

HEAD = "when,heat,flow,state\n"
ROWS = (
    "2024-01-01 00:00,1.0,10,normal\n"
    "2024-01-01 00:01,2.0,20,normal\n"
    "2024-01-01 00:05,3.0,30,anomaly\n"
    "2024-01-01 00:06,4.0,40,normal\n"
)

BARE = "".join(",".join(line.split(",")[:2]) + "\n" for line in ROWS.splitlines())


@pytest.fixture
def write(tmp_path):
    def write(text, name="oven.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture(autouse=True)
def no_warning():
    """A warning that a test does not expect is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_csv_with_time_and_labels(write):
    data = load_csv(write(HEAD + ROWS), time_column="when", label_column="state")
    assert data.name == "oven" and data.feature_names == ("heat", "flow")
    assert data.y.tolist() == [0, 0, 1, 0] and data.kind.tolist() == ["", "", "anomaly", ""]
    assert data.X[:, 1].tolist() == [10, 20, 30, 40]
    assert data.time[2] == np.datetime64("2024-01-01T00:05")
    assert data.train_end == 1
    assert data.describe()["steps off the median"] == 1  # irregular steps are kept and counted


@pytest.mark.parametrize("sep", [";", "\t"])
def test_other_separators_and_a_byte_order_mark(tmp_path, sep):
    path = tmp_path / "x.csv"
    path.write_text((HEAD + ROWS).replace(",", sep), encoding="utf-8-sig")
    with pytest.warns(ReadingWarning, match="x.csv: separated by "):
        data = load_csv(path, time_column="when", label_column="state")
    assert data.X.shape == (4, 2) and data.notes == (f"x.csv: separated by {sep!r}",)


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "x.parquet"
    when = pd.date_range("2024-01-01", periods=3, tz="UTC")
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "bad": [False, True, False], "when": when})
    frame.to_parquet(path)
    with pytest.warns(ReadingWarning) as said:
        load_csv(path, label_column="bad")
    assert any("left out: ['when']" in str(w.message) for w in said)  # dates are not numbers
    data = load_csv(path, label_column="bad", time_column="when")
    assert data.y.tolist() == [0, 1, 0] and data.feature_names == ("a",)


def test_rows_are_sorted_by_time_with_their_labels(write):
    lines = ROWS.splitlines(keepends=True)
    path = write(HEAD + lines[2] + lines[0] + lines[3] + lines[1])
    with pytest.warns(UserWarning, match=r"oven.csv: rows were not in time order; sorted"):
        data = load_csv(path, time_column="when", label_column="state")
    assert data.X[:, 0].tolist() == [1, 2, 3, 4] and data.y.tolist() == [0, 0, 1, 0]


def test_a_clock_that_was_put_back_is_pointed_at(write):
    path = write("when,a\n2024-10-27 02:55,1\n2024-10-27 02:00,2\n2024-10-27 02:05,3\n")
    with pytest.warns(UserWarning, match="in data row 2: 2024-10-27 02:00 after 2024-10-27 02:55"):
        load_csv(path, time_column="when")


@pytest.mark.parametrize(("zone", "other"), [("+02:00", ""), ("", "Z"), ("Z", "")])
def test_label_windows_and_times_of_which_one_has_a_zone(write, zone, other):
    path = write("".join(["when,a\n", *(f"2024-06-01 {h:02}:00{zone},1\n" for h in range(9))]))
    window = [f"2024-06-01 04:00{other}", f"2024-06-01 05:00{other}"]
    with pytest.warns(UserWarning, match="have none and are read as UTC: if they are local"):
        load_csv(path, time_column="when", label_windows=[window])
    both = [f"2024-06-01 04:00{zone}", f"2024-06-01 05:00{zone}"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_csv(path, time_column="when", label_windows=[both])
    assert data.y.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0]


HOURS = [f"2024-01-01 {hour:02}:00" for hour in range(24)]


def series(*columns, header):
    """A table of one row per item of each column."""
    rows = zip(*columns, strict=True)
    return header + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)


def test_rows_in_falling_order_are_turned_round(write):
    path = write(series(HOURS[::-1], range(24), header="when,a"))
    with pytest.warns(ReadingWarning, match="rows were in falling order of time; turned round"):
        data = load_csv(path, time_column="when", feature_columns=["a"])
    assert data.X[:, 0].tolist() == list(range(24))[::-1]


@pytest.mark.parametrize(("times", "machines"), [
    (np.repeat(HOURS, 2), ["m1", "m2"] * 24),  # the same stamps, in turn
    (np.repeat(HOURS, 2), [1, 2] * 24),
    (HOURS * 2, ["m1"] * 24 + ["m2"] * 24),  # one after the other
    ([h.replace(":00", f":{m:02}") for m in (0, 1) for h in HOURS], ["p"] * 24 + ["q"] * 24),
])  # fmt: skip
def test_several_machines_are_asked_for(write, times, machines):
    values = [i * 7 % 11 + .5 for i in range(len(times))]
    path = write(series(times, machines, values, header="time,machine,heat"))
    with pytest.raises(ValueError, match="column 'machine', so .*entity_column='machine' .*=False"):
        load_csv(path)
    with pytest.warns(ReadingWarning, match="taken as the time"):
        data = load_csv(path, entity_column="machine", missing="hold")
    assert data.session_names == tuple(map(str, dict.fromkeys(machines)))
    for one in set(data.session):
        assert data.X[data.session == one, 0].tolist() == [
            v for v, m in zip(values, machines, strict=True) if str(m) == data.session_names[one]]


def test_what_may_tell_machines_apart_is_pointed_out(write):
    values = [i * 7 % 11 + .5 for i in range(24)]
    halves = ["m1"] * 12 + ["m2"] * 12
    for name, texts, chosen in (("mode", halves, None), ("machine", halves, None),
                                ("machine", halves, ["a"]), ("unit", ["u", "v"] * 12, None)):
        with pytest.warns(ReadingWarning):
            data = load_csv(write(series(HOURS, texts, values, header=f"when,{name},a")),
                            time_column="when", feature_columns=chosen)
        assert f"pass entity_column='{name}'" in data.notes[-1] and data.feature_names == ("a",)
    for texts in (["on"] * 12 + ["off"] * 12, ["2024-01-01"] * 12 + ["2024-01-02"] * 12):
        with pytest.warns(ReadingWarning):
            data = load_csv(write(series(HOURS, texts, values, header="when,pump,a")),
                            time_column="when")
        assert "entity_column" not in " ".join(data.notes)


@pytest.mark.parametrize(("header", "cells", "said"), [
    ("Datum,a", [h[:10] for h in HOURS], "pass time_column='Datum'"),
    ("Datum,Uhrzeit,a", [h.replace(" ", ",") for h in HOURS], "time_column=['Datum', 'Uhrzeit']"),
    ("time,a", [f"{k} days 01:00:00" for k in range(24)], "'time' is not taken as the time: '0 d"),
    ("date,a", range(1950, 1974), "they may be years or days"),
    ("Time,a", np.arange(24) / 1440 + 45292, "give time_unit='excel'"),
])  # fmt: skip
def test_times_that_nobody_named_or_that_cannot_be_read_are_pointed_out(write, header, cells, said):
    with pytest.warns(ReadingWarning):
        data = load_csv(write(series(cells, [k * 7 % 11 for k in range(24)], header=header)))
    assert data.time is None and sum(said in note for note in data.notes) == 1


def test_a_gap_is_not_filled_with_what_another_machine_had(write):
    path = write(series(["m1", "m1", "m2", "m2"], [1, 2, "", 4], header="machine,a"))
    data = load_csv(path, entity_column="machine", missing="hold")
    assert data.X[:, 0].tolist() == [1, 2, 4] and data.session.tolist() == [0, 0, 1]


def test_time_is_found_by_name_where_it_is_one(write):
    values = [i * 7 % 11 + .5 for i in range(24)]
    for name in ("time", "Timestamp", "DATE"):
        with pytest.warns(ReadingWarning, match=f"column '{name}' taken as the time"):
            data = load_csv(write(series(HOURS, values, header=f"{name},a")))
        assert data.time[1] == np.datetime64("2024-01-01T01") and data.feature_names == ("a",)
    ones = [1] * 24
    with pytest.warns(ReadingWarning) as said:
        data = load_csv(write(series([2024] * 24, ones, ones, range(24), values,
                                     header="year,month,day,hour,a")))
    assert data.time[23] == np.datetime64("2024-01-01T23") and data.feature_names == ("a",)
    assert "columns 'year' and 'month' and 'day' and 'hour' taken" in str(said[0].message)
    calendar = series(HOURS, [2024] * 24, ones, ones, values, header="time,YEAR,MONTH,DAY,a")
    with pytest.warns(ReadingWarning):
        data = load_csv(write(calendar), label_windows=[HOURS[20:22]])
    assert data.feature_names == ("a",) and data.y.sum() == 2
    assert "columns that repeat the time left out: ['YEAR', 'MONTH', 'DAY']" in data.notes[1]
    for header in (",a", ""):  # an index without a name; no names at all
        with pytest.warns(ReadingWarning):
            data = load_csv(write(series(HOURS, values, header=header).lstrip("\n")))
        assert data.time[1] == np.datetime64("2024-01-01T01") and data.X[1, 0] == values[1]
    # what repeats in most rows is no time of a series: seconds of payments, say
    seconds = write(series(np.arange(24) // 3, values, header="Time,a"))
    with pytest.warns(ReadingWarning, match="column 'Time' left out, and not .*: 16 of 24 rows"):
        data = load_csv(seconds)
    assert data.time is None and data.feature_names == ("a",)
    assert load_csv(seconds, feature_columns=["Time", "a"]).n_features == 2
    spoiled = series([*HOURS[:20], "soon", *HOURS[21:]], values, header="time,a")
    with pytest.raises(ValueError, match="'soon' in data row 21 .*; or pass time_column=False"):
        load_csv(write(spoiled))
    with pytest.raises(ValueError, match="time_column='TIME' is not .*; only case .* 'time'"):
        load_csv(write(spoiled), time_column="TIME")


def test_the_source_says_what_was_told(write, tmp_path):
    path = write(series(HOURS, range(24), header="when,a"))
    (tmp_path / "w.json").write_text(json.dumps([HOURS[20:22]]))
    data = load_csv(path, time_column="when", label_windows=tmp_path / "w.json",
                    feature_columns=["a"])
    assert data.source == ("file oven.csv; read with time_column=('when',), "
                           "feature_columns=('a',), label_windows='w.json'")
    same = load_csv(path, time_column="when", label_windows=[HOURS[20:22]], feature_columns="a")
    assert same.fingerprint == data.fingerprint


def test_repeated_timestamps_are_kept_in_file_order(write):
    path = write(HEAD + ROWS.replace("00:05", "00:01"))
    with pytest.warns(UserWarning, match="1 rows repeat the timestamp before them"):
        data = load_csv(path, time_column="when", label_column="state")
    assert data.X[:, 0].tolist() == [1, 2, 3, 4]


def test_time_as_numbers_and_with_zones(write):
    path = write("t,a\n1700000000,1\n1700000060,2\n")
    data = load_csv(path, time_column="t", time_unit="s")
    assert data.time[0] == np.datetime64("2023-11-14T22:13:20")
    path = write("t,a\n2024-01-01T01:00+01:00,1\n2024-01-01T00:30Z,2\n")
    assert load_csv(path, time_column="t").time[0] == np.datetime64("2024-01-01T00:00")


@pytest.mark.parametrize(
    ("values", "normal", "y", "kind"),
    [
        ("0 1 0", None, [0, 1, 0], "anomaly"),
        ("0.0 1.0 0.0", None, [0, 1, 0], "anomaly"),
        ("False True False", None, [0, 1, 0], "anomaly"),
        ("Normal ATTACK normal", None, [0, 1, 0], "anomaly"),
        ("1 -1 1", 1, [0, 1, 0], "-1"),
        ("BENIGN DoS BENIGN", "BENIGN", [0, 1, 0], "DoS"),
        ("2 0 2", 2, [0, 1, 0], "0"),
        ("2.0 0.0 2.0", 2, [0, 1, 0], "0.0"),
        ("0 1 0", 1, [1, 0, 1], ""),
    ],
)
def test_labels(write, values, normal, y, kind):
    rows = "".join(f"{i},{v}\n" for i, v in enumerate(values.split()))
    data = load_csv(write("a,label\n" + rows), label_column="label", normal_label=normal,
                    train_fraction=0.1)
    assert data.y.tolist() == y and data.kind[1] == kind


WINDOW = ["2024-01-01 00:01", "2024-01-01 00:05"]  # both ends are rows


@pytest.mark.parametrize("content", [[WINDOW], {"a/oven.csv": [], "oven.csv": [WINDOW]}])
def test_labels_from_windows(write, tmp_path, content):
    file = tmp_path / "windows.json"
    file.write_text(json.dumps(content))
    for windows in (file, str(file), [WINDOW], [[np.datetime64(w) for w in WINDOW]]):
        data = load_csv(write("when,heat\n" + BARE), time_column="when", label_windows=windows)
        assert data.y.tolist() == [0, 1, 1, 0] and data.kind.tolist()[1:3] == ["anomaly"] * 2
        assert data.feature_names == ("heat",)


def test_windows_are_found_by_the_end_of_the_path(write, tmp_path):
    (tmp_path / "a").mkdir()
    path = write("when,heat\n" + BARE, "a/oven.csv")
    file = tmp_path / "windows.json"
    file.write_text(json.dumps({"oven.csv": [], "a/oven.csv": [WINDOW], "ba/oven.csv": []}))
    assert load_csv(path, time_column="when", label_windows=file).y.sum() == 2


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        (["2024-01-01"], "a label window is [start, end] with start <= end, got '2024-01-01'"),
        ([WINDOW[::-1]], "a label window is [start, end] with start <= end, got ['2024-01-01 00:0"),
        ([["2024-02-01", "2024-02-02"]],
         "no row lies in the label window ['2024-02-01', '2024-02-02']; the file runs from"),
        ({"other.csv": []}, "windows.json: has no entry for oven.csv; keys are like 'other.csv'"),
        ("{", "windows.json: not readable as JSON"),
    ],
)  # fmt: skip
def test_windows_that_cannot_be_used(write, tmp_path, windows, message):
    if not isinstance(windows, list):
        text = windows if isinstance(windows, str) else json.dumps(windows)
        windows = tmp_path / "windows.json"
        windows.write_text(text)
    with pytest.raises(ValueError) as caught:
        load_csv(write("when,heat\n" + BARE), time_column="when", label_windows=windows)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_windows_need_a_time_column_and_no_label_column(write, tmp_path):
    path = write(HEAD + ROWS)
    for options in ({}, {"time_column": "when", "label_column": "state"}):
        with pytest.raises(ValueError, match="label_windows needs a time .*, and takes"):
            load_csv(path, label_windows=[WINDOW], **options)
    with pytest.raises(FileNotFoundError, match=r"none.json is not there; label_windows is a list"):
        load_csv(path, time_column="when", label_windows=tmp_path / "none.json")


@pytest.mark.parametrize(
    ("missing", "X"),
    [
        ("drop", [1.0, 4.0]),
        ("hold", [1.0, 1.0, 4.0]),
        ("keep", [np.nan, 1.0, np.nan, 4.0]),
    ],
)
def test_missing_values(write, missing, X):
    data = load_csv(write("a,n\n,0\n1,1\ninf,2\n4,3\n"), missing=missing)
    np.testing.assert_array_equal(data.X[:, 0], X)
    assert data.X[-1, 1] == 3  # the other columns stay on their rows


@pytest.mark.parametrize(
    ("dates", "days"),
    [
        (["01.02.2024 00:00", "02.02.2024 00:00"], ["2024-02-01", "2024-02-02"]),  # dots: day first
        (["1.2.24", "13.2.24"], ["2024-02-01", "2024-02-13"]),
        (["01/02/2024", "13/02/2024"], ["2024-02-01", "2024-02-13"]),  # there is no month 13
        (["02/01/2024", "02/13/2024"], ["2024-02-01", "2024-02-13"]),
        (["2024-02-01T00:00:00", "2024-02-02T00:00:00.5"], ["2024-02-01", "2024-02-02T00:00:00.5"]),
    ],
)
def test_dates_as_people_write_them(write, dates, days):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReadingWarning)
        data = load_csv(write(f"t,a\n{dates[0]},1\n{dates[1]},2\n"), time_column="t")
    assert "first" in "".join(data.notes) or "-" in dates[0]  # which of day and month comes first
    assert data.time.tolist() == np.array(days, "datetime64[ns]").tolist()


def test_dates_that_can_be_read_in_two_ways_are_pointed_out(write):
    with pytest.warns(UserWarning, match=r"such as '01/02/2024' are read with the month first"):
        data = load_csv(write("t,a\n01/02/2024,1\n03/02/2024,2\n"), time_column="t")
    assert data.time[0] == np.datetime64("2024-01-02")


def test_decimal_commas_between_semicolons(write):
    with pytest.warns(ReadingWarning) as said:
        data = load_csv(write("a;b\n1,5;1,5\n-2;2,5\n;3\n"), missing="hold")
    assert data.X.tolist() == [[1.5, 1.5], [-2, 2.5], [-2, 3]]
    assert tuple(str(w.message) for w in said) == data.notes
    assert any("numbers have decimal commas" in note for note in data.notes)
    with (pytest.warns(ReadingWarning, match="separated by"),
          pytest.raises(ValueError, match="decimal points .* and decimal commas .*; say which is")):
        load_csv(write("a;b\n1,5;1.5\n-2;2.5\n"))


def test_a_test_that_leaves_its_numbers_open_has_them_as_its_history(write):
    history = write("a;b\n1.137;2,5\n1.138;2,5\n", "history.csv")
    with pytest.warns(ReadingWarning):
        data = load_csv(history, test_path=write("a;b\n1.137;2\n1.141;3\n", "rig.csv"))
    assert data.X[:, 0].tolist() == [1137, 1138, 1137, 1141]
    assert any("may have decimal points or commas: read with commas, as before"
               in note for note in data.notes)


def test_names_of_machines_and_a_code_for_normal_keep_their_zeros(write):
    rows = "".join(f"{m},{x},0{x % 2}\n" for m in ("001", "1", "02") for x in (1, 5, 2, 7))
    path = write("m,a,l\n" + rows)
    with pytest.warns(ReadingWarning, match="labelled anomalous"):
        data = load_csv(path, entity_column="m", label_column="l", normal_label="00",
                        split="entity", train_entities=["001"])
    assert data.session.tolist() == [0] * 4 + [1] * 4 + [2] * 4 and data.train_end == 4
    assert data.kind.tolist() == ["01", "01", "", "01"] * 3
    path = write("m,a\n7.0,1\n7,2\n8,3\n8,5\n7,9\n")
    assert load_csv(path, entity_column="m").session.tolist() == [0, 0, 0, 1, 1]


def test_what_was_refused_as_no_number_is_read(write):
    """Marks between thousands, values in the first line, and times that are small numbers."""
    def read(text, **options):
        with pytest.warns(ReadingWarning):
            return load_csv(write(text), **options)

    data = read('a,b\n"5,012.57",1\n"999.10",2\n')
    assert data.X[:, 0].tolist() == [5012.57, 999.1]
    assert "such as '5,012.57' read as 5012.57" in data.notes[0]
    assert read("a;b\n5.012,57;1\n999,10;2\n").X[:, 0].tolist() == [5012.57, 999.1]
    data = read("2024-01-01,50.5,0\n2024-01-02,51.5,0\n")
    assert data.X[:, 0].tolist() == [50.5, 51.5] and "no header" in data.notes[0]
    data = read(HEAD + ROWS, time_column="heat", feature_columns=["flow"])
    assert data.time[1] == np.datetime64("1970-01-01T00:00:02") and "from the start" in (
        data.notes[0])


def test_row_numbers_and_empty_columns_are_left_out(write):
    with pytest.warns(UserWarning, match=r"left out: \['Unnamed: 0', 'b'\]"):
        data = load_csv(write(",a,b\n0,5,\n1,6,\n"))
    assert data.feature_names == ("a",)
    assert load_csv(write(",a\n0,5\n"), feature_columns=["Unnamed: 0"]).n_features == 1


def test_another_encoding_is_one_sentence(tmp_path):
    path = tmp_path / "oven.csv"
    path.write_bytes("Umsatz €\n1\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r"oven.csv: is not in UTF-8 .*; save it so .*cp1252"):
        load_csv(path)


def test_text_columns_are_left_out_with_a_word(write):
    with pytest.warns(ReadingWarning) as said:
        data = load_csv(write(HEAD + ROWS))
    assert "text columns left out: ['when', 'state']" in str(said[0].message)
    assert "column 'when' holds times: if they are those of the rows" in str(said[1].message)
    assert data.feature_names == ("heat", "flow") and not data.y.any()


def test_text_becomes_columns_of_what_the_history_holds(write):
    rows = [f"{7 * i % 50},{'red' if i % 2 else 'blue'},{'' if i == 3 else 'on'},id{i},"
            f"{i % 3 == 0}\n" for i in range(50)]
    rows[-1] = "49,green,on,id49,False\n"
    path = write("heat,colour,pump,part,open\n" + "".join(rows))
    with pytest.warns(UserWarning) as said:
        data = load_csv(path, categorical="onehot", train_fraction=0.5)
    assert data.feature_names == ("heat", "colour=blue", "colour=red", "pump=on", "pump=(missing)",
                                  "open")
    assert data.X[3].tolist() == [21, 0, 1, 0, 1, 1] and data.X[-1].tolist() == [49, 0, 0, 1, 0, 0]
    texts = " ".join(str(w.message) for w in said)
    assert "'part' left out: 25 values in 25 training rows name the rows" in texts
    assert "column 'colour': 1 later rows hold what no training row does (the first: 'green')" in (
        texts)
    named = load_csv(path, categorical="onehot", feature_columns=["pump", "heat"])
    assert named.feature_names == ("pump=on", "pump=(missing)", "heat")
    with (pytest.warns(UserWarning, match="name the rows"),
          pytest.raises(ValueError, match="has no column to use besides identifiers")):
        load_csv(path, categorical="onehot", feature_columns=["part"], train_fraction=0.9)
    leak = write("heat,label\n1,ok\n2,bad\n")
    with pytest.raises(ValueError, match="reads like a label"):
        load_csv(leak, categorical="onehot")


def test_rare_categories_share_a_column(write):
    words = ["a"] * 30 + ["b"] * 20 + [f"w{i:02d}" for i in range(22)] * 2
    path = write("kind\n" + "\n".join(words) + "\n")
    with pytest.warns(UserWarning, match="5 rare values of 24 share one column"):
        data = load_csv(path, categorical="onehot", train_fraction=0.99)
    assert len(data.feature_names) == 20 and data.feature_names[-1] == "kind=(other)"
    assert data.feature_names[:3] == ("kind=a", "kind=b", "kind=w00")
    assert (data.X.sum(axis=1) == 1).all() and data.X[:, -1].sum() == 10


def test_a_label_that_would_leak_is_refused(write):
    path = write("a,Anomaly,y\n1,0,0\n2,1,1\n")
    for options in ({}, {"label_column": "y"}):
        with pytest.raises(ValueError, match=r"'Anomaly'.* reads like a label"):
            load_csv(path, **options)
    assert load_csv(path, feature_columns=["a", "y"]).X.shape == (2, 2)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (HEAD + ROWS, {"label_column": "labl"},
         "oven.csv: label_column='labl' is not a column; it has "
         "['when', 'heat', 'flow', 'state']"),
        (HEAD + ROWS, {"time_column": "time"}, "oven.csv: time_column='time' is not a column"),
        (HEAD + ROWS, {"feature_columns": ["hot"]},
         "oven.csv: feature_columns='hot' is not a column"),
        (HEAD + ROWS, {"feature_columns": ["when"]},
         "column 'when' is not numeric ('2024-01-01 00:00' in data row 1, 4 such cells)"),
        (HEAD + ROWS, {"feature_columns": ["heat", "state"], "label_column": "state"},
         "['state'] cannot be features and labels, time or entity at once"),
        (HEAD + ROWS, {"time_column": "state"},
         "time column 'state': 'normal' in data row 1 cannot be read as a time; write times in"),
        (HEAD + ROWS, {"label_column": "heat"},
         "label column 'heat' is not 0/1; it holds ['1.0', '2.0', '3.0', '4.0']; "
         "name the normal one with normal_label="),
        (HEAD + ROWS, {"label_column": "state", "normal_label": "ok"},
         "never holds normal_label='ok'; it holds ['anomaly', 'normal']"),
        ("a,label\n1,0\n2,\n", {"label_column": "label"},
         "label column 'label' is empty in 1 rows"),
        ("a,b\n1,2\n3,4;5\n", {},
         "column 'b' is not numeric ('4;5' in data row 2, 1 such cell): if that means a missing "
         "value, pass na_values=['4;5']"),
        ("a,b\n1,2\n,3\ninf,4\n", {},
         "oven.csv: column 'a' has 2 missing or infinite values (first in data row 2); "
         "pass missing='hold', 'drop', 'keep' or 'impute'"),
        ("a,b\n1,\n,3\n", {"missing": "drop"}, "no row is left with missing='drop'"),
        ("a,b\n", {}, "oven.csv: has no rows"),
        ("", {}, "oven.csv: is empty"),
        ("a,b\n1,2\n1,2,3\n", {}, "oven.csv: line 3 has 3 fields, the header 2; put texts"),
        ("t,a\n2024-01-01,1\n2024-01-01,2\n", {"time_column": "t"},
         "1 of 2 rows repeat the timestamp before them, so the time between rows is 0; name the "
         "column that tells several machines apart with entity_column, average"),
        ("t,a\n31.12.2023,1\nsoon,2\n", {"time_column": "t"},
         "time column 't': 'soon' in data row 2 cannot be read as a time; write times in one way"),
        ("heat,is anomaly\n1,0\n", {},
         "['is anomaly'] would be used as a feature and reads like a label, which would leak; pass "
         "label_column=, or name the columns to use: feature_columns=['heat']"),
        (HEAD + ROWS, {"missing": "fill"},
         "missing must be one of 'error', 'drop', 'hold', 'keep'"),
        (HEAD + ROWS, {"train_fraction": 40},
         "train_fraction must be a number above 0 and below 1, got 40"),
    ],
)  # fmt: skip
def test_one_clear_sentence(write, text, options, message):
    with pytest.raises(ValueError) as caught:
        load_csv(write(text), **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_numeric_column(write):
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match="no numeric column to use"),
    ):
        load_csv(write("a,b\nx,y\n"))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing.csv is not there; give the path"):
        load_csv(tmp_path / "nothing.csv")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        load_csv(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"not there; give .* as seen from "):
        load_csv("nothing.csv")


@pytest.mark.parametrize(("name", "n_anomalies"), [("breast_cancer", 212), ("digits", 174)])
def test_bundled_sets_are_one_class_problems(name, n_anomalies):
    data = load_sklearn(name)
    assert data.y.sum() == data.test.y.sum() == n_anomalies
    assert data.train_end == (len(data) - n_anomalies) // 2
    assert data.fingerprint == load_sklearn(name).fingerprint
    assert data.fingerprint != load_sklearn(name, random_state=1).fingerprint
    with pytest.raises(ValueError, match="anomaly_class must be one of"):
        load_sklearn(name, anomaly_class=10)
    with pytest.raises(ValueError, match="must be one of"):
        load_sklearn("iris")


@pytest.mark.parametrize("collection", list(sources.COLLECTIONS.values()), ids=lambda c: c.name)
def test_cards_name_origin_licence_and_commit(collection):
    text = card(collection.name)
    assert collection.licence in text and collection.commit in text
    if collection.url:  # what is never fetched has no commit
        assert len(collection.commit) == 40 and collection.commit in collection.url
    assert all(len(sha) == 64 for sha in collection.checksums.values())
    with pytest.raises(ValueError, match="name must be one of"):
        card("kdd")


@pytest.fixture
def fake_collection(tmp_path, monkeypatch):
    """A collection with one known file, and a fetch that hands out what the test puts there."""
    content = b"datetime;a;anomaly;changepoint\n2024-01-01;1;0;0\n"
    asked = {}

    def retrieve(url, known_hash, fname, path):
        asked.update(url=url, known_hash=known_hash)
        file = tmp_path / fname
        file.write_bytes(content)
        return str(file)

    monkeypatch.delenv("ADLIB_DATA", raising=False)
    monkeypatch.setattr("pooch.retrieve", retrieve)
    return asked


def test_a_file_with_a_checksum_is_fetched_at_the_pinned_commit(fake_collection):
    path = "valve1/0.csv"
    sources.SKAB.file(path, None)
    assert fake_collection["url"] == f"{sources.SKAB.url}/{path}"
    assert fake_collection["known_hash"] == f"sha256:{sources.SKAB.checksums[path]}"


def test_a_file_without_a_checksum_is_refused(fake_collection):
    with pytest.raises(FileNotFoundError, match="among the 17 files whose checksum is known"):
        sources.SKAB.file("valve1/1.csv", None)
    with pytest.raises(ValueError, match="'valve1/99' is not in the local folder"):
        load_skab("valve1/99")
    assert not fake_collection


def test_no_network_is_one_sentence(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("Max retries exceeded\nwith many details")

    monkeypatch.delenv("ADLIB_DATA", raising=False)
    monkeypatch.setattr("pooch.retrieve", fail)
    with pytest.raises(ConnectionError, match="put a copy into the folder 'adbench'") as caught:
        load_adbench("thyroid")
    assert "\n" not in str(caught.value)


def test_a_given_root_is_never_left_for_the_network(tmp_path, fake_collection):
    with pytest.raises(FileNotFoundError, match="root must hold a folder 'nab'"):
        load_nab(root=tmp_path)
    (tmp_path / "skab").mkdir()
    with pytest.raises(FileNotFoundError, match="no file 'valve1/0.csv'"):
        load_skab("valve1/0", root=tmp_path)
    assert not fake_collection


@pytest.mark.parametrize("name", list(sources.COLLECTIONS))
def test_local_copies_match_the_checksums(name):
    collection = sources.COLLECTIONS[name]
    if not (SHARED / name).is_dir():
        pytest.skip(f"no folder {name!r} below ADLIB_DATA")
    # A subset of NAB's labels may lie there instead of the whole file.
    for path in set(collection.checksums) - {"labels/combined_windows.json"}:
        if (SHARED / name / path).is_file():
            content = (SHARED / name / path).read_bytes()
            assert hashlib.sha256(content).hexdigest() == collection.checksums[path], path


@needs["nab"]
def test_nab():
    streams = load_nab(root=SHARED)
    assert len(streams) >= 29
    data = streams["realKnownCause/machine_temperature_system_failure"]
    assert len(data) == 22695 and data.train_end == 750
    assert len(data.events) == 4
    short = load_nab("iio_us-east-1_i-a2eb1cd9_NetworkIn", root=SHARED)
    assert short.train_end == int(0.15 * len(short)) and "MIT" in short.source
    assert not streams["artificialNoAnomaly/art_flatline"].y.any()
    with pytest.warns(ReadingWarning, match=r"126 rows of the history \(25.4%\) are labelled"):
        same = load_csv(
            SHARED / "nab" / "data" / f"{short.name}.csv",
            time_column="timestamp",
            label_windows=SHARED / "nab" / "labels" / "combined_windows.json",
        )
    assert same.y.any() and np.array_equal(same.y, short.y)


@pytest.mark.parametrize(("load", "pattern", "separator", "clock", "left_out"), [
    pytest.param(load_nab, "nab/data/*/*.csv", ",", "timestamp", [], marks=needs["nab"]),
    pytest.param(load_skab, "skab/*/*.csv", ";", "datetime", ["anomaly", "changepoint"],
                 marks=needs["skab"]),
    pytest.param(load_tsb, "tsb/*/*.csv", ",", None, ["Label"], marks=needs["tsb"]),
])  # fmt: skip
def test_collections_are_read_to_the_last_bit(load, pattern, separator, clock, left_out):
    for file in sorted(SHARED.glob(pattern))[::7]:
        frame = pd.read_csv(file, sep=separator)
        data = load("/".join(file.with_suffix("").parts[-2:]), root=SHARED)
        values = frame.drop(columns=[*left_out, *filter(None, [clock])], errors="ignore")
        np.testing.assert_array_equal(data.X, values.to_numpy(np.float64))
        assert data.feature_names == tuple(values) and not data.notes
        if clock:
            times = pd.to_datetime(frame[clock]).to_numpy("datetime64[ns]")
            np.testing.assert_array_equal(data.time, np.maximum.accumulate(times))


@needs["adbench"]
def test_adbench():
    data = load_adbench("thyroid", root=SHARED)
    assert data.X.shape == (3772, 6) and data.y.sum() == 93
    assert data.train_end == (3772 - 93) // 2 and not data.y[: data.train_end].any()
    big = load_adbench("16_http", root=SHARED, random_state=1)
    assert len(big) == 6000 and big.y.sum() == 23
    with pytest.raises(ValueError, match="near it are"):
        load_adbench("thyroidd", root=SHARED)


@needs["skab"]
def test_skab():
    data = load_skab("valve1/0", root=SHARED)
    assert data.X.shape == (1147, 8) and data.train_end == 400
    assert "anomaly" not in data.feature_names and "changepoint" not in data.feature_names
    assert set(data.kind) == {"", "valve1"} and data.y.sum() == 401
    assert not load_skab("anomaly-free", root=SHARED).y.any()
    with pytest.raises(ValueError, match="give the folder"):
        load_skab("0", root=SHARED)


def write_series(folder, name, header="Data,Label", rows=30):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{i * 0.5},{int(i in (25, 26))}" for i in range(rows)]
    (folder / f"{name}.csv").write_text("\n".join([header, *lines]) + "\n")


@pytest.mark.parametrize("outer", ["", "tsb"])
def test_tsb_is_read_in_the_layout_of_its_archive(tmp_path, monkeypatch, outer):
    name = "001_NAB_id_1_Facility_tr_20_1st_25"
    write_series(tmp_path / outer / "TSB-AD-U", name)
    write_series(tmp_path / outer / "TSB-AD-M", name)
    monkeypatch.setenv("ADLIB_DATA", str(tmp_path))
    both = load_tsb()
    assert set(both) == {f"TSB-AD-U/{name}", f"TSB-AD-M/{name}"}
    data = load_tsb(f"TSB-AD-U/{name}", root=tmp_path)
    assert data.train_end == 20 and data.X.shape == (30, 1) and data.feature_names == ("Data",)
    assert data.y.sum() == 2 and data.y[25] and "Liu and Paparrizos" in data.source
    assert set(load_tsb(part="M")) == {f"TSB-AD-M/{name}"} == {load_tsb(name, part="M").name}
    with pytest.raises(ValueError, match="give the folder"):
        load_tsb(name)


def test_tsb_says_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.delenv("ADLIB_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="unpack TSB-AD-U.zip and TSB-AD-M.zip"):
        load_tsb()
    with pytest.raises(FileNotFoundError, match="must hold a folder 'tsb'"):
        load_tsb(root=tmp_path)
    write_series(tmp_path / "TSB-AD-U", "001_NAB")
    with pytest.raises(ValueError, match="001_NAB.csv must say after how many rows training ends"):
        load_tsb("001_NAB", root=tmp_path)
    write_series(tmp_path / "TSB-AD-U", "002_NAB_tr_20_1st_25", header="Data,label")
    with pytest.raises(ValueError, match="'Label' is not a column"):
        load_tsb("002_NAB_tr_20_1st_25", root=tmp_path)
    write_series(tmp_path / "TSB-AD-U", "003_NAB_tr_99_1st_25")
    with pytest.raises(ValueError, match="train_end=99"):
        load_tsb("003_NAB_tr_99_1st_25", root=tmp_path)
    (tmp_path / "TSB-AD-U" / "004_NAB_tr_1_1st_2.csv").write_text("Data,Label\nhigh,0\nlow,1\n")
    with pytest.raises(ValueError, match="004_NAB_tr_1_1st_2: X must"):
        load_tsb("004_NAB_tr_1_1st_2", root=tmp_path)


@needs["tsb"]
def test_tsb():
    data = load_tsb("003_MSL_id_2_Sensor_tr_883_1st_1238", root=SHARED)
    assert data.n_features == 55 and data.train_end == 883 and not data.y[:1238].any()
    assert all(one.n_features == 1 for one in load_tsb(part="U", root=SHARED).values())


def write_table(folder, **changes):
    rng = np.random.default_rng(0)
    arrays = {"train": rng.normal(size=(60, 2)), "test": rng.normal(size=(90, 2)),
              "test_labels": np.arange(90) % 3 == 0, "feature_names": np.array(["a", "b"])}
    arrays["train"][:20, 1] = np.nan
    folder.mkdir(parents=True)
    np.savez(folder / "Pumps.npz", **{k: v for k, v in (arrays | changes).items() if v is not None})
    return arrays


def test_odd_is_read_by_its_protocol(tmp_path):
    arrays = write_table(tmp_path / "odd" / "oddbench")
    data = load_odd("Pumps", root=tmp_path)
    assert data.name == "oddbench/Pumps" and not data.ordered and data.feature_names == ("a", "b")
    assert data.train_end == 60 and not data.y[:60].any() and data.y.sum() == 30
    assert (data.X[:20, 1] == np.nanmedian(arrays["train"][:, 1])).all()
    small = load_odd("Pumps", root=tmp_path, max_rows=45)
    assert (small.train_end, len(small), small.y.sum()) == (45, 90, 20)
    assert set(load_odd(part="oddbench", root=tmp_path)) == {"oddbench/Pumps"}
    assert load_odd(part="ovrbench", root=tmp_path) == {}


def test_odd_says_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.delenv("ADLIB_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="unpack OddBench and OvRBench"):
        load_odd()
    write_table(tmp_path / "oddbench", test_labels=None, feature_names=np.array(["a", "a"]))
    with pytest.raises(ValueError, match="Pumps.npz must hold .* it lacks test_labels"):
        load_odd("Pumps", root=tmp_path)
    write_table(tmp_path / "ovrbench", feature_names=np.array(["a", "a"]))
    assert load_odd("ovrbench/Pumps", root=tmp_path).feature_names == ("x0", "x1")


@needs["odd"]
def test_odd():
    data = load_odd(root=SHARED, part="ovrbench")
    assert len(data) == 27 and all(one.train_end <= 2000 for one in data.values())


@pytest.fixture
def recording(tmp_path):
    for number in range(4):
        state = ["normal"] * 10
        if number >= 2:
            state[4:8] = ["fault", "fault", "recovery", "sham"]
        frame = pd.DataFrame(
            {
                "session": number,
                "t": range(1, 11),
                "cpu_pct": np.arange(10.0) + 100 * number,
                "queue": [np.nan, 1, np.nan, *range(7)],
                "env_steal_pct": 0.5,
                "commanded": ["cpu_hog" if s in ("fault", "sham") else "" for s in state],
                "strength": [0.3 if s == "fault" else "" for s in state],
                "effect": [int(s == "fault") for s in state],
                "state": state,
            }
        )
        frame.to_csv(tmp_path / f"session_{number}.csv", index=False)
    return tmp_path


def test_telemetry_labels_and_splits(recording):
    data = load_telemetry(root=recording)
    assert data.feature_names == ("cpu_pct", "queue")
    assert data.slices() == (slice(0, 10), slice(10, 20), slice(20, 40))
    assert data.y.sum() == 4 and set(data.kind[data.y == 1]) == {"cpu_hog"}
    assert set(data.kind) == {"", "cpu_hog", "recovery", "sham"} and (~data.judged).sum() == 2
    assert data.session.tolist() == np.repeat([0, 1, 2, 3], 10).tolist()
    assert set(data.strength[data.y == 1]) == {0.3} and data.strength.sum() == pytest.approx(1.2)
    # Missing readings are held within their own session.
    assert data.X[10:13, 1].tolist() == [1, 1, 1]
    assert (np.diff(data.time) > np.timedelta64(0)).all()


def test_telemetry_sessions_can_be_chosen(recording):
    data = load_telemetry([3, 0], root=recording)
    assert data.session.tolist() == [0] * 10 + [3] * 10
    assert data.slices() == (slice(0, 10), slice(10, 10), slice(10, 20))
    with pytest.raises(FileNotFoundError, match=r"no sessions \[9\] in .* has \[0, 1, 2, 3\]"):
        load_telemetry([0, 9], root=recording)
    with pytest.raises(FileNotFoundError, match="no recorded sessions"):
        load_telemetry(root=recording / "elsewhere")


def test_the_recording_that_ships():
    n_sessions = len(list((REPO / "data" / "telemetry").glob("session_*.csv")))
    if n_sessions < 8:
        pytest.skip(f"{n_sessions} of 8 sessions are recorded so far")
    data = load_telemetry()
    assert data.n_features >= 15 and np.isfinite(data.X).all()
    train, calibrate, test = data.split()
    assert not train.y.any() and not calibrate.y.any() and test.y.any()
    assert data.y.mean() <= 0.05
