"""The review panel as an expert meets it: JupyterLab in a real browser, five alerts clicked."""

import json
import re

import nbformat
import pytest
from browser import jupyterlab, need_browser, opened, outputs, run_all

from adlib.feedback import FeedbackStore
from adlib.notebooks import ROOT

pytestmark = pytest.mark.browser
# A pixel of the picture for each one of a screen that has two to the width of one.
SHARP = "i => i.clientWidth > 300 && i.naturalWidth >= window.devicePixelRatio * i.clientWidth"
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


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Address of a JupyterLab that shows a folder with two notebooks, and the folder."""
    need_browser()
    folder = tmp_path_factory.mktemp("panel")
    chapter = nbformat.read(ROOT / "notebooks" / "10_explain_and_feedback.ipynb", 4)
    code = [cell.source for cell in chapter.cells if cell.cell_type == "code"]
    shown = [code[0], code[1], *(source for source in code
                                 if "def split(" in source or ".panel()" in source)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for name, sources in (("panel", [CELL.strip()]), ("chapter", shown)):
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel),
                       folder / f"{name}.ipynb")
    with jupyterlab(folder) as address:
        yield address, folder


def test_five_alerts_are_clicked_through_and_stored(lab):
    from playwright.sync_api import expect

    address, folder = lab
    with opened(device_scale_factor=2) as page:
        run_all(page, f"{address}/lab/tree/panel.ipynb")
        panel = page.locator(".adlib-review")
        expect(panel).to_be_visible(timeout=60_000)

        seen = []
        clicks = ["True alarm", "False alarm", "Undo", "False alarm", "Known cause",
                  "Ignore pattern", "True alarm"]
        for done, click in zip([0, 1, 2, 1, 2, 3, 4], clicks, strict=True):
            expect(panel).to_contain_text(f"{done} / 5")
            expect(panel.locator("b").first).to_have_text(re.compile(r"row \d+"))
            seen.append(panel.locator("b").first.inner_text())
            assert panel.locator("img").first.evaluate(SHARP)
            if done == 0:
                panel.locator("input[type=text]").fill("pump was off")
                expect(panel).to_contain_text("flow <b> ")  # a name is data, not markup
            panel.get_by_role("button", name=click).click()
        expect(panel).to_contain_text("No open alert.")
        expect(panel).to_contain_text("5 / 5")
        expect(panel.get_by_role("button", name="True alarm")).to_be_disabled()
        (shown,) = outputs(page)
        assert "error" not in [out["output_type"] for out in shown], json.dumps(shown)[:2000]

    assert seen[1] == seen[3] and len(set(seen)) == 5  # undo asks again
    with FeedbackStore(folder / "alerts.db", create=False) as store:
        answers, history = store.answers(), store.history()
    found = {answer.target: answer.verdict for answer in answers}
    assert found == dict(zip([seen[0], *seen[3:]], ["true", "false", "known", "ignore", "true"],
                             strict=True))
    assert [answer.verdict for answer in history].count("withdrawn") == 1
    assert answers[0].note == "pump was off" and {answer.who for answer in answers} == {"Ada"}


@pytest.mark.parametrize("scale", [1, 2])
def test_the_chapter_shows_a_panel_that_answers_a_click(lab, scale):
    from playwright.sync_api import expect

    address, _ = lab
    with opened(device_scale_factor=scale) as page:
        run_all(page, f"{address}/lab/tree/chapter.ipynb")
        panel = page.locator(".adlib-review")
        expect(panel).to_contain_text("0 / 5", timeout=60_000)
        first = panel.locator("b").first.inner_text()
        assert panel.locator("img").first.evaluate(SHARP)
        panel.get_by_role("button", name="True alarm").click()
        expect(panel).to_contain_text("1 / 5")
        assert panel.locator("b").first.inner_text() != first
