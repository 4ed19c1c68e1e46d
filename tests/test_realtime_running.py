"""What docs/running.md and docs/deploy promise: commands, units and tables that are true."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from adlib.realtime.__main__ import main, parser
from adlib.realtime.counters import Counters
from adlib.realtime.events import Silence
from adlib.realtime.store import SCHEMA_VERSION, AlertStore

ROOT = Path(__file__).resolve().parents[1]
RUNNING, DEPLOY = ROOT / "docs" / "running.md", ROOT / "docs" / "deploy"
UNIT, CONTAINER = DEPLOY / "adlib@.service", DEPLOY / "Containerfile"


def commands():
    """What follows ``python -m adlib.realtime``, or the image's name, in every document."""
    pages = {path.name: path.read_text().replace("\\\n#", "").replace("\\\n", "")
             for path in (ROOT / "README.md", ROOT / "docs" / "live.md", RUNNING, UNIT)}
    for name, page in pages.items():
        for found in re.findall(r"python -m adlib\.realtime ([a-z][^\n`]*)", page):
            yield name, found.split(" #")[0]
    for found in re.findall(r"adlib ((?:fit|run) [^\n]*)", CONTAINER.read_text().replace(
            "\\\n#", "")):
        yield CONTAINER.name, found


@pytest.mark.parametrize("where, command", [*commands()], ids=str)
def test_commands_of_the_documents_are_understood(where, command):
    assert parser().parse_args(shlex.split(command)).command


def test_the_documents_show_every_command():
    shown = {command.split()[0] for _, command in commands()}
    (actions,) = (a for a in parser()._actions if a.choices and "run" in a.choices)
    assert shown == {*actions.choices}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_the_unit_is_one(tmp_path):
    unit = tmp_path / "adlib@plant.service"
    unit.write_text(UNIT.read_text().replace("/opt/adlib/.venv/bin/python", sys.executable))
    found = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")


def test_the_unit_restarts_what_may_pass_alone_and_waits_for_the_last_batch():
    from adlib.realtime.doors.process import GRACE

    text = UNIT.read_text()
    assert "\nRestart=on-failure\n" in text and "\nRestartPreventExitStatus=2\n" in text
    assert int(re.search(r"TimeoutStopSec=(\d+)", text)[1]) > GRACE
    assert int(re.search(r"--stop-timeout (\d+)", CONTAINER.read_text())[1]) > GRACE


def test_the_image_asks_for_extras_that_there_are():
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extras in re.findall(r"EXTRAS=([\w,]+)", CONTAINER.read_text() + RUNNING.read_text()):
        assert {*extras.split(",")} <= {*known["optional-dependencies"]}


def test_every_key_of_a_configuration_is_documented():
    done = subprocess.run([sys.executable, "-c", "import runpy; print(runpy.run_path("
                           "'tools/configuration.py')['page'](), end='')"], cwd=ROOT,
                          capture_output=True, text=True, check=True)
    assert done.stdout == (ROOT / "docs" / "configuration.md").read_text(), (
        "python tools/configuration.py writes it again")
    assert "`alert_config.storage.patience` | `3600`" in done.stdout


def test_two_engines_of_one_unit_have_ports_of_their_own():
    assert "--serve ${SERVE}" in UNIT.read_text() and "SERVE=127.0.0.1:8766" in UNIT.read_text()


def test_the_image_takes_what_the_wheel_needs_and_no_more():
    taken = re.findall(r"^COPY (.*) \S+$", CONTAINER.read_text(), re.MULTILINE)
    assert taken == ["pyproject.toml requirements.lock README.md LICENSE", "adlib"]


@pytest.mark.skipif(not shutil.which("sqlite3"), reason="sqlite3 is not installed")
def test_a_damaged_store_is_copied_as_the_document_says(tmp_path):
    with AlertStore(tmp_path / "alerts.db") as store:
        store.silence(Silence("night", 5e9))
    (command,) = re.findall(r"^\(sqlite3 .*$", RUNNING.read_text(), re.MULTILINE)
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    with AlertStore(tmp_path / "new.db", create=False) as store:
        assert [silence.id for silence in store.silences()] == ["night"]


def test_tables_are_complete():
    page = RUNNING.read_text()
    table = page[page.index("| Schema |"):]
    assert re.findall(r"^\| (\d+) \|", table, re.MULTILINE) == [
        str(number + 1) for number in range(SCHEMA_VERSION)]
    for name in re.findall(r"adlib_(\w+)", page.replace("_total", "")):
        assert f"adlib_{name}" in Counters("rig").text(False, [], {("slack", "dead"): 1}, {})


def test_a_command_says_the_same_warning_once(tmp_path, capsys):
    rows = np.random.default_rng(0).normal(size=(3000, 2)).round(4)
    np.savetxt(tmp_path / "h.csv", rows, delimiter=",", header="a,b", comments="")
    (tmp_path / "c.json").write_text('{"window_size": 20, "stride": 5}')
    for _ in range(2):
        assert main(["backtest", str(tmp_path / "c.json"), str(tmp_path / "h.csv")]) == 0
        assert capsys.readouterr().err.count("lies beyond what") == 1
