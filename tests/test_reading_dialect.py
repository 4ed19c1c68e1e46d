"""Bytes to names and rows: of files, and of lines that arrive."""

import gzip
import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest

from adlib.reading import contents
from adlib.reading.dialect import HEAD, OPEN_LINES, Lines, raw_table
from adlib.reading.numbers import NA_WORDS, Numbers
from adlib.reading.options import Reading

NAN = float("nan")
ROWS = [["2024-01-01", 1.5, 2], ["2024-01-02", 3.5, 4], ["2024-01-03", 5.5, 6]]
BODY = "2024-01-01,1.5,2\n2024-01-02,3.5,4\n2024-01-03,5.5,6\n"
PLAIN = "time,a,b\n" + BODY
GERMAN = [["2024-01-01 00:00", "20,126", "5,602"], ["2024-01-01 00:10", "20,2", "5,7"]]

# What a file is, by name: its bytes or text, options, names, rows, and words of its notes.
TABLES = {
    # separators
    "plain": (PLAIN, {}, "time a b", ROWS, []),
    "semicolon": ("time;a;b\n2024-01-01 00:00;20,126;5,602\n2024-01-01 00:10;20,2;5,7\n", {},
                  "time a b", GERMAN, ["separated by ';'"]),
    "one row": ("time;a;b\n2024-01-01 00:00;20,126;5,602\n", {}, "time a b", GERMAN[:1],
                ["separated by ';'"]),
    "tab": (PLAIN.replace(",", "\t"), {}, "time a b", ROWS, [r"separated by '\t'"]),
    "tab, decimal commas": ("a\tb\n1,5\t2,5\n3,25\t4,7\n", {}, "a b",
                            [["1,5", "2,5"], ["3,25", "4,7"]], ["separated by"]),
    "bar": (PLAIN.replace(",", "|"), {}, "time a b", ROWS, ["separated by '|'"]),
    "bars around": ("|a|b|\n|1|2|\n|3|4|\n", {}, ["Unnamed: 0", "a", "b", "Unnamed: 3"],
                    [[NAN, 1, 2, NAN], [NAN, 3, 4, NAN]], ["separated by '|'"]),
    "blanks": ("t  a   b\n 0.5 1   2\n 10  3\t 4 \n", {}, "t a b", [[0.5, 1, 2], [10, 3, 4]],
               ["separated by blanks"]),
    "blanks, date and time": ("date time a\n2024-01-01 00:00 1\n2024-01-01 00:10 2\n", {},
                              "date time a", [["2024-01-01", "00:00", 1],
                                              ["2024-01-01", "00:10", 2]], ["separated by blanks"]),
    "a date with a blank": ("timestamp\n2024-01-01 00:00\n2024-01-01 00:10\n", {}, "timestamp",
                            [["2024-01-01 00:00"], ["2024-01-01 00:10"]], []),
    "a date with a comma": ("time;a\nMon, 01 Jan 2024 00:00:00 GMT;1\n"
                            "Mon, 01 Jan 2024 00:10:00 GMT;2\n", {}, "time a",
                            [["Mon, 01 Jan 2024 00:00:00 GMT", 1],
                             ["Mon, 01 Jan 2024 00:10:00 GMT", 2]], ["separated by ';'"]),
    "one column": ("value\n1\n2\n", {}, "value", [[1], [2]], []),
    "one column, decimal commas": ("value\n20,126\n5,602\n", {}, "value", [["20,126"], ["5,602"]],
                                   []),
    "one column of words": ("comment\npump 5 failed\nvalve 2 open\n", {}, "comment",
                            [["pump 5 failed"], ["valve 2 open"]], []),
    "semicolons in texts": ("time,note,a\n2024-01-01,x; y,1\n2024-01-02,u; v,2\n", {},
                            "time note a", [["2024-01-01", "x; y", 1], ["2024-01-02", "u; v", 2]],
                            []),
    "other separators in texts": (
        "time|a,b|421\n2024-01-01|x, y|1,5\n2024-01-02|x, z|2,5\n2024-01-03|u|3\n", {},
        ["time", "a,b", "421"], [["2024-01-01", "x, y", "1,5"], ["2024-01-02", "x, z", "2,5"],
                                 ["2024-01-03", "u", "3"]], ["separated by '|'"]),
    "other separators in few texts": (
        "time;state;421\n2024-01-01;on;1\n2024-01-02;on, off;2\n2024-01-03;off;3\n", {},
        "time state 421", [["2024-01-01", "on", 1], ["2024-01-02", "on, off", 2],
                           ["2024-01-03", "off", 3]], []),
    "tabs beside blanks": ("time\tflow in l\ta\n2024-01-01 00:00\tidle\t1\n"
                           "2024-01-01 00:10\tbusy\t2\n", {}, ["time", "flow in l", "a"],
                           [["2024-01-01 00:00", "idle", 1], ["2024-01-01 00:10", "busy", 2]],
                           ["separated by"]),
    "blanks, decimal commas": ("a b\n1,5 2,5\n3,5 4\n", {}, "a b", [["1,5", "2,5"],
                                                                   ["3,5", "4"]], ["blanks"]),
    "one column with gaps": ('a\n""\n7.5\n""\n', {}, "a", [[NAN], [7.5], [NAN]], []),
    "one column below a title": ("Station Berlin\n\nheat\n1.5\n2.5\n", {}, "heat",
                                 [[1.5], [2.5]], ["1 line above"]),
    "sep line": ("sep=;\na;b\n1;2\n3;4\n", {}, "a b", [[1, 2], [3, 4]], ["separated by ';'"]),
    "separator told": ("a$b\n1$2\n3$4\n", {"separator": "$"}, "a b", [[1, 2], [3, 4]], ["'$'"]),
    "separator of two bytes": ("a§b\n1§2\n3§4\n", {"separator": "§"}, "a b", [[1, 2], [3, 4]],
                               ["'§'"]),
    # line ends and encodings
    "carriage returns and line feeds": (PLAIN.replace("\n", "\r\n"), {}, "time a b", ROWS, []),
    "carriage returns": (PLAIN.replace("\n", "\r"), {}, "time a b", ROWS, []),
    "no end of the last line": (PLAIN.rstrip(), {}, "time a b", ROWS, []),
    "byte order mark": (b"\xef\xbb\xbf" + PLAIN.encode(), {}, "time a b", ROWS, []),
    "cp1252": ("zeit,wärme\n2024-01-01,1\n2024-01-02,2\n".encode("cp1252"),
               {"encoding": "cp1252"}, "zeit wärme", [["2024-01-01", 1], ["2024-01-02", 2]], []),
    # quotes
    "all quoted": ('"time","a"\n"2024-01-01","1.5"\n"2024-01-02","2.5"\n', {}, "time a",
                   [["2024-01-01", 1.5], ["2024-01-02", 2.5]], []),
    "quoted commas": ('a,b\n"1,5","2,5"\n"1,25","2,75"\n', {}, "a b",
                      [["1,5", "2,5"], ["1,25", "2,75"]], []),
    "quotes and line ends in texts": ('time,text,a\n2024-01-01,"x, ""y""\nz",1\n2024-01-02,w,2\n',
                                      {}, "time text a", [["2024-01-01", 'x, "y"\nz', 1],
                                                          ["2024-01-02", "w", 2]], []),
    "inches": ('pipe,a\n5" long,1\n6" long,2\n', {}, "pipe a", [['5" long', 1], ['6" long', 2]],
               []),
    "blanks around": ("time , a , state\n2024-01-01 , 1 , on \n2024-01-02,  NA , off\n", {},
                      "time a state", [["2024-01-01", 1, "on"], ["2024-01-02", NAN, "off"]], []),
    # headers
    "no header": ("1.5,2\n2,3\n4,5\n", {}, "x0 x1", [[1.5, 2], [2, 3], [4, 5]], ["header=True"]),
    "no header, whole numbers": ("0,1\n1,2\n2,3\n", {}, "x0 x1", [[0, 1], [1, 2], [2, 3]],
                                 ["header=True"]),
    "no header, times": (BODY, {}, "x0 x1 x2", ROWS, ["header=True"]),
    "no header, words": ("2024-01-01,ok,2\n2024-01-02,ok,3\n", {}, "x0 x1 x2",
                         [["2024-01-01", "ok", 2], ["2024-01-02", "ok", 3]], ["header=True"]),
    "no header, a gap": ("1.5,NA\n2,3\n", {}, "x0 x1", [[1.5, NAN], [2, 3]], ["header=True"]),
    "no header, told": ("1.5,2\n2,3\n", {"header": False}, "x0 x1", [[1.5, 2], [2, 3]], []),
    "header of numbers, told": ("1,2\n3,4\n", {"header": True}, "1 2", [[3, 4]], []),
    "header of numbers beside time": ("time,400,450\n2024-01-01,1,2\n2024-01-02,3,4\n", {},
                                      "time 400 450", [["2024-01-01", 1, 2], ["2024-01-02", 3, 4]],
                                      []),
    "header of an array": ("0,1,2\n0.5,1.5,2.5\n1.5,2.5,3.5\n", {}, "0 1 2",
                           [[0.5, 1.5, 2.5], [1.5, 2.5, 3.5]], []),
    "header of an array and its index": (",0,1\n0,5,6\n1,7,8\n", {}, ["Unnamed: 0", "0", "1"],
                                         [[0, 5, 6], [1, 7, 8]], []),
    "index of times": (",a\n2024-01-01,1\n2024-01-02,2\n", {}, "time a",
                       [["2024-01-01", 1], ["2024-01-02", 2]], []),
    "header of dates": ("machine,2024-01,2024-02\nm1,5,6\nm2,7,8\n", {}, "machine 2024-01 2024-02",
                        [["m1", 5, 6], ["m2", 7, 8]], []),
    "header of texts above texts": ("who,what\nann,x\nbob,y\n", {}, "who what",
                                    [["ann", "x"], ["bob", "y"]], []),
    "a column without a name": ("time,a,\n2024-01-01,1,2\n2024-01-02,3,4\n", {},
                                ["time", "a", "Unnamed: 2"],
                                [["2024-01-01", 1, 2], ["2024-01-02", 3, 4]], []),
    "blank lines": ("\n\ntime,a,b\n\n" + BODY.replace("\n", "\n\n"), {}, "time a b", ROWS, []),
    "skip rows": ("x;y\nz\n" + PLAIN, {"skip_rows": 2}, "time a b", ROWS, []),
    # lines above and below the header
    "comments above": ("# station 7\n# exported\n" + PLAIN, {}, "time a b", ROWS, ["2 lines"]),
    "many comments above": ("# word\n" * 300 + PLAIN, {}, "time a b", ROWS, ["300 lines"]),
    "many blank lines above": ("\n" * 300 + PLAIN, {}, "time a b", ROWS, []),
    "a first row of marks": ("a,b\n?,-\n1,2\n", {}, "a b", [["?", "-"], ["1", "2"]], []),
    "comments between": (PLAIN + "# calibrated\n2024-01-04,7.5,8\n", {}, "time a b",
                         [*ROWS, ["2024-01-04", 7.5, 8]], ["comment"]),
    "header in a comment": ("# made by x\n# time a b\n0.0 1 2\n0.1 3 4\n", {}, "time a b",
                            [[0, 1, 2], [0.1, 3, 4]], ["blanks", "1 line above", "named by the"]),
    "header of savetxt": ("# a,b\n1.0,2.0\n3.0,4.0\n", {}, "a b", [[1, 2], [3, 4]],
                          ["named by the comment '# a,b'"]),
    "a row that begins with #": ("state,a\nx,5\n#5,6\ny,7\n", {}, "state a",
                                 [["x", 5], ["#5", 6], ["y", 7]], []),
    "rows that begin with #": ("id,a\n#1,5\n#2,6\n#3,7\n", {}, "id a",
                               [["#1", 5], ["#2", 6], ["#3", 7]], []),
    "station": ("Station Berlin 12\nHeight: 5 m\n\n" + PLAIN, {}, "time a b", ROWS, ["2 lines"]),
    "names and values of a station": ("Station,Berlin\nHeight,34\n\n" + PLAIN, {}, "time a b",
                                      ROWS, ["2 lines"]),
    "station as wide as the table": (
        "Station,Berlin\nHeight,34\ntime,a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n", {},
        "time a", [["2024-01-01", 1], ["2024-01-02", 2], ["2024-01-03", 3]], ["2 lines"]),
    "report of a spreadsheet": ("Report;;\n;;\ntime;a;b\n2024-01-01;1;2\n2024-01-02;3;4\n", {},
                                "time a b", [["2024-01-01", 1, 2], ["2024-01-02", 3, 4]],
                                ["2 lines"]),
    "units": (PLAIN.replace("b\n", "b\n,degC,bar\n", 1), {}, "time a b", ROWS, ["units", "degC"]),
    "units in brackets": (PLAIN.replace("b\n", "b\n[s],[degC],[-]\n", 1), {}, "time a b", ROWS,
                          ["units"]),
    "logger": ('"TOA5","CR1000","x","1234","std","CPU:x","12","T"\n"TIMESTAMP","RECORD","a"\n'
               '"TS","RN","V"\n"","","Avg"\n"2024-01-01 00:00",0,1.5\n"2024-01-01 00:10",1,2.5\n',
               {}, "TIMESTAMP RECORD a", [["2024-01-01 00:00", 0, 1.5],
                                          ["2024-01-01 00:10", 1, 2.5]], ["units", "1 line above"]),
    "logger as wide as its table": (
        '"TOA5","CR1000","1234"\n"TIMESTAMP","RECORD","a"\n"TS","RN","V"\n"","","Avg"\n'
        '"2024-01-01 00:00",0,1.5\n"2024-01-01 00:10",1,2.5\n', {}, "TIMESTAMP RECORD a",
        [["2024-01-01 00:00", 0, 1.5], ["2024-01-01 00:10", 1, 2.5]], ["units", "1 line above"]),
    "annotated": ("#datatype,string,long,dateTime:RFC3339,double\n#group,false,false,true,true\n"
                  "#default,_result,,,\n,result,table,_time,_value\n,,0,2024-01-01T00:00:00Z,5\n"
                  ",,0,2024-01-01T00:10:00Z,6\n", {},
                  ["Unnamed: 0", "result", "table", "_time", "_value"],
                  [[NAN, NAN, 0, "2024-01-01T00:00:00Z", 5],
                   [NAN, NAN, 0, "2024-01-01T00:10:00Z", 6]], ["3 lines"]),
    "a first value that is none": ("time,a\n2024-01-01,Bad Input\n2024-01-02,5\n2024-01-03,6\n",
                                   {}, "time a", [["2024-01-01", "Bad Input"], ["2024-01-02", "5"],
                                                  ["2024-01-03", "6"]], []),
    "a table in a text": ("| a | b |\n|---|:--|\n| 1 | 2 |\n| 3 | 4 |\n", {},
                        ["Unnamed: 0", "a", "b", "Unnamed: 3"],
                        [[NAN, 1, 2, NAN], [NAN, 3, 4, NAN]], ["separated by '|'", "1 line of"]),
    "units in a second comment": ("#YY WSPD GST\n#yr m/s m/s\n2024 5.1 6.2\n2024 5.3 6.5\n", {},
                                  "YY WSPD GST", [[2024, 5.1, 6.2], [2024, 5.3, 6.5]],
                                  ["separated by blanks", "1 line of units"]),
    "seconds of an array": ("1706695200.00,32.5\n1706695201.00,33.5\n", {}, "x0 x1",
                            [[1706695200, 32.5], [1706695201, 33.5]], ["no header"]),
    "decimal commas in the quotes of a preamble": (
        '"Balance:";"1.234,56 EUR"\n"Day";"Payee";"Sum"\n"31.01.24";"A";"-12,50"\n'
        '"01.02.24";"B";"-13,25"\n', {}, "Day Payee Sum",
        [["31.01.24", "A", "-12,50"], ["01.02.24", "B", "-13,25"]], ["separated by ';'"]),
    # rows of other widths
    "rows without values": ("time;a\n;\n;\n2024-01-01;1\n;\n2024-01-02;2\n", {}, "time a",
                            [["2024-01-01", 1], ["2024-01-02", 2]],
                            ["separated by ';'", "3 rows without any value left out"]),
    "row names of R": ('"a" "b"\n"1" 5 6\n"2" 7 8\n', {}, ["Unnamed: 0", "a", "b"],
                       [[1, 5, 6], [2, 7, 8]], ["separated by blanks"]),
    "separators at the end": ("A,B,C\n1,4,7,\n2,5,8,\n3,6,9,\n", {}, "A B C",
                              [[1, 4, 7], [2, 5, 8], [3, 6, 9]], ["one field more"]),
    "separators at every end": ("a,b,\n1,2,\n3,4,\n", {}, ["a", "b", "Unnamed: 2"],
                                [[1, 2, NAN], [3, 4, NAN]], []),
    "separators at the header's end": ("a,b,\n1,2\n3,4\n", {}, "a b", [[1, 2], [3, 4]], []),
    "a separator at one end": ("a,b\n1,2\n3,4,\n5,6\n", {}, "a b", [[1, 2], [3, 4], [5, 6]], []),
    "a short row": ("time,a,b\n2024-01-01,1,2\n2024-01-02,3\n2024-01-03,5,6\n", {}, "time a b",
                    [["2024-01-01", 1, 2], ["2024-01-02", 3, NAN], ["2024-01-03", 5, 6]],
                    ["shorter"]),
    "a short row, the first": ("time,a,b\n2024-01-01,1\n2024-01-02,3,4\n2024-01-03,5,6\n", {},
                               "time a b", [["2024-01-01", 1, NAN], ["2024-01-02", 3, 4],
                                            ["2024-01-03", 5, 6]], ["shorter"]),
    "a line end in a name": ('n,"heat\n(C)"\n1,2\n3,4\n', {}, ["n", "heat (C)"], [[1, 2], [3, 4]],
                             []),
    "cut off": ("time,a,b\n2024-01-01,1,2\n2024-01-02,3", {}, "time a b",
                [["2024-01-01", 1, 2], ["2024-01-02", 3, NAN]], ["shorter"]),
    # texts that pandas could take for numbers
    "numbers of programmers": ("a,b\n0x1F,1\n1_000,2\n", {}, "a b",
                               [["0x1F", 1], ["1_000", 2]], []),
    "errors of a spreadsheet": ("a,b\n#DIV/0!,1\n#N/A,2\n1,3\n", {}, "a b",
                                [["#DIV/0!", 1], [NAN, 2], ["1", 3]], []),
    "exponents": ("a,b\n1e5,inf\n1E-5,NaN\n", {}, "a b", [[1e5, NAN], [1e-5, NAN]], []),
    "thousands beside decimal commas": ("a;b\n1.234;21,5\n1.500;22,5\n", {}, "a b",
                                        [["1.234", "21,5"], ["1.500", "22,5"]], []),
    "values told as missing": ("a,b\n-999,?\n-999.0,2\n5,3\n", {"na_values": [-999, "?"]}, "a b",
                               [[NAN, NAN], [NAN, 2], [5, 3]], []),
}  # fmt: skip
#: Where the first rows alone, as they dribble in, look like another table.
UNTOLD = {"names and values of a station", "station as wide as the table", "station",
          "one column below a title"}
#: What only a file knows to be no row: lines that arrive are then no records.
OWN_NOTES = {"comments between", "a short row", "a short row, the first", "cut off",
             "rows without values"}


def encoded(data):
    return data if isinstance(data, bytes) else data.encode()


def read(tmp_path, data, notes=None, name="table.csv", **options):
    path = tmp_path / name
    path.write_bytes(encoded(data))
    return raw_table(path, Reading(**options), [].append if notes is None else notes.append)


def arrived(data, notes=None, step=None, **options):
    lines = Lines(Reading(**options), [].append if notes is None else notes.append)
    given = encoded(data).split(b"\n")
    step = step or len(given)
    found = [row for k in range(0, len(given), step) for row in lines.feed(given[k : k + step])]
    return found + lines.feed([], end=True)


def same(cell, other, reading):
    """Whether a cell of a file and one of a stream are the same value."""
    numbers = Numbers(reading, ",", [].append)
    if isinstance(cell, str):
        return cell == other
    return np.isclose(numbers.cell(cell), numbers.cell(other), equal_nan=True)


@pytest.mark.parametrize("case", TABLES)
def test_what_a_file_holds(tmp_path, case):
    data, options, names, rows, words = TABLES[case]
    names = names.split() if isinstance(names, str) else names
    notes = []
    raw = read(tmp_path, data, notes, **options)
    assert list(raw.frame) == names
    numbers = Numbers(Reading(**options), raw.separator, [].append)
    for found, expected in zip(raw.frame.to_numpy(object).tolist(), rows, strict=True):
        for a, b in zip(found, expected, strict=True):
            assert a == b if isinstance(b, str) else np.isclose(numbers.cell(a), b, equal_nan=True)
    told = " ".join(notes)
    assert all(word in told for word in words) and bool(words) <= bool(notes)
    assert all(note[0].islower() or note[0].isdigit() for note in notes)
    if not words:
        assert set(notes) <= {"separated by ';'"}


@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize("case", TABLES)
def test_lines_that_arrive_hold_the_same(tmp_path, case, step):
    data, options, *_ = TABLES[case]
    if step and case in UNTOLD:
        pytest.skip("the first rows alone look like another table")
    notes, own = [], []
    raw = read(tmp_path, data, notes, **options)
    rows = arrived(data, own, step, **options)
    assert all(list(row) == list(raw.frame) for row in rows)
    reading = Reading(**options)
    for row, other in zip(raw.frame.to_dict("records"), rows, strict=True):
        assert all(same(row[name], other[name], reading) for name in row)
    if case in OWN_NOTES:
        assert len(own) == 1 and len(notes) >= 1
    else:
        assert own == notes


REFUSED = {
    "rows one longer": ("A,B,C\n1,4,7,1\n2,5,8,1\n3,6,9,1\n", {}, "have one field more than the"),
    "dates beyond the header": ('a,b\n"2024-01-01",5,6\n"2024-01-02",7,8\n', {}, "one field more"),
    "a gap between blanks": ("n a  b\n1 2  3\n2    4\n3 5  6\n", {}, "line 3 has 2 fields.* NaN"),
    "a longer row": ("A,B,C\n1,4,7\n2,5,8,1\n3,6,9\n", {}, "line 3 has 4 fields, the header 3"),
    "a longer header": ("a,b,c,d\n1,2,3\n4,5,6\n", {}, "rows have 3 fields and the header 4"),
    "one name for all": ("Report;;\n2024-01-01;1;2\n2024-01-02;3;4\n", {}, "only one of 3 columns"),
    "thousands": ("a,b\n1,234,5\n2,345,6\n", {}, "numbers with commas in quotes"),
    "repeated names": ("time,a,a\n2024-01-01,1,2\n", {}, r"repeated: \['a'\]"),
    "a repeated header": ("time,a\n2024-01-01,1\ntime,a\n2024-01-02,2\n", {}, "line 3 repeats the"),
    "two tables": ("a,b\n1,2\n3,4\n\nx,y,z\n1,2,3\n4,5,6\n7,8,9\n", {}, "several tables"),
    "quotes that close each other": ('time,text\n1,"a\n2,"b"\n3,"c"\n', {}, "quote in line 2"),
    "an open quote": ('time,a\n2024-01-01,"1\n2024-01-02,2\n', {}, "quote in line 2 is never"),
    "an open quote, late": ("a,b\n" + "1,2\n" * 500 + '3,"4\n' + "5,6\n" * 99, {}, "in line 502"),
    "names or values": ("ok,5,7\nbad,6,9\nfoo,1,2\n", {}, "header=False, or leave it out"),
    "names of numbers": ("id,400.5,401.5\n1,2,3\n2,3,4\n", {}, "header=True or header=False"),
    "another separator": ("a,b\n1,2\n3,4\n", {"separator": ";"}, "as if separated by ','"),
    "no UTF-8": ("time,wärme\n2024-01-01,1\n".encode("cp1252"), {}, r"line 1\).*encoding='cp1252'"),
    "another encoding": ("time,wärme\n2024-01-01,1\n".encode(), {"encoding": "ascii"}, "ascii"),
    "zero bytes": ("a,b\n1,2\n".encode("utf-16-le"), {}, "encoding='utf-16-le'"),
    "empty": ("", {}, "is empty"),
    "blank": (" \n\n", {}, "is empty"),
    "all skipped": ("a,b\n1,2\n", {"skip_rows": 5}, "is empty"),
    "comments alone": ("# a\n# b\n", {}, "holds comments alone"),
    "header alone": ("time,a\n", {}, "has no rows below its header"),
    "nested": ('{"time": 1, "a": {"x": 1}}\n', {}, "column 'a' holds objects or arrays"),
    "JSON cut off": ('{"a": 1}\n{"a":', {}, "line 2 is not readable as JSON"),
    "arrays of several lengths": ("[1, 2]\n[3]\n", {}, "several lengths"),
    "web page": ("<!DOCTYPE html><html>a,b</html>", {}, "is HTML"),
    "old spreadsheet": (b"\xd0\xcf\x11\xe0\xa1\xb1", {}, "a spreadsheet of old Excel; save it as"),
    "HDF5": (b"\x89HDF\r\n", {}, "HDF5"),
    "pickle": (b"\x80\x04\x95\x00", {}, "a pickle"),
    "image": (b"\x89PNG\r\n", {}, "an image"),
    "other packing": (b"BZh91AY", {}, "unpack it"),
    "Parquet cut off": (b"PAR1\x15\x00", {}, "is damaged"),
    "gzip cut off": (gzip.compress(PLAIN.encode())[:-12], {}, "is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(tmp_path, case):
    data, options, words = REFUSED[case]
    with pytest.raises(ValueError, match=words) as refused:
        read(tmp_path, data, **options)
    assert str(refused.value)[0].islower() and "\n" not in str(refused.value)


POISON = {
    "a longer row": ("A,B\n1,4\n2,5,8\n3,6\n", ["2,5,8"], 2),
    "rows one longer": ("A,B\n1,4,7\n2,5,8\n", ["1,4,7", "2,5,8"], 0),
    "a repeated header": ("time,a\n2024-01-01,1\ntime,a\n2024-01-02,2\n", ["time,a"], 2),
    "a footer": ("m,a,b\nm1,1,2\nm1,3,4\nTotal rows: 2\n", ["Total rows: 2"], 2),
    "bytes": (b"time,a\n2024-01-01,1\n2024-01-02,\xe4\n2024-01-03,3\n", ["2024-01-02,?"], 2),
    "malformed JSON": ('{"a": 1}\n{"a": \n{"a": 2}\n7\n', ['{"a": ', "7"], 2),
    "an open quote": ('time,a\n2024-01-01,"1\n2024-01-02,2\n', ['2024-01-01,"1'], 1),
    "quotes that close each other": ('time,a,b\n1,"1,2\n2,2,3\n3,"4,5\n4,5,6\n',
                                     ['1,"1,2', '3,"4,5'], 2),
}  # fmt: skip


@pytest.mark.parametrize("case", POISON)
def test_what_no_record_can_be_made_of(case):
    data, poison, rows = POISON[case]
    found = arrived(data)
    assert [row for row in found if isinstance(row, str)] == poison
    assert len(found) == len(poison) + rows


def test_a_footer_is_no_row(tmp_path):
    notes = []
    raw = read(tmp_path, "m,a,b\nm1,1,2\nm1,3,4\nTotal rows: 2\n", notes)
    assert len(raw.frame) == 2 and notes == ["line 4 is no row, left out: 'Total rows: 2'"]
    raw = read(tmp_path, "a;b\n1;2\n3;4\n;\n;\n", notes)  # as spreadsheets end
    assert len(raw.frame) == 2 and "without any value" in notes[-1]


def test_an_open_quote_holds_few_lines_back():
    lines = Lines(Reading(), [].append)
    assert lines.feed([b"a,b", b'1,"2']) == []
    found = lines.feed([b"3,4"] * (OPEN_LINES + 1))
    assert found[0] == '1,"2' and found[1:] == [{"a": "3", "b": "4"}] * (OPEN_LINES + 1)
    assert lines.feed([b'5,"6', b'7"']) == [{"a": "5", "b": "6\n7"}]


def test_lines_are_held_back_until_a_row_tells():
    notes = []
    lines = Lines(Reading(), notes.append)
    assert lines.feed([]) == lines.feed(["", "time;a\n", "s;degC"]) == [] and notes == []
    assert lines.feed(["2024-01-01;1,5"]) == [{"time": "2024-01-01", "a": "1,5"}]
    assert lines.separator == ";" and len(notes) == 2
    lines = Lines(Reading(), notes.append)
    words = [b"who,what", *[b"ann,x"] * (HEAD - 2)]
    assert lines.feed(words) == [] and len(lines.feed([b"bob,y"])) == HEAD - 1


@pytest.mark.parametrize(
    "start", [gzip.compress(b"a", mtime=0), b"PAR1", b"\x89PNG", b"a\0,"])
def test_bytes_that_are_no_lines(start):
    with pytest.raises(ValueError, match="send lines of text in UTF-8"):
        Lines(Reading(), [].append).feed([start])


def test_names_that_cannot_be_decoded():
    with pytest.raises(ValueError, match="encoding='cp1252'"):
        arrived(b"time,w\xe4rme\n2024-01-01,1\n")
    assert arrived(b"\xe4,b\n1,2\n", encoding="cp1252") == [{"ä": "1", "b": "2"}]


JSON = [{"time": "2024-01-01", "a": 1.5, "b": None}, {"time": "2024-01-02", "b": "x", "a": True}]


def test_json(tmp_path):
    lines = "\n".join(map(json.dumps, JSON))
    for text in (lines, "\n" + lines + "\n", json.dumps(JSON), json.dumps(JSON, indent=2)):
        frame = read(tmp_path, text).frame
        assert list(frame) == ["time", "a", "b"] and frame["a"].tolist() == [1.5, True]
        assert frame["b"].isna().tolist() == [True, False]
    assert arrived(lines) == arrived(lines, step=1) == arrived(json.dumps(JSON)) == JSON
    assert read(tmp_path, "[1, 2]\n[3, 4]\n").frame["x1"].tolist() == [2, 4]
    assert arrived("[1, 2]\n[3, 4]\n") == arrived("[[1, 2], [3, 4]]") == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match="write one object per line"):
        arrived(json.dumps(JSON, indent=2))
    assert read(tmp_path, "[Data]\na,b\n1,2\n3,4\n").separator == ","


def test_nested_values_that_nobody_asked_for(tmp_path):
    data = '{"a": 1, "tags": []}\n{"a": 2, "tags": ["x"]}\n'
    assert list(read(tmp_path, data, feature_columns=["a"]).frame) == ["a"]
    with pytest.raises(ValueError, match="'tags' holds objects or arrays .*feature_columns="):
        read(tmp_path, data)


def test_utf_16(tmp_path):
    text = "time,ä\n2024-01-01,1\n"
    for encoding in ("utf-16", "utf-32"):
        notes = []
        raw = read(tmp_path, text.encode(encoding), notes)
        assert list(raw.frame) == ["time", "ä"] and notes == [f"text in {encoding.upper()}"]
        for step in (None, 1):
            assert arrived(text.encode(encoding), notes, step) == [{"time": "2024-01-01", "ä": "1"}]
        assert len(set(notes)) == 1
    told = {"encoding": "utf-16-be"}
    assert arrived(text.rstrip().encode("utf-16-be"), step=1, **told) == arrived(text, step=1)


def zipped(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return stream.getvalue()


def test_packed_files(tmp_path, monkeypatch):
    plain = read(tmp_path, PLAIN)
    for data in (gzip.compress(PLAIN.encode()), zipped(one=PLAIN),
                 zipped(one=PLAIN, **{"__MACOSX/one": "x"})):
        notes = []
        packed = read(tmp_path, data, notes, name="table.dat")
        pd.testing.assert_frame_equal(packed.frame, plain.frame)
        assert packed.first == plain.first == 2 and "unpacked" in notes[0]
    for data, words in [(zipped(one=PLAIN, two="x"), "2 files: one, two"),
                        (zipped(), "holds 0 files"),
                        (zipped(**{"xl/workbook": "x"}), "a spreadsheet"),
                        (zipped(one=gzip.compress(b"a")), "is packed")]:
        with pytest.raises(ValueError, match=words):
            read(tmp_path, data)
    monkeypatch.setattr(contents, "LIMIT", 1 << 20)
    for bomb in (gzip.compress(bytes(4 << 20)), zipped(one=bytes(4 << 20))):
        with pytest.raises(ValueError, match="unpacks to more than 1 MB"):
            read(tmp_path, bomb)


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    times = pd.date_range("2024-01-01", periods=3)
    frame = pd.DataFrame({" a ": [1.5, 2, 3], "state": pd.Categorical(["x", "y", "x"])})
    for index in (times, times.rename("when"), frame.index):
        frame.set_index(index).to_parquet(tmp_path / "table.dat")
        found = raw_table(tmp_path / "table.dat", Reading(), print).frame
        assert list(found)[-2:] == ["a", "state"] and found["state"].tolist() == ["x", "y", "x"]
        assert list(found)[:-2] == ([index.name or "time"] if index is not frame.index else [])
    pd.DataFrame({"a": [[1, 2]]}).to_parquet(tmp_path / "table.dat")
    with pytest.raises(ValueError, match="column 'a' holds objects or arrays"):
        raw_table(tmp_path / "table.dat", Reading(), print)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"x.csv is not there; give the path of a CSV"):
        raw_table(tmp_path / "x.csv", Reading(), print)
    with pytest.raises(FileNotFoundError, match="is a folder; give the path"):
        raw_table(tmp_path, Reading(), print)


def test_missing_words_are_those_of_numbers(tmp_path):
    words = sorted(NA_WORDS - {""})
    raw = read(tmp_path, "a,state\n" + "".join(f"{word},{word}\n" for word in words) + "1,on\n")
    assert raw.frame["a"].dtype == float and raw.frame.isna().all(axis=1).sum() == len(words)
    rows = arrived("a,state\n" + "".join(f"{word},{word}\n" for word in words) + "1,on\n")
    numbers = Numbers(Reading(), ",", print)
    assert np.isnan([numbers.cell(row["a"]) for row in rows]).sum() == len(words)


def test_a_wide_table_and_long_lines(tmp_path):
    names = [f"column{k}" for k in range(3000)]
    text = "\n".join([",".join(names), *[",".join(["1.25"] * 3000)] * 4])
    assert read(tmp_path, text).frame.shape == (4, 3000) and len(arrived(text)) == 4
    names = [f"{'long' * 50}{k}" for k in range(8000)]  # a header above a megabyte
    assert list(read(tmp_path, "\n".join([",".join(names), *[",".join("1" * 8000)] * 2])).frame)
