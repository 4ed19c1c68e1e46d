"""Every file of tests/data/reading through every entrance: the same rows, or the same refusal."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import entrances
import numpy as np
import pandas as pd
import pytest
import yaml
from reading_dialects import DIALECTS, EPOCH, rows

from adlib.datasets import load_csv
from adlib.notebooks import ROOT

HERE = Path(__file__).parent / "data" / "reading"
TABLE = yaml.safe_load((HERE / "cases.yaml").read_text(encoding="utf-8"))



def _id(case):
    return case.get("id", case["file"].split(".")[0] if case["file"].count(".") == 1
                    else case["file"])


ELSEWHERE = {"three_days.csv", "on_off.csv", "same_first.csv", "class_of_three.csv"}
PACKED = (".gz", ".zip", ".parquet", ".xlsx", ".json")
CASES = {_id(case): case for case in TABLE}


def whole(case):
    """A case with what ``like`` borrows."""
    if "like" not in case:
        return case
    other = whole(CASES[case["like"]])
    taken = ("names", "rows", "first", "last", "begins", "ends", "missing", "untimed")
    return {key: other[key] for key in taken if key in other} | case


def says(fragments, texts):
    """Whether each fragment stands in some text; "a|b" is either."""
    said = "\n".join(texts).lower()
    return [f for f in fragments if not any(part.lower() in said for part in f.split("|"))]


def at(moment):
    return int(pd.Timestamp(moment).value // 1000)


def as_told(case, read):
    """What differs from the case; nothing, if all is well."""
    case = whole(case)
    if read.refusal is not None:
        wanted = case.get("refused")
        if wanted is None:
            return [f"refused: {read.refusal}"]
        return [f"refusal lacks {f!r}: {read.refusal}" for f in says(wanted, [read.refusal])]
    if "refused" in case:
        return [f"not refused: {read.names} {read.values[:2].tolist()} {read.notes}"]
    wrong = []
    if "names" in case and case["names"] != read.names:
        return [f"names {read.names}"]
    if "rows" in case and case["rows"] != len(read.values):
        wrong.append(f"{len(read.values)} rows")
    for key, row in (("first", 0), ("last", -1)):
        if key in case and read.values[row].tolist() != case[key]:
            wrong.append(f"{key} row {read.values[row].tolist()}")
    for key, row in (("begins", 0), ("ends", -1)):
        if key in case and not case.get("untimed"):
            if read.time is None:
                wrong.append("no times")
            elif read.time[row] != at(case[key]):
                wrong.append(f"{key} at {pd.Timestamp(int(read.time[row]), unit='us')}")
    if "labelled" in case and read.labelled not in (None, case["labelled"]):
        wrong.append(f"{read.labelled} rows labelled")
    if "missing" in case and np.isnan(read.values).sum() != case["missing"]:
        wrong.append(f"{np.isnan(read.values).sum()} values missing")
    wrong += [f"no note of {f!r}: {read.notes}" for f in says(case.get("notes", []), read.notes)]
    if case.get("silent") and read.notes:
        wrong.append(f"notes: {read.notes}")
    return wrong


@pytest.fixture(scope="module")
def notebook():
    return entrances.Notebook()


def differing(what, one, other):
    """What differs between two entrances' rows, or refusals."""
    if one.refusal is not None or other.refusal is not None:
        return [] if one.refusal == other.refusal else [
            f"{what} refuses: {other.refusal}; the function: {one.refusal}"]
    found = []
    if one.names != other.names:
        return [f"{what}: names {other.names}, the function {one.names}"]
    if not np.array_equal(one.values, other.values, equal_nan=True):
        found.append(f"{what}: {other.values.shape} {other.values[:2].tolist()}..., the function "
                     f"{one.values.shape} {one.values[:2].tolist()}...")
    elif other.time is not None and not np.array_equal(one.time, other.time):
        found.append(f"{what}: times {other.time[:2]}, the function "
                     f"{None if one.time is None else one.time[:2]}")
    if other.labelled is not None and one.labelled != other.labelled:
        found.append(f"{what}: {other.labelled} labelled, the function {one.labelled}")
    return found


def with_labelled(one, fitted):
    """What `fit` was handed, and the labelled rows, which are no normal history, as they were."""
    if fitted.refusal is not None or not one.labelled or one.values.shape != fitted.values.shape:
        return fitted
    left_out = np.isnan(fitted.values).all(axis=1) & ~np.isnan(one.values).all(axis=1)
    assert left_out.sum() == one.labelled
    return replace(fitted, values=np.where(left_out[:, None], one.values, fitted.values))


def trickled(what, true, read):
    """What a stream brings that is neither as the file has it, nor missing."""
    if read.refusal is not None:
        return [f"{what} refuses: {read.refusal}"]
    n = len(true.values)
    values, rest = read.values[:n], read.values[n:]
    if len(values) < n or np.isfinite(rest).any():
        return [f"{what}: {len(read.values)} rows, not {n}"]
    found, absent = [], ~np.isfinite(values)
    if (wrong := (values != true.values) & ~absent).any():
        row = int(wrong.any(axis=1).argmax())
        found.append(f"{what}: row {row} is {values[row].tolist()}, not "
                     f"{true.values[row].tolist()}")
    if read.time is not None and true.time is not None:
        late = (read.time[:n] != true.time) & (read.time[:n] != np.iinfo(np.int64).min)
        if late.any():
            row = int(late.argmax())
            found.append(f"{what}: row {row} at {read.time[row]}, not {true.time[row]}")
    elif (read.time is None) != (true.time is None):
        found.append(f"{what}: times {read.time}, not {true.time}")
    if absent.mean() > 0.5 or (absent & ~np.isnan(true.values)).sum() > 0.5 * absent.size:
        found.append(f"{what}: {absent.mean():.0%} are missing")
    return found


def messages(path, names):
    """Lines of JSON, or the rows of a table with its header in the first line as JSON of texts."""
    data = path.read_bytes()
    if path.suffix == ".jsonl":
        return data.splitlines()
    if path.suffix != ".csv" or not data.isascii():
        return []
    lines = data.decode().splitlines()
    mark = max(",;\t|", key=lines[0].count)
    header, *table = csv.reader(lines, delimiter=mark)
    if not {*names} <= {*header} or any(len(row) != len(header) for row in table):
        return []
    return [json.dumps(dict(zip(header, row, strict=True))).encode() for row in table]


@pytest.mark.parametrize("name", CASES)
def test_entrances_agree(name, notebook, tmp_path, monkeypatch):
    case, number = CASES[name], list(CASES).index(name)
    path, options = HERE / case["file"], case.get("options", {})
    one = entrances.by_function(path, options)
    wrong = as_told(case, one)
    shown = notebook.read(path, options)
    wrong += differing("notebook 05", one, shown)
    if shown.notes != one.notes and not shown.refusal:
        wrong.append(f"notebook 05 notes {shown.notes}")
    commands = entrances.Commands(tmp_path, monkeypatch)
    ways = ("yaml", "flags") if number % 2 else ("flags", "yaml")
    fitted = commands.fit(path, options, by=ways[0])
    wrong += differing("fit", one, with_labelled(one, fitted))
    apart = ("rows of the history", "judged as a series")  # what only judges care for
    if fitted.notes != [note for note in one.notes if not any(words in note for words in apart)]:
        wrong.append(f"fit notes {fitted.notes}, the function {one.notes}")
    wrong += differing("backtest", one, commands.backtest(path, options, by=ways[1]))
    if one.refusal is None:
        read = commands.run(path, options, by=ways[0])
        wrong += differing("run", one, read)
    else:  # an engine knows its features: what was refused for another column may be read
        names = case.get("features", ["a", "b"])
        commands.model(names)
        read = commands.run(path, options, by=ways[0])
        if "feature_columns" in options:
            wrong += [] if read.refusal else ["run reads other features than the model's"]
        elif read.refusal != one.refusal:
            named = entrances.by_function(path, {"missing": "keep"} | options | {
                "feature_columns": names})
            wrong += differing("run", named, read)
    streamed = case.get("stream", name)
    payloads = messages(path, one.names) if streamed and one.refusal is None else []
    if payloads and len(payloads) == len(one.values):
        wrong += trickled("messages", one, entrances.by_messages(payloads, tmp_path, options))
    if streamed and path.suffix not in PACKED:
        true = one if streamed == name else entrances.by_function(
            HERE / CASES[streamed]["file"], CASES[streamed].get("options", {}))
        if true.refusal is None:
            if one.refusal is not None:
                commands.model(true.names)
            wrong += trickled("standard input", true, commands.run(
                path, options, by=ways[1], source="stdin", lines=path.read_bytes()))
    assert not wrong


def test_cases_have_names_of_their_own_and_no_file_is_left():
    assert len(CASES) == len(TABLE)
    used = {case["file"] for case in TABLE} | ELSEWHERE
    assert {path.name for path in HERE.iterdir()} - {"cases.yaml", "README.md"} == used


# -- what only labelled data have ------------------------------------------------------------------


@pytest.mark.parametrize(("windows", "rows"), [
    ([["2024-03-03", "2024-03-03"]], 144), ([["2024-03-03", "2024-03-04"]], 216),
    ([["2024-03-03 00:00", "2024-03-03 01:00"]], 7), ([["2024-03-03", "9999-12-31"]], 216),
    ([["2024-03-03", None]], 216), ([["2024-03-02 12:00", "2024-03-02 12:00"]], 1),
    ([["2024-03-03", "2024-03-03"], ["2024-03-02 12:00", "2024-03-02 12:10"]], 146),
    ([["2025-03-03", "2025-03-04"]], "no row lies in the label window"),
    ([["2024-03-04", "2024-03-03"]], "start <= end"), ([["soon", "later"]], "label window")],
    ids=("a day", "two days", "an hour", "year 9999", "open", "a moment", "two", "outside",
         "backwards", "words"))
def test_label_windows_are_read_alike(windows, rows, notebook):
    path, options = HERE / "three_days.csv", {"time_column": "time", "label_windows": windows}
    one = entrances.by_function(path, options)
    assert not differing("notebook 05", one, notebook.read(path, options))
    assert one.labelled == rows if isinstance(rows, int) else rows in one.refusal


def test_windows_of_a_benchmark_are_found_by_a_name_of_their_own(notebook, tmp_path):
    (tmp_path / "nyc_taxi.csv").write_bytes((HERE / "three_days.csv").read_bytes())
    windows = {"realKnownCause/nyc_taxi.csv": [["2024-03-03", "2024-03-03"]],
               "artificial/none.csv": []}
    (tmp_path / "windows.json").write_text(json.dumps(windows))
    options = {"time_column": "time", "label_windows": str(tmp_path / "windows.json")}
    one = entrances.by_function(tmp_path / "nyc_taxi.csv", options)
    assert one.labelled == 144
    assert not differing("notebook 05", one, notebook.read(tmp_path / "nyc_taxi.csv", options))
    (tmp_path / "windows.json").write_text(json.dumps(
        windows | {"other/nyc_taxi.csv": [["2024-03-02 13:00", "2024-03-02 14:00"]]}))
    one = entrances.by_function(tmp_path / "nyc_taxi.csv", options)  # of which of the two?
    assert "nyc_taxi.csv" in one.refusal


def test_words_that_yaml_makes_switches_of(notebook):
    """A papermill parameter ``normal_label: off`` arrives as False."""
    path = HERE / "on_off.csv"
    for normal in ("off", False):
        options = {"label_column": "state", "normal_label": normal}
        one = entrances.by_function(path, options)
        assert not differing("notebook 05", one, notebook.read(path, options))
        assert one.labelled == 9 if normal == "off" else one.labelled == 9 or (
            "quotes" in one.refusal)


# -- several series, several files -----------------------------------------------------------------


@pytest.mark.parametrize("file", ["machines", "machines_blocks", "machines_shifted"])
def test_machines_are_groups_or_an_engine_refuses_them(file, notebook, tmp_path, monkeypatch):
    path, options = HERE / f"{file}.csv", {"entity_column": "machine"}
    one = entrances.by_function(path, options)
    assert one.names == ["a"] and len(one.values) == 24
    assert not differing("notebook 05", one, notebook.read(path, options))
    commands = entrances.Commands(tmp_path, monkeypatch)
    refused = [commands.fit(path, options).refusal,
               commands.backtest(path, options, by="flags").refusal]
    commands.model(["a"])
    refused.append(commands.run(path, options).refusal)
    assert len({*refused}) == 1 and "one engine judges one stream" in refused[0]


def test_a_folder_or_a_list_of_files_is_a_data_set_each(notebook, tmp_path):
    for name in ("plain", "german"):
        (tmp_path / f"{name}.csv").write_bytes((HERE / f"{name}.csv").read_bytes())
    files = [str(tmp_path / f"{name}.csv") for name in ("german", "plain")]
    for given in (str(tmp_path), files):
        sets = load_csv(given)
        assert list(sets) == ["german", "plain"] == notebook.read(given, {}).notes
        assert np.array_equal(sets["german"].X, sets["plain"].X)


@pytest.mark.parametrize(("file", "options", "said"), [
    ("two_labels", {"label_column": "label", "feature_columns": ["a", "b"],
                    "clean_history": True}, "left out"),
    ("two_labels", {"label_column": "label", "feature_columns": ["a", "b"], "train_rows": 19}, ""),
    ("same_first", {"label_column": "label"}, "split='one_class'"),
    ("same_first", {"label_column": "label", "split": "one_class"}, ""),
    ("plain", {"split": "one_class"}, "needs labels"),
    ("machines", {"entity_column": "machine", "split": "entity"}, ""),
    ("class_of_three", {"label_column": "Class"}, "normal_label"),
    ("class_of_three", {"label_column": "Class", "normal_label": 1}, "")],
    ids=("clean", "rows", "sorted", "one class", "unlabelled", "entity", "three", "normal"))
def test_splits_are_the_same_in_the_notebook(file, options, said, notebook):
    path = HERE / f"{file}.csv"
    one = entrances.by_function(path, options)
    shown = notebook.read(path, options)
    assert not differing("notebook 05", one, shown)
    assert not says([said], [*one.notes, one.refusal or ""])
    assert shown.refusal or shown.notes == one.notes


# -- random rows in many dialects ------------------------------------------------------------------


def original(dialect, time, names, values):
    """What a reader owes us of what was written."""
    since = [dialect.written(moment) - EPOCH for moment in time]
    stamps = np.array([s // timedelta(microseconds=1) for s in since])
    return entrances.Read(names, values, stamps, labelled=0)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
def test_dialects_read_back_equal(dialect, tmp_path, monkeypatch):
    time, names, values = rows(np.random.default_rng(len(dialect.name)))
    path = tmp_path / ("table.csv" + ".gz" * dialect.gz)
    path.write_bytes(dialect.write(time, names, values))
    options = dialect.options | {"missing": "keep"}
    told = original(dialect, time, names, values)
    assert not differing("load_csv", told, entrances.by_function(path, options))
    commands = entrances.Commands(tmp_path, monkeypatch)
    commands.model(names)
    assert not differing("run", told, commands.run(path, options))
    if not dialect.gz:
        read = commands.run(path, options, source="stdin", lines=path.read_bytes())
        assert not trickled("standard input", told, read)


# -- an engine at work -----------------------------------------------------------------------------

WORK = ("plain", "german thousands", "american", "milliseconds", "units", "german local")


def recording(n=500):
    """Times, names and values of a machine that fails twice."""
    rng = np.random.default_rng(7)
    time = [datetime(2024, 10, 26, 20, tzinfo=UTC) + timedelta(minutes=k) for k in range(n)]
    values = np.round(rng.normal([2000, 20, 5, -3], [300, 1, 0.1, 2], (n, 4)), 3)
    values[[440, 441, 480], 1] += 30
    return time, ["heat", "count", "flow", "load"], values


def judged(commands, path, options, by):
    """Windows that fit, run and a backtest flag, and what the backtest sums up."""
    config = entrances.CONFIG | ({"reading": options} if by == "yaml" and options else {})
    (commands.folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    more = entrances.flags(options) if by == "flags" else []
    found = []
    for argv in (["fit", "config.yaml", str(path), "--out", "model"],
                 ["run", "config.yaml", "--source", f"csv:{path}", "--model", "model"],
                 ["backtest", "config.yaml", str(path), "--json"]):
        code, out, err = entrances.command([*argv, *more], commands.folder)
        assert code == 0, err
        found.append(out)
    return [json.loads(line) for line in found[1].splitlines()], json.loads(found[2])


def test_an_engine_judges_alike_whatever_the_dialect(tmp_path, monkeypatch):
    commands = entrances.Commands(tmp_path, monkeypatch)
    time, names, values = recording()
    found = {}
    for k, dialect in enumerate(d for d in DIALECTS if d.name in WORK):
        path = tmp_path / f"{k}.csv"
        path.write_bytes(dialect.write(time, names, values))
        found[dialect.name] = judged(commands, path, dialect.options, ("yaml", "flags")[k % 2])
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(
        json.dumps({"time": str(t)} | {n: str(v) for n, v in zip(names, row, strict=True)}) + "\n"
        for t, row in zip(time, values.tolist(), strict=True)))
    found["lines"] = judged(commands, path, {}, "yaml")
    assert len(found) == len(WORK) + 1
    windows, _ = found["plain"]
    assert {440, 441, 480} <= {window["end"] for window in windows} and len(windows) < 50
    for name, one in found.items():
        assert one == found["plain"], name


@pytest.mark.parametrize(("file", "names", "options"), [
    ("plain.csv", ["a\u200b", "\ufeffb"], {}), ("zero_width.csv", ["a\u200b", "b"], {}),
    ("plain.csv", ["a\u200b", "b"], {"feature_columns": ["b\u2060", "a"]}),
    ("joiners.csv", CASES["joiners"]["names"], {}),
])
def test_a_model_runs_whatever_marks_that_nobody_sees_are_in_a_name(file, names, options, tmp_path,
                                                                    monkeypatch):
    commands = entrances.Commands(tmp_path, monkeypatch)
    commands.model(names)
    for source, lines in (("csv:{path}", None), ("stdin", (HERE / file).read_bytes())):
        read = commands.run(HERE / file, options, source=source, lines=lines)
        assert (read.refusal, read.code) == (None, 0)
        assert (read.values[0].tolist(), len(read.values)) == ([20.126, 5.602], 12)


@pytest.mark.parametrize(("lines", "source", "code", "said"), [
    (b"a,b\n", "stdin", 1, "no window was judged: no row came"),
    (b"", "stdin", 1, "no window was judged: no row came"),
    (b"a,b\n" + b"oops\n\xff\xfe\n" * 9, "stdin", 1, "no window was judged"),
    (b"oops\nno\n" * 9, "stdin", 1, "18 could not be read"),
    (b"a,b\n" + b"?,?\n" * 30, "stdin", 1, "no window was judged"),
    (b"a,b\n", "csv:{path}", 2, "table.csv: "),
    (b"a,b\n" + b"?,?\n" * 30, "csv:{path}", 2, "table.csv: "),
    (b"\x00\x01\x02" * 99, "csv:{path}", 2, "table.csv: "),
    (b"a,b\n" + b"1.5,2.5\n", "csv:{path}", 0, "")],
    ids=("header", "nothing", "poison", "no table", "gaps", "header of a file", "gaps of a file",
         "binary", "one row"))
def test_a_run_that_judged_nothing_fails_with_a_sentence(lines, source, code, said, tmp_path,
                                                         monkeypatch):
    commands = entrances.Commands(tmp_path, monkeypatch)
    commands.model(["a", "b"])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(entrances.CONFIG))
    path = tmp_path / "table.csv"
    path.write_bytes(lines)
    with entrances.standard_input(lines):
        found, _, err = entrances.command(["run", "config.yaml", "--source",
                                           source.format(path=path)], tmp_path)
    assert found == code, err
    assert not said or any(
        line.startswith("run: ") and said in line for line in err.splitlines()), err


def test_a_run_that_skips_all_fails_with_a_sentence(tmp_path, monkeypatch):
    commands = entrances.Commands(tmp_path, monkeypatch)
    commands.model(["a", "b"])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(entrances.CONFIG | {
        "alert_config": {"storage": {"path": "alerts.db"}}}))
    argv = ["run", "config.yaml", "--source", f"csv:{HERE / 'plain.csv'}"]
    assert entrances.command(argv, tmp_path)[0] == 0
    code, _, err = entrances.command(argv, tmp_path)
    assert code == 1 and "no window was judged: 12 rows came: 12 were taken before" in err


# -- broken files ----------------------------------------------------------------------------------


def test_broken_files_are_read_or_refused_in_one_sentence():
    """In a process of its own, with a limit to its memory; by hand: reading_fuzz.py 300."""
    amount = os.environ.get("ADLIB_FUZZ", "60x")
    done = subprocess.run([sys.executable, ROOT / "tests" / "reading_fuzz.py", amount, "1"],
                          env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    tally = json.loads(done.stdout)
    assert not tally["violations"]
    assert tally["by_function read"] and tally["by_function refused"] and tally["by_stream read"]
