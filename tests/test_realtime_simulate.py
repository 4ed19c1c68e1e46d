"""The simulated plant: the same by its seed, faults now and then, and a page by one command."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from contextlib import aclosing

import httpx
import numpy as np
import pytest

from adlib.realtime import check_source
from adlib.realtime.doors.simulate import FEATURES, Plant, SimulatedSource, commands


def taken(spec, rows, position=-1, features=None):
    async def run():
        found, n = [], 0
        source = SimulatedSource(spec)
        async with aclosing(source.samples(features=features, position=position)) as samples:
            while n < rows:
                found.append(await anext(samples))
                n += len(found[-1].values)
        return (np.vstack([s.values for s in found])[:rows],
                np.concatenate([s.time for s in found])[:rows],
                [name for s in found for name in s.entity or ()][:rows], found[0].seq)

    return asyncio.run(asyncio.wait_for(run(), 120))


def test_rows_follow_from_the_seed_and_their_number():
    spec = "simulate:?machines=3&speed=1e6&start=1000"
    values, at, names, first = taken(spec, 1200)
    again = taken(spec, 1000, position=199)
    np.testing.assert_array_equal(again[0], values[200:])
    np.testing.assert_allclose(again[1], at[200:], rtol=0, atol=1e-9)
    assert again[2] == names[200:] and again[3] == 200 and first == 0
    assert names[:4] == ["machine-01", "machine-02", "machine-03", "machine-01"]
    np.testing.assert_allclose(at[::3], 1000 + np.arange(400) / 1e6)
    assert not np.array_equal(taken(spec + "&seed=1", 1200)[0], values)
    assert not np.array_equal(taken(spec, 1200, features=FEATURES[::-1])[0][:, 0], values[:, 0])
    assert taken("simulate:?machines=1&speed=1e6", 10)[2] == []
    check_source(lambda: SimulatedSource("simulate:?machines=3&speed=1e6"), rows=2000)


def test_rows_have_the_time_of_now_also_after_a_restart():
    before = time.time()
    for position in (-1, 10**7):
        at = taken("simulate:?machines=20&speed=1e6", 20, position)[1]
        assert before - 1 < at[0] <= time.time() + 1


def test_faults_come_now_and_then_and_not_in_the_history():
    plant = Plant(machines=5, seed=3)
    history = plant.history()
    X = history[list(FEATURES)].to_numpy()
    assert history.machine.nunique() == 5 and not np.isnan(X).any()
    rows = [plant.rows(block) for block in range(100)]
    assert all(np.array_equal(a, plant.rows(block), equal_nan=True) for block, a in enumerate(rows))
    live = np.concatenate([a.reshape(-1, len(FEATURES)) for a in rows])
    z = np.abs(live - X.mean(axis=0)) / X.std(axis=0)
    assert 0 < np.isnan(live).any(axis=1).mean() < 0.05
    assert 0.001 < (np.nan_to_num(z).max(axis=1) > 4).mean() < 0.05


@pytest.mark.parametrize(("spec", "says"), [
    ("simulate:plant", "simulate:"), ("simulate:?machines=0", "1 to 100,000"),
    ("simulate:?machines=two", "whole numbers"), ("simulate:?speed=0", "above 0"),
    ("simulate:?machine=3", "no option 'machine'"),
])
def test_bad_specs_are_refused_at_once(spec, says):
    with pytest.raises(ValueError, match=says):
        SimulatedSource(spec)


def test_features_are_those_of_the_plant():
    with pytest.raises(ValueError, match="the plant has no 'oil'"):
        SimulatedSource("simulate:").samples(features=["oil"])


def test_what_is_in_the_folder_stays(tmp_path):
    fit, run = commands(tmp_path / "a b: #c", 3, 0, 1.0, "0")
    config = tmp_path / "a b: #c" / "config.yaml"
    config.write_text(config.read_text().replace("stride: 5", "stride: 6"))
    assert fit[0] == "fit" and run[0] == "run"
    (tmp_path / "a b: #c" / "model").mkdir()
    assert commands(tmp_path / "a b: #c", 3, 0, 1.0, "0") == [run]
    assert "stride: 6" in config.read_text()


@pytest.mark.parametrize(("machines", "seed", "speed"), [
    (0, 0, 1.0), (-3, 0, 1.0), (2, -1, 1.0), (10_001, 0, 1.0), (2, 0, 0.0), (2, 0, float("nan")),
])
def test_a_plant_that_cannot_be_is_refused_before_anything_is_written(
        tmp_path, machines, seed, speed):
    with pytest.raises(ValueError, match="machines|speed"):
        commands(tmp_path / "plant", machines, seed, speed, "0")
    assert not (tmp_path / "plant").exists()


def test_from_nothing_to_a_page_with_an_incident(tmp_path):
    """At 50 rows a second, so that the first fault comes soon."""
    with subprocess.Popen(
            [sys.executable, "-m", "adlib.realtime", "simulate", tmp_path / "plant", "--machines",
             "5", "--speed", "50", "--serve", "0"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True) as child:
        try:
            reach_the_page(child)
        finally:
            child.kill()


def reach_the_page(child):
    """As a newcomer does: read where it is, wait for an incident, look, and stop."""
    said = []
    for line in child.stderr:
        said.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            break
    assert found, "".join(said)
    for line in child.stdout:
        if line.startswith("{") and (incident := json.loads(line)["incident_id"]) is not None:
            break
    with httpx.Client(base_url=found[0], timeout=10) as client:
        assert client.get("/ready").status_code == 200
        page = client.get("/")
        assert page.status_code == 200 and "machine-0" in page.text, incident
    child.send_signal(signal.SIGTERM)
    said.append(child.communicate(timeout=60)[1])
    assert child.returncode == 0, "".join(said)
