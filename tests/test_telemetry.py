"""The recording that ships, its labels and its card; and the recorder that made it."""

import csv
import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from adlib.datasets import load_telemetry

FOLDER = Path(__file__).resolve().parents[1] / "data" / "telemetry"
PLAN = json.loads((FOLDER / "schedule.json").read_text())


def module(name):
    """A script of the folder as a module: it is not part of the package."""
    spec = importlib.util.spec_from_file_location(f"telemetry_{name}", FOLDER / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded  # dataclasses look their own module up
    spec.loader.exec_module(loaded)
    return loaded


record = module("record")
card = module("card")


def python(*arguments, **options):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


# ------------------------------------------------------------------ schedule


def test_the_schedule_comes_from_its_seed_byte_for_byte(tmp_path):
    made = tmp_path / "schedule.json"
    run = python(FOLDER / "record.py", "schedule", "--seed", PLAN["seed"], "--out", made)
    assert run.returncode == 0, run.stderr
    assert made.read_bytes() == (FOLDER / "schedule.json").read_bytes()
    assert record.make_schedule(PLAN["seed"] + 1) != PLAN


def test_every_schedule_keeps_its_promises():
    onsets = []
    for seed in range(200):
        sessions = record.make_schedule(seed)["sessions"]
        pairs = []
        for session in sessions:
            events = session["events"]
            faults = [e for e in events if e["role"] == "fault"]
            roles = Counter(e["role"] for e in events)
            fault_free = session["session"] < record.FAULT_FREE_SESSIONS
            assert (roles["fault"], roles["sham"]) == ((0, 0) if fault_free else (4, 1))
            assert roles["backup"] in (1, 2) and roles["build"] in (1, 2)
            assert sum(e["duration"] + 1 for e in faults) < 0.05 * session["seconds"]
            assert all(8 <= e["duration"] <= 12 for e in faults)
            for before, after in zip(events, events[1:], strict=False):
                assert after["onset"] - (before["onset"] + before["duration"]) >= 20
            assert events[0]["onset"] >= 60
            assert events[-1]["onset"] + events[-1]["duration"] <= session["seconds"] - 10
            pairs += [(e["kind"], e["strength"]) for e in faults]
            onsets += [e["onset"] for e in faults]
        assert sorted(pairs) == sorted((k, s) for k in record.KINDS for s in record.REAL_STRENGTHS)
    # 4,800 onsets: uniform but for a slight excess at the ends, which the README owns up to.
    assert stats.kstest(onsets, stats.uniform(60, 800).cdf).statistic < 0.03


def test_the_committed_schedule_stays_below_five_percent_even_in_whole_rows():
    for session in PLAN["sessions"]:
        spans = [(e["onset"], e["onset"] + e["duration"])
                 for e in session["events"] if e["role"] == "fault"]
        assert sum(np.ceil(end) - np.floor(onset) for onset, end in spans) <= 44


def test_faults_are_capped_as_documented():
    assert PLAN["caps"] == record.CAPS
    text = (FOLDER / "README.md").read_text()
    for kind, limit in record.CAPS.items():
        assert f"| `{kind}` | {limit['cap']:g} " in text, kind
    assert max(record.STALLED_WORKERS.values()) == record.CAPS["stalled_worker"]["cap"]


# ------------------------------------------------------------------ labels


def session_of(*events, seconds=60):
    return record.Session(2, seconds, "test", 7, [record.Event(*event) for event in events])


def test_labels_follow_the_work_that_was_counted():
    session = session_of(
        ("fault", "fork_burst", 0.3, 5.5, 4.0),
        ("sham", "cpu_hog", 0.0, 30.0, 3.0),
        ("build", "build", 0.0, 40.0, 5.0),
        ("fault", "cpu_hog", 1.0, 50.0, 2.0),
    )
    work, routine = np.zeros((60, len(record.KINDS))), np.zeros((60, 2))
    work[6:11, record.KINDS.index("fork_burst")] = 9.0  # starts late, and one second too long
    labels = pd.DataFrame(record.label_rows(session, work, routine))
    assert labels.index[labels.effect == 1].tolist() == [6, 7, 8, 9, 10]
    assert labels.index[labels.commanded == "fork_burst"].tolist() == [5, 6, 7, 8, 9, 10]
    assert labels.index[labels.state == "recovery"].tolist() == [*range(11, 21)]
    assert labels.index[labels.state == "sham"].tolist() == [30, 31, 32]
    assert labels.index[labels.state == "build"].tolist() == [*range(40, 45)]
    # Commanded, but the injector counted nothing: that is no anomaly.
    assert labels.state[50] == "normal" and labels.commanded[50] == "cpu_hog"


def test_a_missed_second_is_an_empty_field(tmp_path):
    session = session_of(seconds=3)
    rows = [dict.fromkeys(record.FEATURES, 1.25), {}, dict.fromkeys(record.FEATURES, 1e-9)]
    labels = record.label_rows(session, np.zeros((3, len(record.KINDS))), np.zeros((3, 2)))
    record.write_session(tmp_path / "session_2.csv", session, rows, labels)
    assert [path.name for path in tmp_path.iterdir()] == ["session_2.csv"]
    frame = pd.read_csv(tmp_path / "session_2.csv")
    assert tuple(frame) == record.COLUMNS and frame.t.tolist() == [1, 2, 3]
    assert frame.queue_length.isna().tolist() == [False, True, False]
    assert frame.jobs_per_s[0] == 1.25 and frame.jobs_per_s[2] == 0
    # The loader holds the last value of the session.
    X = load_telemetry(root=tmp_path).X
    assert X[1].tolist() == X[0].tolist()


# ------------------------------------------------------------------ recorder


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the recorder reads Linux's /proc")
def test_a_short_recording_leaves_a_table_and_nothing_else(tmp_path):
    session = record.Session(2, 5, "test", 7, [
        record.Event("fault", "fork_burst", 0.15, 1.2, 1.5),
        record.Event("sham", "cpu_hog", 0.0, 3.5, 1.0),
    ])
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"sessions": [dataclasses.asdict(session)]}))
    out, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    run = subprocess.Popen(
        [sys.executable, FOLDER / "record.py", "run", "--schedule", plan, "--out", out],
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 0, said
    assert [path.name for path in out.iterdir()] == ["session_2.csv"]
    assert not list(temporary.iterdir())
    assert not processes_of(run.pid)

    frame = pd.read_csv(out / "session_2.csv", keep_default_na=False)
    assert tuple(frame) == record.COLUMNS and frame.t.tolist() == [1, 2, 3, 4, 5]
    effect = frame.effect == 1
    assert effect.any() and set(frame.commanded[effect]) == {"fork_burst"}
    assert (frame.commanded == "cpu_hog").any() and not effect[frame.commanded == "cpu_hog"].any()
    values = frame[list(record.FEATURES)].replace("", np.nan).astype(float)
    assert values.notna().any(axis=1).sum() >= 3  # a busy machine may miss a second or two
    assert (values.mem_used_mib.dropna() > 0).all() and (values.threads_count.dropna() > 10).all()
    assert values.forks_per_s[effect].sum() > 5


def processes_of(session_id):
    """Ids of the running processes of one process session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(after_name[3]) == session_id and after_name[0] != "Z":
            found.append(stat.parent.name)
    return found


# ------------------------------------------------------------------ card


@pytest.fixture
def small(tmp_path):
    """Three sessions of noise; in the last a huge fault, one without any trace, and a sham."""
    rng = np.random.default_rng(0)
    events = {
        2: [
            record.Event("fault", "memory_ballast", 1.0, 100.0, 8.0),
            record.Event("fault", "fork_burst", 0.15, 200.0, 8.0),
            record.Event("sham", "cpu_hog", 0.0, 300.0, 8.0),
        ]
    }
    plan = []
    for number in range(4):
        session = record.Session(number, 400, "", 0, events.get(number, []))
        plan.append(dataclasses.asdict(session))
        if number == 3:
            continue  # planned, and not recorded yet
        X = rng.normal(100, 1, size=(400, len(record.FEATURES)))
        work = np.zeros((400, len(record.KINDS)))
        for event in session.events[:2]:
            rows = slice(int(event.onset), int(event.end))
            work[rows, record.KINDS.index(event.kind)] = 1
            X[rows, record.FEATURES.index("mem_used_mib")] += 30 * (event.strength == 1)
        names = (*record.FEATURES, *record.ENVIRONMENT)
        rows = [dict(zip(names, [*x, *[2.0] * 5], strict=True)) for x in X]
        labels = record.label_rows(session, work, np.zeros((400, 2)))
        record.write_session(tmp_path / f"session_{number}.csv", session, rows, labels)
    (tmp_path / "schedule.json").write_text(json.dumps({"sessions": plan}))
    (tmp_path / "README.md").write_text(f"above\n{card.BEGIN} x -->\nold\n{card.END}\nbelow\n")
    return tmp_path


def cells(text, *starts):
    """Cells of the only table line that starts with these cells."""
    (line,) = (x for x in text.splitlines() if x.startswith(f"| {' | '.join(starts)} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_card_tells_what_was_found_from_what_was_not(small):
    text = card.make_card(small)
    assert "made from 3 of 4 sessions (0, 1, 2); not recorded yet: 3" in text
    huge = cells(text, "2", "memory_ballast")
    assert huge[2:7] == ["1", "0.250", "8", "10", "2"]
    assert huge[7].startswith("**") and huge[7].endswith("** (1)") and huge[-1] == "`mem_used_mib`"
    # Nothing was changed: a threshold that 1 % of normal rows exceed cannot find it by much.
    assert not any(cell.startswith("**") for cell in cells(text, "2", "fork_burst")[7:10])
    assert not any(cell.startswith("**") for cell in cells(text, "2", "sham (cpu_hog)")[5:8])
    best = cells(text, "max abs z")
    assert best[1:4] == ["0 of 1", "1 of 1", "0.50"] and best[7:] == ["0 of 1", "0 of 0", "0 of 0"]
    assert 0 < float(best[4]) < 0.3  # about 1 - 0.99 ** 8, by the draw of session 1
    assert "Faults commanded: 2; without any effect: none." in text
    assert "16 of 1200 (1.33%)" in text


def test_the_card_replaces_its_section_and_knows_when_it_is_stale(small):
    folder = ["--folder", str(small)]
    assert card.main([*folder, "--check"]) == 1
    assert card.main(folder) == 0
    readme = (small / "README.md").read_text()
    assert readme.startswith("above\n") and readme.endswith(f"{card.END}\nbelow\n")
    assert "\nold\n" not in readme and card.make_card(small) in readme
    assert card.main([*folder, "--check"]) == 0
    path = small / "session_2.csv"
    path.write_text(path.read_text().replace("sham", "normal"))
    assert card.main([*folder, "--check"]) == 1
    (small / "README.md").write_text("no markers")
    with pytest.raises(ValueError, match="generated:events begin"):
        card.insert("no markers", "")


def test_the_card_needs_sessions(tmp_path):
    (tmp_path / "schedule.json").write_text('{"sessions": []}')
    run = python(FOLDER / "card.py", "--folder", tmp_path)
    assert run.returncode == 1 and "record.py" in run.stderr and "Traceback" not in run.stderr


# ------------------------------------------------------------------ the recording that ships


@pytest.fixture(scope="module")
def recording():
    """All sessions as one frame, text fields as text."""
    paths = [FOLDER / f"session_{s['session']}.csv" for s in PLAN["sessions"]]
    absent = [path.name for path in paths if not path.exists()]
    if absent:
        pytest.skip(f"the recording is not complete, {len(absent)} of 8 sessions are missing")
    text = {"commanded": str, "state": str}
    frames = [pd.read_csv(path, dtype=text).fillna(dict.fromkeys(text, "")) for path in paths]
    return pd.concat(frames, ignore_index=True)


def test_recording_is_whole(recording):
    assert tuple(recording) == record.COLUMNS
    assert recording.groupby("session").size().to_dict() == dict.fromkeys(range(8), 900)
    assert (recording.groupby("session").t.diff().dropna() == 1).all()
    values = recording[list(record.FEATURES + record.ENVIRONMENT)]
    assert values.isna().mean().max() < 0.02
    assert (values.min() >= 0).all()
    shares = values.filter(regex=r"^(cpu|env_.*pressure|env_steal)")
    assert shares.max().max() <= 102  # a reading that comes late counts a little more
    # No feature is stuck in any session.
    assert (recording.groupby("session")[list(record.FEATURES)].std() > 0).all(axis=None)
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 2_000_000


def test_recording_has_the_density_that_is_promised(recording):
    share = recording.groupby("session").effect.mean()
    assert (share[:2] == 0).all() and (share[2:] > 0).all()
    assert share.mean() < 0.04 and share.max() < 0.052  # the card names the session above 5 %
    assert not recording.state[recording.session < 2].isin(["fault", "sham", "recovery"]).any()
    assert set(recording.state) == {"normal", "backup", "build", "sham", "fault", "recovery"}


def test_every_fault_occurs_once_as_commanded(recording):
    faults = [
        (s["session"], e) for s in PLAN["sessions"] for e in s["events"] if e["role"] == "fault"
    ]
    found = recording[recording.effect == 1].groupby(["commanded", "strength"])
    assert len(found) == len(faults) == 24
    for session, event in faults:
        rows = found.get_group((event["kind"], event["strength"]))
        assert set(rows.session) == {session}
        # Row t covers the second before t; the injector counts a little late, never early.
        assert -1 <= rows.t.min() - 1 - event["onset"] <= 2, event
        assert -1 <= rows.t.max() - (event["onset"] + event["duration"]) <= 2, event


def test_effect_is_commanded_and_never_a_sham(recording):
    effect = recording.effect == 1
    assert (effect == (recording.state == "fault")).all()
    early = effect & (recording.commanded == "")  # counted just before the command's first row
    assert early.sum() <= 1 and (recording.commanded[1:][early[:-1].to_numpy()] != "").all()
    assert (recording.strength[effect & ~early] > 0).all()
    sham = recording.strength == 0
    assert set(recording.state[sham]) == {"sham"} and sham.sum() > 6 * 8
    planned = {(s["session"], e["kind"]) for s in PLAN["sessions"] for e in s["events"]
               if e["role"] == "sham"}
    assert set(zip(recording.session[sham], recording.commanded[sham], strict=True)) == planned
    data = load_telemetry(root=FOLDER)
    assert not data.y[sham].any() and data.judged[sham].all()
    faults = data.events.query("is_anomaly")
    assert len(faults) == 24 and set(faults.kind) == set(record.KINDS)
    assert (data.strength[data.y == 1] > 0).all()


def test_recovery_follows_every_fault(recording):
    for _, rows in recording.groupby("session"):
        state = rows.state.to_numpy()
        last = np.flatnonzero((state[:-1] == "fault") & (state[1:] != "fault"))
        expected = np.zeros(len(state), bool)
        for row in last:
            expected[row + 1 : row + 1 + record.RECOVERY_S] = True
        assert ((state == "recovery") == (expected & (state != "fault"))).all()
    assert not load_telemetry(root=FOLDER).judged[recording.state == "recovery"].any()


def test_look_alikes_are_where_they_were_planned(recording):
    for session in PLAN["sessions"]:
        rows = recording[recording.session == session["session"]]
        for event in session["events"]:
            if event["role"] in ("backup", "build"):
                end = event["onset"] + event["duration"]
                inside = (rows.t > event["onset"]) & (rows.t - 1 < end)  # row t began at t - 1
                assert set(rows.state[inside]) == {event["role"]}, event


def test_recording_names_nobody(recording):
    words = {"commanded": {"", *record.KINDS},
             "state": {"normal", "backup", "build", "sham", "fault", "recovery"}}
    for path in FOLDER.glob("session_*.csv"):
        with path.open(newline="", encoding="ascii") as file:
            for line in csv.DictReader(file):
                for name, value in line.items():
                    # Seconds since 1970 would be a date: no value is that large.
                    ok = value in words[name] if name in words else (
                        re.fullmatch(r"\d*(\.\d+)?", value) and float(value or 0) < 1e8)
                    assert ok, (path.name, name, value)


def test_the_card_is_fresh(recording):
    assert card.main(["--check"]) == 0
