"""What arrives: a field that cannot be read is missing, a record that cannot be is told."""

import json

import numpy as np
import pytest

from adlib.reading.options import Reading
from adlib.reading.records import Records
from adlib.reading.table import read_table
from adlib.realtime.doors.files import one_series

NAN = np.nan


def read(lines, features=None, reading=None, **how):
    """Times, values (None: poison) and notes; lines come one by one, as from a slow sensor."""
    notes = []
    records = Records(features, reading or Reading(), notes.append, **how)
    coded = [line.encode(errors="surrogatepass") for line in lines]
    found = [record for line in coded for record in records.lines([line])]
    found += records.lines([], end=True)
    again = Records(features, reading or Reading(), lambda _: None, **how).lines(coded, end=True)
    values = [record.values if record.is_whole else None for record in found]
    np.testing.assert_array_equal(
        [v for v in values if v], [r.values for r in again if r.is_whole])  # however they come
    return [record.time for record in found], values, notes


def messages(payloads, features=None, reading=None, **how):
    notes = []
    records = Records(features, reading or Reading(), notes.append, **how)
    found = [records.message(p if isinstance(p, bytes) else p.encode()) for p in payloads]
    return [r.time for r in found], [r.values if r.is_whole else None for r in found], notes


@pytest.mark.parametrize(("row", "values"), [
    ('{"x": 1, "y": 2}', [1, 2]), ('{"y": "317.3988", "x": "-1e3", "z": 7}', [-1000, 317.3988]),
    ('{"x": true, "y": false}', [1, 0]), ('{"x": null, "y": "N/A"}', [NAN, NAN]),
    ('{"y": 2}', [NAN, 2]), ('{"up": 1}', None), ('{"x": "???", "y": 2}', [NAN, 2]),
    ('{"x": {"v": 1}, "y": [2]}', [NAN, NAN]), ('[1, "2"]', [1, 2]), ('[1, "?"]', [1, NAN]),
    ('{"x": 1e999, "y": "1_0"}', [NAN, NAN]),
    ('{"x": Infinity, "y": "-inf"}', [NAN, NAN]), ('{"x": -999, "y": "-999"}', [-999, -999]),
    ('{"x": ' + "9" * 400 + ', "y": 2}', [NAN, 2]),
    ("oops", None), ('{"x": 1', None), ('"x"', None), ("[" * 2000, None), ("", None)])
def test_json_records(row, values):
    first = '{"x": 0, "y": 0}'
    (_, found), _, _ = messages([first, row], ["x", "y"])[1], None, None
    np.testing.assert_array_equal(found, values) if values else None
    assert (found is None) == (values is None)
    if row:
        found = read([first, row], ["x", "y"])[1][1]
        np.testing.assert_array_equal(found, values) if values else None
        assert (found is None) == (values is None)


def test_told_words_and_numbers_are_missing_and_three_others_are_told():
    rows = [json.dumps({"x": x}) for x in (1, -999, "?", "bad", "worse", "broken", "off", 2)]
    _, values, notes = read(rows, ["x"], Reading(na_values=[-999, "?"]))
    np.testing.assert_array_equal(np.ravel(values), [1, NAN, NAN, NAN, NAN, NAN, NAN, 2])
    assert [note[:24] for note in notes] == [
        "field 'x' holds 'bad', w", "field 'x' holds 'worse',", "field 'x' holds 'broken'",
        "further fields that cann"]


@pytest.mark.parametrize("broken", ["garbage", '{"error": "starting"}', '{"x": ', "[]"])
def test_a_broken_first_record_fixes_nothing(broken):
    rows = ['{"at": "up", "time": 1700000000, "x": "1,5", "z": 2}', '{"x": "2,5", "z": 3}']
    for take in (read, messages):
        times, values, notes = take([broken, *rows])
        assert values == [None, [1.5, 2], [2.5, 3]] and times == [None, 1.7e9, None]
        assert any("'at'" in note for note in notes)


def test_lines_of_a_table_are_as_in_a_file():
    lines = ["Datum;Zeit;x;y", "31.12.2024;10:00;20,126;5,602", "31.12.2024;10:01;1.020,5;",
             "31.12.2024;;1;2;3;4", "01.01.2025;00:00;-;7"]
    times, values, notes = read(lines, ["y", "x"], Reading(time_column=["Datum", "Zeit"],
                                                           time_zone="Europe/Berlin"))
    np.testing.assert_array_equal(np.vstack([v for v in values if v]), [
        [5.602, 20.126], [NAN, 1020.5], [7, NAN]])
    assert values[2] is None and times[:2] + times[3:] == [1735635600, 1735635660, 1735686000]
    assert any("'-'" in note for note in notes)


def test_a_table_without_header_or_with_one_that_no_row_fits():
    assert read(["1,2", "3,4"], ["a", "b"])[1] == [[1, 2], [3, 4]]
    assert read(["2024-01-01,2", "2024-01-02,4"], ["x1"])[:2] == (
        [1704067200, 1704153600], [[2], [4]])
    for lines in (["a,b", "oops", "oops"], ["oops", "no", "\ud800"]):
        assert set(read(lines, ["a", "b"])[1]) == {None}
    with pytest.raises(ValueError, match="no column 'a', only b"):
        read(["b", "1", "2"], ["a"])
    with pytest.raises(ValueError, match="no column 'c', only a, b"):
        read(["a,b", "1,2"], ["a", "c"])


def test_what_the_history_showed_is_used_where_the_stream_leaves_it_open():
    known = {"decimal": ",", "thousands": True, "time_column": ["when"],
             "clock": {"kind": "dates", "order": "day"}}
    row = '{"when": "03/04/2024 10:00", "x": "1.234"}'
    times, values, _ = messages([row], ["x"], recognised=known)
    assert (times, values) == ([1712138400.0], [[1234]])
    times, values, _ = messages([row], ["x"], Reading(time_column="when", decimal="."))
    assert (times, values) == ([1709546400.0], [[1.234]])
    times, _, _ = messages(['{"when": 1712138400000, "x": 1}'], ["x"], recognised=known)
    assert times == [1712138400.0]
    times, _, _ = messages(['{"Timestamp": 1712138400, "x": 1}'], ["x"], recognised=known)
    assert times == [1712138400.0]


def test_a_point_is_one_of_fractions_unless_the_history_parted_thousands():
    rows = ['{"x": "20", "y": "19"}', '{"x": "20.123", "y": "19.500"}']
    assert messages(rows, ["x", "y"], recognised={"decimal": ","})[1] == [[20, 19], [20.123, 19.5]]
    table = ["x,y", "20,19", "20.123,19.500"]
    assert read(table, ["x", "y"], recognised={"decimal": ","})[1] == [[20, 19], [20.123, 19.5]]
    rows = ['{"x": "20,123", "y": "19.500"}', '{"x": "20,1", "y": "19,5"}']
    assert messages(rows, ["x", "y"], recognised={"decimal": ","})[1] == [
        [20.123, 19500], [20.1, 19.5]]


def test_times_are_found_beside_broken_ones_and_those_that_are_none_are_told():
    rows = ['{"time": null, "x": 1}', '{"time": "?", "x": 2}', '{"time": 1712138400, "x": 3}']
    times, _, notes = read(rows, ["x"])
    assert times == [None, None, 1712138400.0]
    assert "field 'time' holds '?', which is no time" in notes
    assert messages(['{"time": 1712138400, "x": 1}', '{"time": 1712138400000, "x": 2}'],
                    ["x"])[0] == [1712138400.0] * 2
    known = {"time_column": ["time"], "clock": {"kind": "dates"}}
    row = '{"date": "2024-04-03", "time": "10:00", "x": 1}'
    assert messages([row], ["x"], recognised=known)[0] == [1712138400.0]
    rows = ['{"time": null, "x": 1}', '{"x": 2}', '{"time": "10:00", "x": 3}']
    assert np.isnan(messages(rows, ["x"], recognised=known)[0]).all()  # doubted, not counted
    assert read(["20,1;3", "20,2;3"], ["x", "y"])[:2] == ([None] * 2, [[20.1, 3], [20.2, 3]])


def test_a_file_that_leaves_day_and_month_open_has_them_as_its_history(tmp_path):
    path, notes = tmp_path / "rig.csv", []
    path.write_text("time,x\n03/04/2024,1\n04/04/2024,2\n")
    for known, month in ((None, 3), ({"clock": {"order": "day"}}, 4)):
        table = read_table(path, Reading(), notes.append, recognised=known)
        assert table.time[0] == np.datetime64(f"2024-0{month}-0{7 - month}")
    assert "with the day first, as before, as 2024-04-03" in notes[-1]


@pytest.mark.parametrize(("text", "known", "value"), [
    ("time;a;b\n2024-01-01;1.137;2\n", {"decimal": ",", "thousands": True}, 1137),
    ("time;a;b\n2024-01-01;1.137;0.5\n", {"decimal": ",", "thousands": True}, 1.137),
    ("time;a;b\n2024-01-01;1.137;2\n", {"decimal": ",", "thousands": False}, 1.137),
    ("time;a;b\n2024-01-01;1,137;2\n", {"decimal": ".", "thousands": True}, 1137),
    ("time;a;b\n2024-01-01;1,137;2\n", {"decimal": ".", "thousands": False}, 1.137),
    ("time,a,b\n2024-01-01,1.137,2\n", {"decimal": ",", "thousands": True}, 1137),
])
def test_a_file_that_leaves_its_numbers_open_has_them_as_its_history(tmp_path, text, known, value):
    path, notes = tmp_path / "rig.csv", []
    path.write_text(text)
    table = one_series(path, Reading(), notes.append, known)  # as the source csv: reads it
    assert table.X["a"].tolist() == [value]
    assert any("may have decimal points or commas: read with" in note and "as before" in note
               for note in notes) == (value == 1137)
    assert read(text.splitlines(), ["a", "b"], recognised=known)[1][-1][0] == value


def test_told_fields_that_do_not_come_are_named():
    reading = Reading(entity_column="Id", time_column="when")
    _, _, notes = messages(['{"id": "a", "x": 1}'], ["x"], reading)
    assert notes == ["time_column or entity_column: there is no field ['when', 'Id'] at the "
                     "beginning, only ['id', 'x']"]


def test_a_header_that_comes_again_otherwise_ends_the_stream():
    with pytest.raises(ValueError, match="the header comes again, with 'y' where 'x' was"):
        read(["x,y", "1,2", "3,4", "y,x", "2,1"], ["x", "y"])
    assert read(["x,y", "1,2", "3,4", "x,y", "5,6"], ["x", "y"])[1] == [
        [1, 2], [3, 4], None, [5, 6]]


def test_rows_of_several_widths_below_a_header():
    lines = [line.encode() for line in ["t,x,y", "", "# note", "a,1,2", "a,1", "a,1,2,3", "b,5,6"]]
    rows = Records(["x", "y"], Reading(), lambda _: None).lines(lines, end=True)
    np.testing.assert_array_equal(
        [row.values for row in rows if row.is_whole], [[1, 2], [1, NAN], [5, 6]])


def test_a_second_entity_ends_the_stream():
    rows = ['{"id": "a", "x": 1}', '{"id": "a", "x": 2}', '{"x": 3}', '{"id": "b", "x": 4}']
    reading = Reading(entity_column="id")
    assert messages(rows[:3], ["x"], reading)[1] == [[1], [2], [3]]
    with pytest.raises(ValueError, match="'id' holds 'a' and 'b'; one engine"):
        read(rows, ["x"], reading)
    rows = ['{"id": 7, "x": 1}', '{"id": "7", "x": 2}', '{"id": 7.0, "x": 3}']
    assert messages(rows, ["x"], reading)[1] == [[1], [2], [3]]
    with pytest.raises(ValueError, match="'id' holds 7 and '07'; one engine"):
        messages([*rows, '{"id": "07", "x": 3}'], ["x"], reading)


def test_records_of_a_fleet_say_whose_they_are():
    cells = ['"a"', '" a "', "7", "7.0", '"07"', '"7.50"', '"v 1/2|\\u0000"', '"\\ud800"', "true",
             "null", '""', "[1]", '{"a": 1}', "NaN", f'"{"x" * 201}"']
    names = ["a", "a", "7", "7", "07", "7.50", "v 1/2|\0", "\ud800", "True", *[None] * 6]
    rows = [f'{{"id": {cell}, "x": 1}}'.encode() for cell in cells]
    records = Records(["x"], Reading(entity_column="id"), str, {"fleet": ()})
    found = records.lines([*rows, b'{"x": 2}', b"[3]", b"{", b'{"id": "b"}'], end=True)
    assert [record.entity for record in found] == [*names, None, None, None, "b"]
    assert [record.is_whole for record in found] == [True] * (len(cells) + 2) + [False] * 2
    known = Records(["x"], Reading(entity_column="id"), str, {"fleet": ["7.0", "7.1"]})
    assert [record.entity for record in known.lines(
        [b"id,x", b"7.0,1", b"7.1,2", b"8.0,3", b",4"])] == ["7.0", "7.1", "8", None]


def test_messages_may_be_lines_of_numbers():
    _, values, _ = messages(["oops", "1,5;2", "20,126;5,602", "?;1", "17"], ["x", "y"])
    assert values[0] is None
    np.testing.assert_array_equal(np.vstack(values[1:4]), [[1.5, 2], [20.126, 5.602], [NAN, 1]])
    assert messages(["17.5"], ["x"])[1] == [[17.5]]
    assert messages([b"\xff\xfe", b"[1]"], ["x"])[1] == [None, [1]]


@pytest.mark.parametrize("odd", [[1, 2], {"a": 1}, [], 10**400])
@pytest.mark.parametrize("where", ["time", "extra", "a"])
def test_a_cell_that_no_table_holds_spoils_no_other(odd, where):
    rows = [{"time": f"2024-01-01 00:{k:02d}:00", "a": k, "b": 2.0} for k in range(30)]
    rows[7][where] = odd
    found = Records(["a", "b"], Reading(), str).lines([json.dumps(row).encode() for row in rows])
    good = [k for k in range(30) if k != 7 or where == "extra"]
    assert [found[k].values for k in good] == [[k, 2.0] for k in good]
    assert all(found[k].time == 1704067200 + 60 * k for k in good)


def test_marks_that_nobody_sees_in_a_name_are_no_difference():
    """Neither in a row nor in a model's features; a joiner is a letter of its word."""
    joined = "\u0645\u06cc\u200c\u0634"
    for name, own in (("\ufefftemp", "temp"), ("temp", "temp\u200b"), (joined, joined)):
        for take in (messages, read):
            assert take([json.dumps({name: 1, "b": 2})], [own, "b"])[1] == [[1, 2]]
        assert read([f"{name},b", "1,2", "3,4"], [own, "b"])[1] == [[1, 2], [3, 4]]
    assert messages([json.dumps({joined: 1, "b": 2})], [joined.replace("\u200c", ""), "b"])[1] != [
        [1, 2]]


def test_names_of_records_are_those_of_a_table():
    """With blanks around them or on two lines, as a JSON history's are read."""
    _, values, _ = messages(['{" temp\\t": 1, "b\\nc": 2}'], ["temp", "b c"])
    assert values == [[1, 2]]
    _, values, _ = messages(['{" temp": 1}'], [" temp", "b"])  # a name of an array's own
    np.testing.assert_array_equal(values, [[1, NAN]])
