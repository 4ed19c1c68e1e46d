"""A comparison on a Dask cluster: a real scheduler, two worker processes, one of them killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from adlib.base import Detector
from adlib.compare import compare, workers
from adlib.datasets import Dataset

distributed = pytest.importorskip("distributed", reason="needs the extra dask")

MEASURED = ["fit_s", "score_s", "peak_memory_mib"]
HERE = Path(__file__).parent


class Slow(Detector):
    """Takes its time, and says in a file which process did which seed."""

    def __init__(self, *, log=os.devnull, pause=0.0, random_state=None, **base):
        super().__init__(**base)
        self.log = log
        self.pause = pause
        self.random_state = random_state

    def _fit(self, X):
        with open(self.log, "a") as log:
            log.write(f"{os.getpid()} {self.seed_}\n")
        time.sleep(self.pause)
        self.mean_ = X.mean(axis=0) + np.random.default_rng(self.seed_).normal(size=X.shape[1])

    def _score(self, X):
        return np.abs(X - self.mean_).max(axis=1)


class Broken(Slow):
    def _fit(self, X):
        raise SystemExit("enough")


class Endless(Slow):
    def _fit(self, X):
        while True:
            time.sleep(0.05)


def make_data(name, seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(300, 2)), np.zeros(300, dtype=int)
    X[250:260] += 4
    y[250:260] = 1
    return Dataset(name, X, y)


SETS = [make_data("a", 0), make_data("b", 1)]


def quick(detectors, seeds=(0, 1), **kwargs):
    settings = {"baselines": False, "progress": False, "n_random": 2}
    return compare(detectors, SETS, seeds, **(settings | kwargs))


def same(table, other):
    pd.testing.assert_frame_equal(table.drop(columns=MEASURED), other.drop(columns=MEASURED))


def started(*arguments, folder):
    environment = os.environ | {  # the detectors above live in this file
        "PYTHONPATH": str(HERE), "DASK_TEMPORARY_DIRECTORY": str(folder)}
    return subprocess.Popen([sys.executable, "-m", *arguments], env=environment,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Address of a scheduler, and its two worker processes."""
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    scheduler = started("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
                        "--no-dashboard", "--scheduler-file", str(file),
                        folder=folder)  # fmt: skip
    crew = [
        started("distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads",
                str(threads), "--no-nanny", "--no-dashboard", "--host", "127.0.0.1",
                "--local-directory", str(folder), folder=folder)
        for threads in (1, 2)
    ]  # fmt: skip
    try:
        while not (file.exists() and file.stat().st_size):
            assert scheduler.poll() is None, "the scheduler did not start"
            time.sleep(0.05)
        with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            yield client, crew
    finally:
        for process in (*crew, scheduler):
            process.terminate()
            process.wait(timeout=30)


def test_the_table_is_that_of_a_serial_run(cluster, monkeypatch):
    client, _ = cluster
    sent, scattered, submit, scatter = [], [], client.submit, client.scatter
    monkeypatch.setattr(client, "submit", lambda f, data, task, *rest, **kw: (
        sent.append((data, task)) or submit(f, data, task, *rest, **kw)))
    monkeypatch.setattr(client, "scatter", lambda data, **kw: (
        scattered.extend(data) or scatter(data, **kw)))
    models = {"slow": Slow(), "broken": Broken(), "knn": "KNN", "online": "RollingZScore"}
    table = quick(models, range(4), scheduler=client)
    same(table, quick(models, range(4)))
    assert set(table[table.detector == "broken"].reason) == {"SystemExit: enough"}
    assert scattered == SETS  # once, and with no cell again
    assert len(sent) == 2 * (4 + 4 + 1 + 1) and all(task.dataset is None for _, task in sent)
    assert {type(data).__name__ for data, _ in sent} == {"Future"}


def test_an_address_will_do_and_time_limits_hold(cluster, tmp_path):
    address = cluster[0].scheduler.address
    models = {"slow": Slow(), "endless": Endless()}
    table = quick(models, [0], scheduler=address, time_limit=0.5, results_dir=tmp_path)
    status = table.drop_duplicates(["detector", "dataset"]).groupby("detector").status.agg(set)
    assert status.to_dict() == {"slow": {"ok"}, "endless": {"timed out"}}
    assert len(list(tmp_path.iterdir())) == 4


def test_kill_9_of_a_worker_changes_nothing_in_the_table(cluster, tmp_path):
    client, (first, second) = cluster
    log = tmp_path / "log"
    log.touch()
    watcher = subprocess.Popen([sys.executable, "-c", f"""
import os, time
while True:
    done = [int(line.split()[0]) for line in open({str(log)!r})]
    if done.count({second.pid}) > 2 and done.count({first.pid}) > 2:
        break
    time.sleep(0.01)
os.kill({second.pid}, {int(signal.SIGKILL)})
"""])  # fmt: skip
    models = {"slow": Slow(log=str(log), pause=0.1)}
    table, scores = quick(models, range(20), scheduler=client, results_dir=tmp_path / "cells",
                          return_scores=True)
    assert watcher.wait(timeout=30) == 0
    assert second.wait(timeout=30) == -signal.SIGKILL
    serial = quick({"slow": Slow(pause=0.0)}, range(20))
    same(table.drop(columns="parameters"), serial.drop(columns="parameters"))
    done = pd.Series([int(line.split()[0]) for line in log.read_text().splitlines()])
    assert set(done) == {first.pid, second.pid}
    assert (done == second.pid).sum() < len(done) / 2 and len(done) >= 40
    assert len(list((tmp_path / "cells").iterdir())) == 2 * 40 and len(scores) == 40


def test_mistakes_are_told(monkeypatch):
    with pytest.raises(TypeError, match=r"scheduler must be a distributed.Client .* got 3"):
        quick(Slow, scheduler=3)
    monkeypatch.setattr(workers, "ANSWER", 0.5)
    with pytest.raises(ValueError, match="scheduler='tcp://127.0.0.1:9' does not answer"):
        quick(Slow, scheduler="tcp://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install -e '\.\[dask\]'"):
        quick(Slow, scheduler="tcp://127.0.0.1:9")
