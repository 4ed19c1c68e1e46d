"""The review panel as an expert meets it: JupyterLab in a real browser, five alerts clicked."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest

from adlib.feedback import FeedbackStore

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CELL = """
import numpy as np
from adlib.detectors import KNN
from adlib.feedback import FeedbackStore, ReviewSession, Reviewed

rng = np.random.default_rng(0)
X = rng.normal(size=(700, 3))
X[600:620, 0] += 6
model = Reviewed(KNN().fit(X[:300])).fit(X[300:600])
session = ReviewSession(model, X[600:], FeedbackStore("alerts.db"), budget=5, who="Ada",
                        feature_names=["flow <b>", "pressure", "level"])
session.panel()
"""


def missing():
    if CHROMIUM is None:
        return "no chromium (Debian: apt-get install chromium)"
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "no playwright (pip install -e .[browser])"
    return None


@pytest.fixture
def lab(tmp_path):
    """Address of a JupyterLab on the loopback that shows a folder with one notebook."""
    if reason := missing():
        if os.environ.get("ADLIB_BROWSER") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    cells = [nbformat.v4.new_code_cell(CELL.strip())]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "panel.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    own = {name: str(tmp_path / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR",
                                                   "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    with open(tmp_path / "lab.log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1",
             f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
             "--allow-root", f"--ServerApp.root_dir={tmp_path}",
             "--LabApp.expose_app_in_browser=True"],
            cwd=tmp_path, env={**os.environ, **own}, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, (
                    (tmp_path / "lab.log").read_text()[-2000:])
                time.sleep(0.3)
        yield address, tmp_path
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def test_five_alerts_are_clicked_through_and_stored(lab):
    from playwright.sync_api import expect, sync_playwright

    address, folder = lab
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 1200})
        page.set_default_timeout(60_000)
        page.goto(f"{address}/lab/tree/panel.ipynb")
        page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext"
                               "?.session?.kernel?.connectionStatus === 'connected'")
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        panel = page.locator(".adlib-review")
        expect(panel).to_be_visible(timeout=60_000)

        seen = []
        clicks = ["True alarm", "False alarm", "Undo", "False alarm", "Known cause",
                  "Ignore pattern", "True alarm"]
        for done, click in zip([0, 1, 2, 1, 2, 3, 4], clicks, strict=True):
            expect(panel).to_contain_text(f"{done} / 5")
            expect(panel.locator("b").first).to_have_text(re.compile(r"row \d+"))
            seen.append(panel.locator("b").first.inner_text())
            assert panel.locator("img").first.evaluate("i => i.naturalWidth") > 300
            if done == 0:
                panel.locator("input[type=text]").fill("pump was off")
                expect(panel).to_contain_text("flow <b> ")  # a name is data, not markup
            panel.get_by_role("button", name=click).click()
        expect(panel).to_contain_text("No open alert.")
        expect(panel).to_contain_text("5 / 5")
        expect(panel.get_by_role("button", name="True alarm")).to_be_disabled()
        model = page.evaluate("() => window.jupyterapp.shell.currentWidget.content.model.toJSON()")
        assert "error" not in [out["output_type"] for out in model["cells"][0]["outputs"]], (
            json.dumps(model["cells"][0]["outputs"])[:2000])
        browser.close()

    assert seen[1] == seen[3] and len(set(seen)) == 5  # undo asks again
    with FeedbackStore(folder / "alerts.db", create=False) as store:
        answers, history = store.answers(), store.history()
    found = {answer.target: answer.verdict for answer in answers}
    assert found == dict(zip([seen[0], *seen[3:]], ["true", "false", "known", "ignore", "true"],
                             strict=True))
    assert [answer.verdict for answer in history].count("withdrawn") == 1
    assert answers[0].note == "pump was off" and {answer.who for answer in answers} == {"Ada"}
