"""Columns of a table: labels, windows of labels, features, and what is none."""

import datetime
import json
import warnings

import numpy as np
import pandas as pd
import pytest

from adlib.datasets import load_csv
from adlib.reading.columns import features
from adlib.reading.labels import at_one_end, inside, labels, tokens, windows_of
from adlib.reading.numbers import Numbers
from adlib.reading.options import Reading
from adlib.reading.times import Clock

N = 1000
RNG = np.random.default_rng(0)
Y = RNG.random(N) < 0.03
HEAT = RNG.normal(size=N)
COUNT = np.arange(N)


def look(columns, y=None, *, special=(), texts=False, order=None, **options):
    """Names of the features, and the notes."""
    frame = pd.DataFrame(columns)
    if order is not None:
        frame = frame.iloc[order]
    reading, notes = Reading(**options), []
    numbers = Numbers.recognise([frame[c] for c in frame], reading, ",", notes.append)
    values, names = features(frame, reading, numbers, y, list(special), notes.append, texts=texts)
    assert (values.dtypes == np.float64).all() and set(values) <= set(names)
    return names, notes


def refused(*args, **options):
    with pytest.raises(ValueError) as caught:
        look(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- a column of labels ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "normal", "y", "said"),
    [
        (["0", "1"], None, [0, 1], ""),
        ([0.0, 1.0], None, [0, 1], ""),
        (["0,00", "1,00"], None, [0, 1], ""),
        (["off", "ON"], None, [0, 1], ""),
        (["pass", "Fail"], None, [0, 1], ""),
        ([True, False], None, [1, 0], ""),
        (["ok ", " faulty"], None, [0, 1], ""),
        ([-1, 1], 1, [1, 0], ""),
        (["off", "on"], False, [0, 1], "normal_label=False is taken to be 'off'"),
        (["no", "yes", "no"], False, [0, 1, 0], "normal_label=False is taken to be 'no'"),
        (["0", "4"], False, [0, 1], "normal_label=False is taken to be '0'"),
        (["on", "stuck"], True, [0, 1], "normal_label=True is taken to be 'on'"),
        ([True, False], 1, [0, 1], "normal_label=1 is taken to be 'True'"),
        ([False, True], False, [0, 1], ""),
        (["OK", "Leak"], "ok", [0, 1], "normal_label='ok' is taken to be 'OK'"),
        ([2.0, 4.0], "2", [0, 1], ""),
        ([None, "DoS", np.nan], "None", [0, 1, 0], "2 empty cells are taken to be "
         "normal_label='None'"),
    ],
)
def test_a_label_column(cells, normal, y, said):
    notes = []
    found, kind = labels(pd.Series(cells, name="state"), normal, notes.append)
    assert found.dtype == bool and found.tolist() == [bool(v) for v in y]
    assert [bool(k) for k in kind] == found.tolist()
    assert [n.removeprefix("label column 'state': ") for n in notes] == [said] * bool(said)


@pytest.mark.parametrize(
    ("name", "cells", "normal", "message"),
    [
        ("y", [1, -1], None, "holds -1 and 1, and either may mean an anomaly (in scikit-learn -1"),
        ("y", ["up", "down"], None, "is not 0/1; it holds ['down', 'up']; name the normal one"),
        ("y", ["ok", None], None, "label column 'y' is empty in 1 rows"),
        ("y", ["ok", "  "], "ok", "label column 'y' is empty in 1 rows"),
        ("y", ["ok", "bad"], "fine", "never holds normal_label='fine'; it holds ['bad', 'ok']"),
        ("is_normal", [1, 0], None, "is named as if '1' meant normal; it holds ['0', '1']; name"),
    ],
)
def test_labels_that_cannot_be_told(name, cells, normal, message):
    with pytest.raises(ValueError) as caught:
        labels(pd.Series(cells, name=name), normal, print)
    assert message in str(caught.value)


def test_a_name_of_both_sides_says_nothing():
    assert labels(pd.Series([0, 1], name="Normal/Attack"), None, print)[0].tolist() == [False, True]


def test_a_label_on_every_row_is_doubted():
    notes = []
    assert labels(pd.Series([1, 1], name="y"), None, notes.append)[0].all()
    assert "marks every row as an anomaly ('1'); if that is normal, say so" in notes[0]


def test_labels_at_one_end_of_a_table():
    y = np.arange(50) < 10
    assert at_one_end(y) == "all 10 anomalous rows are the first ones"
    assert at_one_end(y[::-1]) == "all 10 anomalous rows are the last ones"
    assert at_one_end(np.roll(y, 1)) == at_one_end(np.arange(50) < 2) == at_one_end(y | ~y) == ""


# -- windows of labels ----------------------------------------------------------------------------

TIMES = np.arange("2024-03-02", "2024-03-05", dtype="datetime64[10m]").astype("datetime64[ns]")
DAY = datetime.date(2024, 3, 3)


@pytest.mark.parametrize(
    ("window", "rows"),
    [
        (["2024-03-03", "2024-03-03"], 144),
        ([DAY, DAY], 144),
        ([np.datetime64("2024-03-03"), np.datetime64("2024-03-03")], 144),
        (["2024-03-03", "2024-03-03 00:00"], 1),
        ([datetime.datetime(2024, 3, 3), datetime.datetime(2024, 3, 3, 1)], 7),
        (["2024-03-03 12:00", None], 72 + 144),
        (["2024-03-03T12:00Z", "9999-12-31"], 72 + 144),
        (["2024-03-03 12:00", "2262-04-12 00:00"], 72 + 144),
        ([datetime.date(1, 1, 1), "2024-03-02"], 144),
        (["0001-01-01", "9999-12-31T23:59:59"], 3 * 144),
        ([None, float("nan")], 3 * 144),
        (["2024-03-04", "2024-03-04"], 144),
        ([None, "2024-03"], 3 * 144),
    ],
)
def test_windows(window, rows):
    notes = []
    y = inside(TIMES, [window], notes.append)
    assert y.sum() == rows and (notes == [] or window[1] == "2024-03")


def test_windows_in_a_zone_and_as_the_file_writes_times():
    y = inside(TIMES, [["2024-03-03", "2024-03-03"]], print, zone="Europe/Berlin")
    assert y.sum() == 144 and TIMES[y][0] == np.datetime64("2024-03-02T23:00")
    spring = np.arange("2024-03-30", "2024-04-02", dtype="datetime64[h]").astype("datetime64[ns]")
    assert inside(spring, [["2024-03-31"] * 2], print, zone="Europe/Berlin").sum() == 23
    column = pd.Series(["02.03.2024 00:00", "03.03.2024 00:00", "14.03.2024 10:00"])
    clock = Clock.recognise(column, Reading(), lambda note: None)
    time = clock.column(column)
    window = ["03.03.2024", "03.03.2024"]
    assert inside(time, [window], print, clock=clock).tolist() == [False, True, False]
    column = pd.Series([1709424000000, 1709424060000, 1709424120000])
    clock = Clock.recognise(column, Reading(time_unit="ms"), lambda note: None)
    for window in ([1709424060000, None], ["2024-03-03 00:01", None]):
        assert inside(clock.column(column), [window], print, clock=clock).sum() == 2


@pytest.mark.parametrize(("window", "hours"), [
    (["2024-03-05 08", "2024-03-05 10"], 3), (["20240303T0800", "20240303T1000"], 3),
    (["2024-03-03 8 AM", "2024-03-03 10 AM"], 3), (["03.03.2024 08.00", "03.03.2024 10.00"], 3),
    ([20240303, 20240303], 24), (["20240303", "20240303"], 24), (["3 Mar 2024", "3 Mar 2024"], 24),
    (["13/03/2024", "14/03/2024"], 48), (["2024-03", "2024-03"], 31 * 24)])
def test_ends_of_windows_with_a_time_of_day_and_without(window, hours):
    time = np.arange("2024-03-01", "2024-04-01", dtype="datetime64[h]").astype("datetime64[ns]")
    column = pd.Series(time.astype("datetime64[s]").astype(str))
    clock = Clock.recognise(column, Reading(), print)
    assert inside(time, [window], lambda note: None, clock=clock, column=column).sum() == hours


def test_the_order_of_day_and_month_in_windows_is_told_or_noted():
    days = np.arange("2024-03-01", "2024-07-01", dtype="datetime64[D]").astype("datetime64[ns]")
    clock = Clock.recognise(pd.Series(days.astype(str)), Reading(), print)
    notes = []
    y = inside(days, [["03/04/2024", "04/04/2024"]], notes.append, clock=clock)
    assert y.sum() == 32 and "month first" in notes[0] and "write them as 2024-01-31" in notes[0]
    windows = [["03/04/2024", "04/04/2024"], ["13/04/2024", "13/04/2024"]]
    assert inside(days, windows, notes.append, clock=clock).sum() == 3


def test_windows_beyond_the_file_are_noted_and_elsewhere_refused():
    notes = []
    y = inside(TIMES, [["2024-02-01", "2024-03-02"], ["2024-03-04", "2024-04-01"]], notes.append)
    assert y.sum() == 288 and len(notes) == 1
    assert "label windows reach beyond the file (['2024-02-01', '2024-03-02'], [" in notes[0]
    for window, message in [
        (["2024-05-01", None], "no row lies in the label window ['2024-05-01', None]; the file"),
        (["2024-03-03", "soon"], "a label window is [start, end] with start <= end, got"),
        ([5, 6], "a label window is [start, end]"),
        (["2024-03-03"], "a label window is [start, end]"),
        ([True, False], "a label window is [start, end]"),
    ]:
        with pytest.raises(ValueError) as caught:
            inside(TIMES, [window], print)
        assert message in str(caught.value)


def test_windows_from_files(tmp_path):
    file = tmp_path / "windows.json"
    file.write_text(json.dumps({"real/oven.csv": [["a", "b"]], "other/tap.csv": [],
                                "real/pump.csv": [], "art/pump.csv": [["c", "d"]]}))
    assert windows_of(tmp_path / "oven.csv", file) == [["a", "b"]]
    assert windows_of(tmp_path / "oven.csv.gz", str(file)) == [["a", "b"]]
    assert windows_of(tmp_path / "art" / "pump.csv", file) == [["c", "d"]]
    with pytest.raises(ValueError, match="2 entries for pump.csv: real/pump.csv, art/pump.csv"):
        windows_of(tmp_path / "pump.csv", file)
    with pytest.raises(ValueError, match="has no entry for x.csv; keys are like 'art/pump.csv'"):
        windows_of(tmp_path / "x.csv", file)
    table = tmp_path / "windows.csv"
    table.write_text("Start,End\n2024-03-03,2024-03-03\n2024-03-04 12:00,\n")
    assert inside(TIMES, windows_of(tmp_path / "x.csv", table), print).sum() == 144 + 72
    table.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="windows.csv: not readable as a CSV of start,end"):
        windows_of(tmp_path / "x.csv", table)


# -- columns that would leak ----------------------------------------------------------------------


@pytest.mark.parametrize("name", [
    "label", "Class", "is anomaly", "attack_label", "ground_truth", "groundTruth", "Outlier?",
    "Machine failure", "Class/ASD", "isFraud", "is_attack", "target", "changepoint", "is.anomaly",
    "binaryTarget", "FAULT-FLAG", "isanomaly", "y_true_label", "normal",
])
def test_names_of_labels_are_refused(name):
    flag = (RNG.random(N) < 0.3).astype(int)
    columns = {"heat": HEAT, name: flag, "t": np.arange(N), "text": ["a", "b"] * (N // 2),
               "anomaly_label": flag, "still": 5}
    for y, way in ((None, "pass label_column=, or"), (Y, "leave it out, or")):
        told = {"label_column": "other"} if y is not None else {}
        message = refused(columns | {"other": Y}, y, special=["other"], **told)
        assert repr(name) in message and way in message
        assert message.endswith("feature_columns=['heat']")
    assert look(columns, feature_columns=["heat", name])[0] == ["heat", name]
    gaps = np.where(COUNT % 9 == 0, np.nan, flag)
    assert repr(name) in refused({"heat": HEAT, name: gaps})


def test_measured_columns_with_such_words_pass():
    columns = {"fault_current": HEAT, "target_temperature": HEAT.round(2), "x": HEAT, "y": HEAT,
               "passenger_class": RNG.integers(1, 4, N), "class_size": RNG.integers(10, 40, N)}
    names, notes = look(columns)
    assert names == list(columns) and len(notes) == 1
    assert "['passenger_class'] may be labels or results of a detector, by name" in notes[0]
    assert look(columns, Y) == (list(columns), [])
    assert "['anomaly_score'] may be" in look({"a": HEAT, "anomaly_score": HEAT}, Y)[1][0]
    assert "['grade_class']" in refused(
        {"a": HEAT, "grade_class": ["low", "high"] * (N // 2)}, texts=True)


@pytest.mark.parametrize("code", [
    np.where(Y, 3, 7), np.where(Y, RNG.integers(1, 4, N), 0), np.where(Y, np.nan, 1.0),
    np.where(Y, "down", "up"), ~Y,
])
def test_a_label_in_other_words_is_refused_whatever_its_name(code):
    message = refused({"heat": HEAT, "zone": code}, Y, texts=True)
    assert message.startswith("['zone'] would be used as a feature and says which rows are labell")
    assert look({"heat": HEAT, "zone": code}, texts=True)[1] == []
    assert look({"heat": HEAT, "zone": code}, Y, texts=True, feature_columns=["zone"])[1] == []


@pytest.mark.parametrize("sensor", [
    np.where(Y, 100 + 50 * RNG.random(N), HEAT), np.where(Y, 0, RNG.integers(20, 26, N)),
    np.where(Y, RNG.random(N), 0), np.where(RNG.random(N) < 0.5, Y, 0),
    np.where(Y, 0.1, HEAT.round(1)),
])
def test_a_sensor_that_separates_is_none(sensor):
    assert look({"heat": HEAT, "sensor": sensor}, Y)[0] == ["heat", "sensor"]


def test_small_tables_prove_nothing():
    assert look({"heat": [1, 1, 1, 9]}, np.array([0, 0, 0, 1], bool)) == (["heat"], [])


def test_modes_of_failure_are_in_no_proposal():
    modes = {c: (RNG.random(N) < 0.01).astype(int) for c in ("TWF", "HDF", "PWF", "OSF", "RNF")}
    failed = np.max(list(modes.values()), axis=0)
    columns = {"Air": HEAT, "wear": np.arange(N) % 250, **modes}
    for failure in (failed, np.where(failed, np.argmax(list(modes.values()), axis=0) + 1, 0)):
        assert "feature_columns=['Air', 'wear']" in refused({**columns, "class": failure})
    names, notes = look(columns, failed.astype(bool))
    assert names == list(columns) and len(notes) == 1
    assert notes[0].startswith(f"{list(modes)} may encode the label, changing on labelled rows")
    assert notes[0].endswith("feature_columns=['Air', 'wear']")


# -- columns that only number the rows ------------------------------------------------------------


@pytest.mark.parametrize(("name", "cells", "why"), [
    ("k", COUNT * 60 + 1.7e9, "the same step"),
    ("k", -0.1 * COUNT, "the same step"),
    ("k", [f"{i}" for i in COUNT], "the same step"),
    ("meter", np.cumsum(RNG.random(N)), "values that rise or fall"),
    ("k", np.where(COUNT % 7 == 3, np.nan, COUNT), "the same step"),
    ("Time", COUNT // 3, "values that rise or fall"),
    ("customerID", RNG.permutation(N), "another whole number"),
])
def test_clocks_counters_and_identifiers_are_left_out(name, cells, why):
    names, notes = look({"heat": HEAT, name: cells})
    assert names == ["heat"] and len(notes) == 1
    assert notes[0].startswith(f"columns with {why}") and f"['{name}'] left out" in notes[0]
    assert look({"heat": HEAT, name: cells}, feature_columns=["heat", name])[0] == ["heat", name]
    names, notes = look({name: cells})
    assert names == [name] and "kept, as there is no other feature" in notes[0]


def test_counters_are_seen_in_the_order_of_the_file_and_of_time():
    order = RNG.permutation(N)
    assert look({"heat": HEAT, "k": COUNT}, order=order)[0] == ["heat"]
    assert look({"heat": HEAT, "k": order.argsort()}, order=order)[0] == ["heat"]
    assert look({"heat": HEAT, "k": RNG.permutation(N)}, order=order)[0] == ["heat", "k"]


def test_counters_of_each_machine():
    columns = {"unit": np.arange(N) // 300, "cycle": COUNT % 300, "heat": HEAT}
    assert look(columns, special=["unit"], entity_column="unit")[0] == ["heat"]
    assert look(columns, special=["unit"])[0] == ["cycle", "heat"]


@pytest.mark.parametrize(("name", "cells"), [
    ("k", np.arange(19)), ("k", np.sort(HEAT[:49])), ("k", np.arange(100) // 2),
    ("k", np.ones(100)), ("hour", np.arange(100) % 24), ("NO", HEAT[:100]),
    ("id", np.arange(100) % 5), ("response_time", HEAT[:100]), ("level", RNG.permutation(100)),
])
def test_what_is_no_counter(name, cells):
    cells = np.asarray(cells)
    assert look({"heat": HEAT[: len(cells)], name: cells}) == (["heat", name], [])


@pytest.mark.parametrize(("name", "cells", "why"), [
    ("t", COUNT // 10, "values that rise or fall"), ("t", COUNT % 100, "values that rise and"),
    ("t [s]", np.where(COUNT % 50 == 49, COUNT - 3, COUNT) * 0.1, "values that rise and begin"),
    ("clock", np.cumsum(RNG.random(N) > 0.05), "values that rise or fall"),
    ("session", COUNT // 100, "one value in each run"), ("run", COUNT // 100 % 2, "one value in"),
    ("Session", np.array([7, 3, 12, 5, 9, 1, 2, 8, 4])[COUNT * 9 // N], "one value in each run"),
])
def test_a_clock_that_begins_anew_and_the_number_of_a_run_are_left_out(name, cells, why):
    names, notes = look({"heat": HEAT, name: cells})
    assert names == ["heat"] and notes[0].startswith(f"columns with {why}")
    assert f"'{name}'" not in refused({"heat": HEAT, name: cells, "label": Y}).split("=[")[1]


def test_what_may_number_runs_or_be_a_second_label_is_noted_and_in_no_proposal():
    names, notes = look({"heat": HEAT, "level": np.array([35, 20, 50])[COUNT * 3 // N]})
    assert names == ["heat", "level"] and notes == [
        "['level'] may number runs, holding each value in one block of rows; if so, name the "
        "columns to use: feature_columns=['heat']"]
    y = np.isin(COUNT // 20, [7, 21])
    effect = np.where(np.isin((COUNT - 4) // 20, [7, 8, 21, 22]), 1 + COUNT // (N // 2), 0)
    names, notes = look({"heat": HEAT, "effect": effect}, y)
    assert names == ["heat", "effect"] and "['effect'] may be a second label" in notes[0]
    assert look({"heat": HEAT, "pump": COUNT // 25 % 2, "level": effect[::-1]}, y)[1] == []
    assert refused({"heat": HEAT, "effect": effect, "label": y}).endswith("=['heat']")
    assert "['effect'] may be labels" in look({"heat": HEAT, "effect": effect})[1][0]
    assert look({"heat": HEAT, "side effect": HEAT})[1] == []


# -- other columns --------------------------------------------------------------------------------


def test_dates_texts_and_hollow_columns():
    when = pd.date_range("2024-01-01", periods=N, freq="min")
    frame = {"heat": HEAT, "when": when, "zoned": when.tz_localize("UTC"), "text": ["a"] * N,
             "Unnamed: 0": COUNT, "none": np.nan, "took": pd.to_timedelta(COUNT, unit="s"),
             "open": pd.Series([True, False] * (N // 2), dtype=object), "list": [[1]] * N}
    names, notes = look(frame)
    assert names == ["heat", "open"]
    assert "columns without a name or values left out: ['Unnamed: 0', 'none']" in notes
    assert any("['when', 'zoned', 'text', 'took', 'list']" in note for note in notes)
    assert "has no numeric column to use" in refused({"text": ["a", "b"]})


def test_names_that_are_no_columns():
    assert "feature_columns='hot' is not a column; it has ['heat']" in refused(
        {"heat": HEAT}, feature_columns=["hot"])
    assert "cannot be features and labels, time or entity at once" in refused(
        {"heat": HEAT}, special=["heat"], feature_columns=["heat"])
    for option, name in ("label_column", True), ("time_column", True), ("feature_columns", [True]):
        with pytest.raises(ValueError, match="put it in quotes: YAML makes True or False of it"):
            Reading(**{option: name})


def test_words_of_names():
    assert tokens("isFraud2") == ["is", "fraud", "2"] and tokens("HTTPStatus") == ["http", "status"]


@pytest.mark.parametrize("content", ["a,b\n{0},1\n{0}2,0\n{0}3,1\n", "a,{0}\n1,x\n2,y\n"],
                         ids=["label", "name"])
@pytest.mark.parametrize("word", ["9" * 5_000 + "x", "\u202e\x1b[31m" * 500], ids=["long", "odd"])
def test_a_sentence_stays_one_whatever_a_cell_holds(tmp_path, content, word):
    path = tmp_path / "odd \x1b[2J.csv"
    path.write_text(content.format(word))
    with pytest.raises(ValueError) as refused:
        load_csv(path, label_column="a" if content.startswith("a,b") else "no such")
    assert str(refused.value).isprintable() and len(str(refused.value)) <= 1_000


@pytest.mark.parametrize("digits", [20, 309, 400, 4_301, 50_000])
@pytest.mark.parametrize("head", ["time", "hour", "date,time", "date,hour,minute", "value"])
def test_numbers_of_any_length_are_read_or_refused(tmp_path, head, digits):
    path = tmp_path / "long.csv"
    cells = ["2024-01-01"] * head.startswith("date") + ["{}"] + ["0"] * ("minute" in head)
    path.write_text(f"{head},a,b\n" + "".join(
        f"{','.join(cells).format(cell)},{k % 7}.5,{k % 5}.25\n"
        for k, cell in enumerate([*range(40), "1" + "9" * digits])))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            assert len(load_csv(path).X) == 41
        except ValueError as error:
            assert "long.csv: " in str(error) and len(str(error)) <= 1_000
    assert not [w for w in caught if issubclass(w.category, RuntimeWarning)]
