"""Several machines in one data set: what follows what, and what never crosses a border."""

import inspect
import json
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from adlib import notebooks
from adlib.compare import compare, score_cell
from adlib.datasets import Dataset, load_csv
from adlib.datasets.splits import Split, divided
from adlib.detectors import KNN, LinearForecast, RollingZScore
from adlib.plots import series
from adlib.reading.options import ReadingWarning

MINUTE = np.timedelta64(60, "s")
START = np.datetime64("2024-03-01", "ns")


def machines(n=400, levels=(0.0, 50.0, -30.0)):
    """The series of machines that differ in level, each with a spike in its test."""
    rng = np.random.default_rng(0)
    own = {}
    for i, level in enumerate(levels):
        x = level + np.sin(np.arange(n) / 7)[:, None] + 0.1 * rng.normal(size=(n, 1))
        x[-40 - i] += 9
        own["abc"[i]] = x
    return own


def grouped(own, **changes):
    """All histories, then all calibration rows, then all tests: of each machine in turn."""
    parts = [(int(a * len(x)), int(b * len(x))) for a, b in ((0, .4), (.4, .5), (.5, 1))
             for x in own.values()]
    names = list(own) * 3
    rows = [(k, i) for k, (a, b) in zip(names, parts, strict=True) for i in range(a, b)]
    X = np.array([own[k][i] for k, i in rows])
    y = np.abs(X[:, 0] - np.array([np.median(own[k]) for k, _ in rows])) > 5
    n = sum(len(x) for x in own.values())
    return Dataset("plant", X, y, **{
        "time": [START + i * MINUTE for _, i in rows], "train_end": n // 2,
        "calibrate_start": int(.4 * n), "session": [list(own).index(k) for k, _ in rows],
        "session_names": list(own)} | changes)


def test_time_may_fall_between_machines_and_never_within_one():
    data = grouped(machines())
    facts = data.describe()
    assert facts["groups"] == 3 and facts["median step in seconds"] == data.interval == 60
    assert facts["steps off the median"] == 0
    assert data.to_frame().session.value_counts().to_dict() == dict.fromkeys("abc", 400)
    assert data.test.session_names == ("a", "b", "c") and data.test.interval == 60
    for start in np.flatnonzero(np.diff(data.session)) + 1:  # events end with their machine
        assert not ((data.events.start < start) & (data.events.end > start)).any()
    with pytest.raises(ValueError, match="must not fall within a session"):
        grouped(machines(), time=data.time[::-1])
    with pytest.raises(ValueError, match="must not fall; sort the rows"):
        grouped(machines(), session=None, session_names=None)
    with pytest.raises(ValueError, match="session_names needs session, with numbers from 0 to 1"):
        grouped(machines(), session_names=["a", "b"])


def test_recordings_of_one_machine_are_one_entity():
    data = Dataset("d", np.zeros(6), session=[0, 0, 1, 2, 3, 3], session_names=list("abab"))
    assert data.entity.tolist() == [0, 0, 1, 0, 1, 1] and data.describe()["groups"] == 2
    assert data.fingerprint != Dataset("d", np.zeros(6), session=data.session).fingerprint


@pytest.mark.parametrize("detector", [KNN(window=5), LinearForecast(), RollingZScore(window=50)])
def test_scores_of_each_machine_are_those_of_that_machine_alone(detector):
    own = machines()
    data = grouped(own)
    cell = score_cell(detector, data, purge=0)
    rows = np.arange(len(data))[cell.test_rows]
    train = slice(0, data.calibrate_start)
    model = clone(detector).set_params(calibration=None)
    model.fit(data.X[train], session=data.session[train])
    for i, (name, x) in enumerate(own.items()):
        if model.is_stateful:  # its own history, and no other's
            alone = clone(model).fit(x[:160]).anomaly_score(x[160:])[40:]
        else:
            alone = model.anomaly_score(x)[200:]
        found = cell.test[data.session[rows] == i]
        assert np.allclose(found, alone, rtol=1e-9, atol=1e-12), name


def test_no_window_that_trains_crosses_from_one_machine_into_another():
    at = np.arange(90)
    X = np.where(at < 45, 0.1 * np.sin(at), 50 + 0.1 * np.cos(at))[:, None]
    joint, session = X[43:48], at >= 45
    options = {"window": 5, "calibration": None, "smoothing": None}
    for detector in (KNN(**options), LinearForecast(**options)):
        mixed = clone(detector).fit(X).anomaly_score(joint)[-1]
        apart = clone(detector).fit(X, session=session).anomaly_score(joint)[-1]
        assert apart > 1.2 * mixed  # one that was learned is usual
    pipeline = make_pipeline(StandardScaler(), KNN(window=5))
    data = Dataset("two", np.tile(X, (2, 1)), session=[*session, *session + 2], train_end=100,
                   calibrate_start=90)
    assert score_cell(pipeline, data, purge=0).test.shape == (80,)
    with pytest.raises(ValueError, match="more than 4 rows that follow each other in one session"):
        KNN(window=5).fit(X, session=at // 4)


def test_a_machine_without_history_begins_with_what_all_others_taught():
    data = grouped(machines())
    rows = np.r_[:400, 560:600, 600:1200]  # none of c's history is left
    keep = rows[(data.session[rows] != 2) | (rows >= 600)]
    bare = Dataset("plant", data.X[keep], session=data.session[keep],
                   train_end=int((keep < 600).sum()), calibrate_start=int((keep < 480).sum()))
    cell = score_cell(RollingZScore(window=50), bare, purge=0)
    model = RollingZScore(window=50, calibration=None).fit(bare.X[:bare.calibrate_start])
    of = bare.session[cell.test_rows] == 2
    assert np.allclose(cell.test[of], model.anomaly_score(bare.X[cell.test_rows][of]))


def test_recordings_are_joined_as_one_reads_them_from_one_file(files):
    own = {name: load_csv(files / "each" / f"{name}.csv", label_column="bad", name=f"pump {name}")
           for name in "ab"}
    joined = Dataset.joined(own.values(), "plant")
    read = load_csv(files / "blocks.csv", label_column="bad", entity_column="unit")
    assert joined.fingerprint == read.fingerprint and joined.entity_names == read.entity_names
    again = Dataset.joined([joined, own["a"]], "all")
    assert again.session_names == ("plant/pump a", "plant/pump b", "pump a") and len(again) == 600
    assert again.train_end == 240 and (again.y == 1).sum() == 90
    with pytest.raises(ValueError, match="the same features"):
        Dataset.joined([own["a"], Dataset("x", [[1.0, 2.0]])], "plant")


def test_unseen_machines_are_judged_by_a_model_of_the_others(files):
    data = load_csv(files / "blocks.csv", label_column="bad", entity_column="unit",
                    split="entity", train_entities=["pump b"])
    assert set(data.entity[:data.train_end]) == {data.session_names.index("pump b")}
    cell = score_cell(KNN(window=5), data)
    model = KNN(window=5, calibration=None).fit(data.X[:data.calibrate_start])
    np.testing.assert_allclose(cell.test, model.anomaly_score(data.X[data.train_end:])[4:])
    table = compare(["KNN(window=5)", "MaxAbsZ"], data, [0], n_random=2, baselines=False)
    assert (table.status == "ok").all() and not table.metric.str.endswith("]").any()


def test_machines_are_compared_late_and_in_time():
    data = grouped(machines())
    for delay in (None, 5):
        table = compare(["KNN(window=5)", LinearForecast(), "RollingZScore(window=50)"], data, [0],
                        delay=delay, n_random=2, intervals=False, baselines=False)
        assert (table.status == "ok").all()
        per_day = table[table.metric.str.startswith("alarms_per_day")]
        assert (table.n_test == 584).all()  # without the gap of 16 rows, which each machine has
        n_alarms = per_day.value * (600 - 3 * 16) / 1440
        assert np.allclose(n_alarms, n_alarms.round()) and len(per_day) == 3


def test_the_axis_of_machines_is_the_row():
    data = grouped(machines())
    assert series(data, score=np.zeros(1200))[-1].get_xlabel() == "row"


def cut(split, y, **table):
    notes = []
    rows, fields = divided(split, "mine", np.asarray(y), notes.append, **table)
    return np.arange(len(y))[rows].tolist(), fields, notes


def test_history_is_the_first_rows_of_each_entity():
    entity = list("aaaaaaaaaa" + "bbbbb")
    rows, fields, notes = cut(Split(train_fraction=.6), np.zeros(15), entity=entity)
    assert rows == [0, 1, 2, 3, 4, 10, 11, 12, 5, 6, 7, 8, 9, 13, 14] and not notes
    assert fields["train_end"] == 9 and fields["calibrate_start"] == 8
    assert fields["session"].tolist() == [0] * 5 + [1] * 3 + [0] * 5 + [1] * 2
    assert fields["session_names"] == ["a", "b"]
    rows, fields, notes = cut(Split(train_rows=5), np.zeros(15), entity=entity)
    assert fields["train_end"] == 10 and fields["calibrate_start"] == 8
    assert "1 of 2 entities have no more than train_rows=5 rows" in notes[0]
    rows, fields, _ = cut(Split(), np.zeros(10))
    assert rows == list(range(10)) and fields == {"train_end": 4, "calibrate_start": 4}


def test_whole_entities_are_history():
    entity = np.repeat(list("abcdefghij"), 3)
    rows, fields, _ = cut(Split(split="entity", train_fraction=.5), np.zeros(30), entity=entity)
    assert rows == list(range(30))
    assert fields["train_end"] == 15 and fields["calibrate_start"] == 12  # e was not learned
    rows, fields, _ = cut(Split(split="entity", train_entities=["c", "j"]), np.zeros(30),
                          entity=entity)
    assert set(entity[rows[:fields["train_end"]]]) == {"c", "j"}


def test_a_random_half_of_the_normal_rows_is_history():
    y = np.r_[np.ones(10), np.zeros(30)]
    rows, fields, _ = cut(Split(split="one_class"), y)
    assert fields == {"train_end": 15, "series": False} and sorted(rows) == list(range(40))
    assert not y[rows[:15]].any() and rows == cut(Split(split="one_class"), y)[0]
    assert rows != cut(Split(split="one_class", random_state=1), y)[0]


def test_labelled_rows_are_left_out_of_the_history():
    time = START + np.arange(20) * MINUTE
    y = np.zeros(20)
    y[[3, 4, 9, 15]] = 1
    rows, fields, notes = cut(Split(train_fraction=.5, clean_history=True), y, time=time)
    assert rows == [0, 1, 2, *range(5, 9), *range(10, 20)] and fields["train_end"] == 7
    assert fields["session"].tolist() == [0] * 3 + [1] * 4 + [2] * 10  # a session for each cut
    assert fields["session_names"] == ["mine"] * 3
    assert notes == ["3 of 10 rows of the history are labelled anomalous and left out"]
    _, fields, notes = cut(Split(train_fraction=.5), y, time=time)
    assert "3 rows of the history (30.0%) are labelled" in notes[0] and "clean_history" in notes[0]
    assert "session" not in fields
    assert cut(Split(train_fraction=.5, clean_history=True), y, series=True)[1]["session"][3] == 1
    rows, fields, _ = cut(Split(train_fraction=.5, clean_history=True), y)  # a table
    assert len(rows) == 17 and "session" not in fields


def test_two_files_are_history_and_test():
    time = np.r_[START + np.arange(6) * MINUTE, START + np.arange(4) * MINUTE]
    rows, fields, _ = cut(Split(of_files=True), np.zeros(10), time=time, n_first=6)
    assert rows == list(range(10)) and fields["train_end"] == 6
    assert fields["session"].tolist() == [0] * 6 + [1] * 4  # the clock begins again
    _, fields, _ = cut(Split(of_files=True), np.zeros(10), time=START + np.arange(10) * MINUTE,
                       n_first=6)
    assert "session" not in fields


@pytest.mark.parametrize("y", [np.r_[np.ones(3), np.zeros(17)], np.r_[np.ones(12), np.zeros(8)],
                               np.r_[0, np.ones(5), np.zeros(14)]])
def test_labels_sorted_to_the_front_are_named(y):
    assert "split='one_class' draws" in cut(Split(), y)[2][0]
    assert ("sorted to the end" in "".join(cut(Split(), y[::-1])[2])) == (y[0] == 1)
    assert "split='one_class'" not in cut(Split(), y, time=START + np.arange(20) * MINUTE)[2][0]


@pytest.mark.parametrize(("options", "table", "sentence"), [
    ({"split": "random"}, {}, "split must be one of 'time', 'one_class', 'entity'"),
    ({"train_rows": 1}, {}, "train_rows must be"),
    ({"train_rows": 20}, {}, "the split leaves 20 rows of history and 0 to test"),
    ({"split": "entity"}, {}, "needs entity_column and at least two entities"),
    ({"split": "entity", "train_entities": "c"}, {"entity": list("ab") * 10},
     r"train_entities: \['c'\] are not there; there are \['a', 'b'\]"),
    ({"train_entities": ["a"]}, {}, "train_entities goes with split='entity'"),
    ({"split": "one_class"}, {"labelled": False}, "needs labels"),
    ({"split": "one_class"}, {"time": START + np.arange(20) * MINUTE}, "time_column=False"),
    ({"split": "one_class"}, {"series": True}, "series=True"),
    ({"clean_history": True}, {"labelled": False}, "clean_history=True needs labels"),
    ({"clean_history": "yes"}, {}, "clean_history must be"),
    ({"of_files": True, "train_rows": 9}, {}, "test_path says what is history"),
])
def test_a_split_that_cannot_be_is_one_sentence(options, table, sentence):
    with pytest.raises(ValueError, match=sentence):
        cut(Split(**options), np.zeros(20), **table)


# -- from files --------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """Two machines in one file in three layouts, each alone, and a file of tests."""
    own = machines(200, (0.0, 50.0))
    frames = {name: pd.DataFrame({"time": START + np.arange(200) * MINUTE, "unit": f"pump {name}",
                                  "heat": x[:, 0], "bad": (np.arange(200) // 30 == 5).astype(int)})
              for name, x in own.items()}
    both = pd.concat(frames.values())
    both.to_csv(tmp_path / "blocks.csv", index=False)
    both.sort_values("time", kind="stable").to_csv(tmp_path / "mixed.csv", index=False)
    both.sample(frac=1, random_state=0).to_csv(tmp_path / "shuffled.csv", index=False)
    (tmp_path / "each").mkdir()
    for name, frame in frames.items():
        frame.drop(columns="unit").to_csv(tmp_path / "each" / f"{name}.csv", index=False)
    return tmp_path


@pytest.mark.parametrize("layout", ["blocks", "mixed", "shuffled"])
def test_two_machines_in_one_file_are_two_groups(files, layout):
    options = {"label_column": "bad", "entity_column": "unit"}
    data = load_csv(files / f"{layout}.csv", **options)
    assert sorted(data.session_names) == ["pump a", "pump b"] and data.feature_names == ("heat",)
    assert data.train_end == 160 and data.calibrate_start == 128 and data.interval == 60
    for name in "ab":
        alone = load_csv(files / "each" / f"{name}.csv", label_column="bad")
        of = data.session == data.session_names.index(f"pump {name}")
        assert (data.X[of] == alone.X).all() and (data.y[of] == alone.y).all()
        assert of[:128].sum() == alone.calibrate_start == 64
    whole = load_csv(files / f"{layout}.csv", split="entity", **options)
    assert (whole.entity[:200] == whole.entity[0]).all() and whole.train_end == 200


@pytest.mark.parametrize("name", ["machines", "machines_blocks", "machines_shifted",
                                  "machines_numbers"])
def test_small_files_of_several_machines(name):
    path = notebooks.ROOT / "tests" / "data" / "reading" / f"{name}.csv"
    frame = pd.read_csv(path)
    data = load_csv(path, entity_column=frame.columns[1], train_rows=5)
    assert data.train_end == 10 and data.feature_names == ("a",)
    for i, (one, rows) in enumerate(frame.groupby(frame.columns[1])):
        assert data.session_names[i] == str(one)
        assert data.X[data.session == i, 0].tolist() == rows.a.tolist()


def test_a_folder_or_list_is_a_data_set_for_each_file(files):
    sets = load_csv(files / "each", label_column="bad", train_rows=50)
    assert list(sets) == ["a", "b"] == [data.name for data in sets.values()]
    assert sets["b"].train_end == 50 and "train_rows=50" in sets["b"].source
    shutil.copytree(files / "each", files / "rig")
    listed = load_csv([files / "rig" / "b.csv", files / "each"], label_column="bad")
    assert list(listed) == ["rig/b", "a", "each/b"]
    with pytest.raises(ValueError, match="mixed.csv: 200 timestamps are repeated .* entity_column"):
        load_csv([files / "rig" / "b.csv", files / "mixed.csv"])
    (files / "each" / "broken.csv").write_bytes(b"")
    with pytest.raises(ValueError, match="broken.csv"):
        load_csv(files / "each")
    (files / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="none is a folder without tables"):
        load_csv(files / "none")
    with pytest.raises(ValueError, match="name is for one file, and path names 2"):
        load_csv([files / "mixed.csv", files / "blocks.csv"], name="x")
    with pytest.raises(ValueError, match="mixed.csv'] twice"):
        load_csv([files / "mixed.csv"] * 2)


def test_history_and_test_in_two_files(files):
    first, second = files / "each" / "a.csv", files / "each" / "b.csv"
    data = load_csv(first, test_path=second, label_column="bad")
    assert data.train_end == 200 and len(data) == 400 and data.name == "a"
    assert data.session.tolist() == [0] * 200 + [1] * 200  # the clock begins again
    assert data.source.startswith("file a.csv, tested on b.csv; read with label_column='bad'")
    frame = pd.read_csv(first)
    frame.drop(columns="bad").to_csv(files / "normal.csv", index=False)
    with pytest.warns(ReadingWarning, match="normal.csv: has no column 'bad'; its rows are taken"):
        data = load_csv(files / "normal.csv", test_path=second, label_column="bad")
    assert not data.y[:200].any() and data.y[200:].sum() == 30
    frame.rename(columns={"heat": "warmth"}).to_csv(files / "other.csv", index=False)
    with pytest.raises(ValueError, match=r"b.csv must have the same columns, and \['warmth'\]"):
        load_csv(files / "other.csv", test_path=second, label_column="bad")
    with pytest.raises(ValueError, match="label_column='baad' is not a column"):
        load_csv(first, test_path=second, label_column="baad")
    (files / "tests").mkdir()
    frame.to_csv(files / "tests" / "a.csv", index=False)
    frame.to_csv(files / "tests" / "b.csv", index=False)
    sets = load_csv(files / "each", test_path=files / "tests", label_column="bad")
    assert [len(data.test) for data in sets.values()] == [200, 200]
    with pytest.raises(FileNotFoundError, match="test_path must be a folder with files of the"):
        load_csv(files / "each", test_path=second)


def test_a_date_of_the_test_is_read_as_in_the_history(tmp_path):
    for name, days in {"history": range(10, 30), "test": range(1, 9)}.items():
        rows = [f"{day:02d}/03/2024,{day % 3}" for day in days]
        (tmp_path / f"{name}.csv").write_text("\n".join(["time,heat", *rows]) + "\n")
    with pytest.warns(ReadingWarning, match="test.csv: .*as before"):
        data = load_csv(tmp_path / "history.csv", test_path=tmp_path / "test.csv")
    assert set(data.time.astype("datetime64[M]").astype(str)) == {"2024-03"}


def test_series_and_interval_are_options_of_the_loader(files):
    path = files / "each" / "a.csv"
    data = load_csv(path, label_column="bad", time_column=False, feature_columns=["heat"],
                    series=True, interval="30s")
    assert data.series and data.interval == 30 and data.source.endswith(
        "series=True, interval=30.0")
    assert load_csv(path, label_column="bad", series=False).ordered is False
    with pytest.raises(ValueError, match="series must be True, False or None, got 'no'"):
        load_csv(path, series="no")
    with pytest.raises(ValueError, match="interval must be a number of seconds"):
        load_csv(path, interval="often")


def test_splits_are_options_of_the_loader(files):
    path = files / "each" / "a.csv"
    with pytest.warns(ReadingWarning, match=r"10 rows of the history \(6.2%\) are labelled"):
        data = load_csv(path, label_column="bad", train_rows=160)
    assert data.y[:160].sum() == 10 and any("clean_history=True" in one for one in data.notes)
    data = load_csv(path, label_column="bad", train_rows=160, clean_history=True)
    assert data.train_end == 150 and len(data) == 190 and data.session_names == ("a", "a")
    frame = pd.read_csv(path).sort_values("bad", ascending=False).drop(columns="time")
    frame.to_csv(files / "sorted.csv", index=False)
    with pytest.warns(ReadingWarning, match="the labels are sorted to the front of the table"):
        load_csv(files / "sorted.csv", label_column="bad")
    data = load_csv(files / "sorted.csv", label_column="bad", split="one_class")
    assert not data.ordered and data.train_end == 85 and not data.train.y.any()
    with pytest.raises(ValueError, match="a.csv: split='one_class' draws rows at random"):
        load_csv(path, label_column="bad", split="one_class")


# -- the reading cells of notebook 05 -------------------------------------------------------------

CELLS = ("6872392c", "2d32a6c8", "d0ee7c87", "f5445bbd")  # parameters, imports, reading, checks


@pytest.fixture
def read(files, monkeypatch, capsys):
    """Run the cells with parameters; what they leave, and their notes."""
    monkeypatch.chdir(files)
    monkeypatch.setattr(notebooks, "setup", lambda: None)
    path = notebooks.ROOT / "notebooks" / "05_model_comparison.ipynb"
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]}

    def read(**parameters):
        left = {}
        with pd.option_context("display.max_colwidth", 50), warnings.catch_warnings():
            for cell in CELLS:
                exec(cells[cell], left)
                left |= parameters if cell == CELLS[0] else {}
        return left, capsys.readouterr().out

    return read


def test_notebook_05_reads_with_all_options_of_the_loader(read):
    left, out = read(data_path="mixed.csv", entity_column="unit", label_column="bad",
                     train_rows=160, clean_history=True)
    (data,) = left["sets"]
    assert data.session_names == ("pump a",) * 2 + ("pump b",) * 2 and data.train_end == 300
    assert "note: mixed.csv: 20 of 320 rows of the history are labelled anomalous and left" in out
    assert "note: mixed.csv: column 'time' taken as the time" in out
    assert "learn them as normal" not in out and "no time_column" not in out
    assert left["given"]["entity_column"] == "unit" and left["given"]["header"] is None
    options = set(inspect.signature(load_csv).parameters) - {"path", "name"}
    assert options <= set(left["given"])


def test_notebook_05_takes_a_folder_a_list_and_two_files(read):
    left, out = read(data_path="each", label_column="bad", datasets=["b"], train_fraction=0.5)
    assert [data.name for data in left["sets"]] == ["b"] and left["own"]
    assert "note: a.csv, b.csv: column 'time' taken as the time" in out
    left, _ = read(data_path=["each/a.csv", "each/b.csv"], label_column="bad", train_rows=100)
    assert [data.name for data in left["sets"]] == ["a", "b"]
    left, out = read(data_path="each/a.csv", test_path="each/b.csv", label_column="bad")
    assert left["sets"][0].train_end == 200 and "30 rows of the history (15.0%)" in out


@pytest.mark.parametrize(("parameters", "sentence"), [
    ({"data_path": "none"}, "none is not there"),
    ({"data_path": "."}, "pass entity_column='unit'"),  # of mixed.csv, say
    ({"data_path": "each", "label_column": True}, r"label_column must be a text .*True.*quote"),
    ({"data_path": "each", "train_rows": "100"}, "train_rows must be a whole number of rows"),
    ({"data_path": "each", "split": "half"}, "split must be one of"),
    ({"data_path": ["each/a.csv", "none.csv"]}, "none.csv"),
])
def test_notebook_05_refuses_in_one_sentence(read, parameters, sentence):
    with pytest.raises(notebooks.ParameterError, match=sentence):
        read(**parameters)
