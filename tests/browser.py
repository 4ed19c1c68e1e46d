"""What tests in a browser share: chromium, a JupyterLab to look at, pages without a network."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
REQUIRED = os.environ.get("ADLIB_BROWSER") == "required"  # make test-browser
# Cells out of sight stay in the page, where a test can look at them.
_SETTINGS = "lab/user-settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"


def need_browser():
    """Skip, or under `make test-browser` fail, where there is no browser to drive."""
    reason = None if CHROMIUM else "no chromium (Debian: apt-get install chromium)"
    try:
        import playwright  # noqa: F401
    except ImportError:
        reason = "no playwright (pip install -e .[browser])"
    if reason and REQUIRED:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@contextmanager
def opened(*, network=True, **context):
    """A fresh page in chromium; without `network` no name is resolved, whatever a page asks for."""
    from playwright.sync_api import sync_playwright

    offline = [] if network else ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *offline])
        page = browser.new_page(**{"viewport": {"width": 1300, "height": 1200}, **context})
        page.set_default_timeout(60_000)
        try:
            yield page
        finally:
            browser.close()


def make_lab(*options):
    """The command of `make lab` as a list of words, with options of ours behind it."""
    quiet = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    dry = subprocess.run(["make", "-n", "lab", f"LAB={shlex.join(options)}"], env=quiet,
                         cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    words = shlex.split(dry.stdout[dry.stdout.rindex(".venv/bin/python"):])
    return [sys.executable, *words[1:]]


@contextmanager
def jupyterlab(folder):
    """Address of a JupyterLab as `make lab` starts it in `folder`, with settings of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, own = f"http://127.0.0.1:{port}", folder / ".jupyter"
    (own / _SETTINGS).parent.mkdir(parents=True)
    (own / _SETTINGS).write_text('{"windowingMode": "none"}')
    variables = {"JUPYTER_CONFIG_DIR": own, "JUPYTER_DATA_DIR": own / "data",
                 "JUPYTER_RUNTIME_DIR": own / "runtime", "IPYTHONDIR": own / "ipython"}
    inherited = {k: v for k, v in os.environ.items() if k != "ADLIB_METRICS"}  # a reader has none
    with open(folder / "lab.log", "w") as log:
        server = subprocess.Popen(
            make_lab("--no-browser", "--ip=127.0.0.1", f"--port={port}",
                     "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--allow-root",
                     "--LabApp.expose_app_in_browser=True"),
            cwd=folder, env={**inherited, **{k: str(v) for k, v in variables.items()}},
            stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, (
                    (folder / "lab.log").read_text()[-2000:])
                time.sleep(0.3)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def open_notebook(page, address):
    """Show a notebook in JupyterLab, its kernel ready, without the tabs of before."""
    page.goto(f"{address}?reset")
    page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext"
                           "?.session?.kernel?.connectionStatus === 'connected'")


def run_all(page, address):
    """Open a notebook in JupyterLab and run every cell of it, from cleared outputs."""
    open_notebook(page, address)
    page.evaluate("""async () => {
        const {commands} = window.jupyterapp;
        await commands.execute('notebook:clear-all-cell-outputs');
        await commands.execute('notebook:run-all-cells');
    }""")


def run_cells(page, *ids):
    """Run some cells of the open notebook, by their ids."""
    page.evaluate("""async ids => {
        const {content} = window.jupyterapp.shell.currentWidget;
        for (const id of ids) {
            content.activeCellIndex = content.widgets.findIndex(cell => cell.model.id === id);
            await window.jupyterapp.commands.execute('notebook:run-cell');
        }
    }""", ids)


def outputs(page):
    """Outputs of the open notebook's code cells: one list a cell."""
    model = page.evaluate("() => window.jupyterapp.shell.currentWidget.content.model.toJSON()")
    return [cell["outputs"] for cell in model["cells"] if cell["cell_type"] == "code"]
