"""Notebooks, reports and book as a reader meets them: in a real browser, the last two offline."""

import json
import re
import shutil

import pytest
from browser import (
    REQUIRED,
    jupyterlab,
    need_browser,
    open_notebook,
    opened,
    outputs,
    run_all,
    run_cells,
)

import chapters

pytestmark = pytest.mark.browser
ROOT = chapters.ROOT
BOOK = ROOT / "reports" / "book"
SHOWN = ["00_index", "02_online_zscore"]
# JupyterLab draws what the kernel sends: a few chapters show that it does.
LIVE = [*SHOWN, "03_ae_vae_gan"] if REQUIRED else SHOWN[:1]
# TeX that nothing rendered. Code may hold it.
RAW_FORMULA = r"\$\$|\\\(|\\\[|\\(frac|sum|sqrt|mathrm|hat|bar|sigma|alpha)\b"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Address of a JupyterLab as `make lab` starts it, in a copy of the repository."""
    need_browser()
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    for name in ("README.md", "CONTRIBUTING.md", "docs", "data"):
        (folder / name).symlink_to(ROOT / name)
    with jupyterlab(folder) as address:
        yield address


def test_the_first_view_leads_on(lab):
    """What `make lab` opens by itself: 00, rendered, without code, and with links that lead on."""
    with opened(viewport={"width": 1300, "height": 850}) as page:
        page.goto(lab)
        page.wait_for_url("**/lab/tree/notebooks/00_index.ipynb")
        tabs = page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel")
        shown = page.locator(".jp-Notebook")
        begin = shown.locator("h1", has_text="Where to begin")
        begin.wait_for()
        assert shown.locator(".jp-CodeCell").count() > 5
        assert not [code for code in shown.locator(".jp-CodeCell .cm-content").all()
                    if code.is_visible() and "check(" not in code.inner_text()]
        for reader in ("Learn", "Compare", "Extend", "Practise"):  # all of them without scrolling
            box = shown.locator("li", has_text=reader).first.bounding_box()
            assert box and box["y"] + box["height"] < 850
        drawn = shown.locator(".jp-RenderedImage img").first.bounding_box()
        assert drawn and drawn["y"] + drawn["height"] < 850  # and the map
        shown.get_by_role("link", name="01", exact=True).first.click()
        page.wait_for_url("**/01_data_generation.ipynb")
        page.locator("h1", has_text="01 · ").wait_for()
        tabs.get_by_text("00_index.ipynb").click()
        shown.get_by_role("link", name="README").first.click()
        page.locator(".jp-RenderedMarkdown h2", has_text="Take it live").wait_for()
        assert tabs.all_inner_texts().count("README.md") == 1


@pytest.mark.parametrize("name", LIVE)
def test_notebook_runs_in_jupyterlab(lab, name):
    stored = ROOT / "notebooks" / f"{name}.ipynb"
    wanted = [out for cell in json.loads(stored.read_text())["cells"]
              for out in cell.get("outputs", ()) if "image/png" in out.get("data", ())]
    with opened() as page:
        run_all(page, f"{lab}/lab/tree/notebooks/{name}.ipynb")
        found = outputs(page)
        errors = [out for cell in found for out in cell if out["output_type"] == "error"]
        assert not errors, json.dumps(errors)[:2000]
        images = page.locator(".jp-RenderedImage img")  # one below a slider is in no cell's output
        widths = images.evaluate_all("images => images.map(each => each.naturalWidth)")
        assert len(widths) == len(wanted) > 0 and min(widths) > 300


def sources(page):
    """Code of the open notebook: the source of each code cell by its id."""
    return dict(page.evaluate("""() => window.jupyterapp.shell.currentWidget.content.widgets
        .filter(cell => cell.model.type === 'code')
        .map(cell => [cell.model.id, cell.model.sharedModel.source])"""))


def test_a_slider_moves_its_figure(lab):
    with opened() as page:
        open_notebook(page, f"{lab}/lab/tree/notebooks/02_online_zscore.ipynb")
        code = sources(page)
        (moved,) = [name for name, source in code.items() if "notebooks.slider(" in source]
        run_cells(page, *list(code)[:2], "memory-stream", moved)
        choices = re.search(r"window=\(([\d, ]+)\)", code[moved])[1].split(", ")
        handle, shown = page.locator(".noUi-handle"), page.locator(".widget-readout")
        figure = page.locator(".jp-CodeCell.jp-mod-active .jp-RenderedImage img")
        figure.wait_for()
        assert shown.inner_text() == choices[len(choices) // 2]
        before = figure.get_attribute("src")
        handle.press("ArrowRight")
        page.wait_for_function("""before => {
            const images = document.querySelectorAll('.jp-CodeCell.jp-mod-active img');
            return images.length === 1 && images[0].src !== before;
        }""", arg=before)
        assert shown.inner_text() == choices[len(choices) // 2 + 1]
        assert not [out for cell in outputs(page) for out in cell if out["output_type"] == "error"]


# What a learner types into the cell of an exercise, and how the reply begins.
TYPED = {
    "18_classical_detectors": ("18.2", {
        "...": "18.2: open.",
        "lambda values, x, rng: len(values) - 1": "18.2: not yet. Of the values 0, 1 and 10 every",
        """def answer(values, x, rng):
    n = 0
    while len(values) > 1:
        place = rng.uniform(values.min(), values.max())
        values = values[(values < place) == (x < place)]
        n += 1
    return n""": "18.2: right.",
    }),
    "19_sequence_models": ("19.1", {
        "...": "19.1: open.",
        "lambda Q, K, V, reach: V": "19.1: not yet. ",
        """def answer(Q, K, V, reach):
    back = np.subtract.outer(np.arange(len(Q)), np.arange(len(Q)))
    fit = np.where((back < 0) | (back > reach), -np.inf, Q @ K.T / np.sqrt(Q.shape[1]))
    weights = np.exp(fit - fit.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True) @ V""": "19.1: right.",
    }),
}
ASKED = [*TYPED] if REQUIRED else [*TYPED][:1]


@pytest.mark.parametrize("name", ASKED)
def test_an_exercise_is_answered_wrong_and_right(lab, name):
    exercise, answers = TYPED[name]
    with opened() as page:
        open_notebook(page, f"{lab}/lab/tree/notebooks/{name}.ipynb")
        run_cells(page, *list(sources(page))[:2])
        cell = page.locator(".jp-CodeCell", has_text=f'check("{exercise}", answer)')
        for typed, reply in answers.items():
            assignment = typed if typed.startswith("def ") else f"answer = {typed}"
            cell.locator(".cm-content").click()
            page.keyboard.press("Control+a")
            page.keyboard.insert_text(f'{assignment}\ncheck("{exercise}", answer)')
            page.keyboard.press("Control+Enter")
            cell.locator(".jp-OutputArea-output", has_text=reply).wait_for()


def look(page, path):
    """Open a local page; say what is missing in it or would have come from a network."""
    wrong = []
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url[:200]}"))
    page.on("request", lambda request: request.url.startswith(("file:", "data:", "blob:"))
            or wrong.append(f"asked for: {request.url[:200]}"))
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.goto(path.as_uri(), wait_until="load")
    wrong += page.evaluate("""async raw => {
        const found = [];
        for (const image of document.images) {
            await image.decode().catch(() => null);
            if (!image.naturalWidth) found.push('empty image: ' + image.src.slice(0, 100));
        }
        const body = document.body.cloneNode(true);
        body.querySelectorAll('pre, code, script, style').forEach(node => node.remove());
        const formula = body.textContent.match(new RegExp(raw));
        if (formula) found.push('formula not rendered: ' + formula[0]);
        return found;
    }""", RAW_FORMULA)
    return wrong


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """reports/index.html, made of two chapters as they are stored."""
    need_browser()
    root = tmp_path_factory.mktemp("report")
    (root / "notebooks").mkdir()
    for name in SHOWN:
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", root / "notebooks")
    return chapters.build_reports([chapters.Run(name, 1.0, "") for name in SHOWN], root=root)


def test_report_is_whole_without_a_network(report):
    with opened(network=False) as page:
        assert look(page, report) == []
        assert page.locator("article img").count() == len(SHOWN)
        links = page.locator("article a").evaluate_all("a => a.map(x => x.href)")
        assert len(links) == 2 * len(SHOWN)
        for name in SHOWN:
            for chapter in (f"{name}.html", f"{name}_no_code.html"):
                assert look(page, report.parent / "html" / chapter) == []
                assert page.locator("img").count() > 0


def test_look_notices_what_is_missing(tmp_path):
    need_browser()
    (tmp_path / "bad.html").write_text(
        '<img src="gone.png"><p>$$x$$</p><script src="https://example.org/x.js"></script>'
        "<script>undefined.x</script><code>\\frac{fine}{here}</code>")
    (tmp_path / "good.html").write_text("<p>mean = sum / n</p><code>\\frac{fine}{here}</code>")
    with opened(network=False) as page:
        wrong = "\n".join(look(page, tmp_path / "bad.html"))
    with opened(network=False) as page:
        assert look(page, tmp_path / "good.html") == []
    for part in ("failed: file:", "asked for: https://example.org", "empty image", "script: ",
                 "formula not rendered: $$"):
        assert part in wrong


def test_book_is_whole_without_a_network():
    need_browser()
    if not (BOOK / "index.html").exists():
        pytest.skip("no book yet (make book)")
    pages = ["README", "notebooks/02_online_zscore", "docs/api/adlib.metrics"]
    with opened(network=False) as page:
        for name in pages:
            assert look(page, BOOK / f"{name}.html") == []
        page.goto((BOOK / "index.html").as_uri())
        page.wait_for_url("**/README.html")
        page.locator("input[name=q]").first.fill("point_adjusted_f1")
        page.keyboard.press("Enter")
        page.locator("#search-results li a").first.wait_for()
        found = page.locator("#search-results li a").evaluate_all("a => a.map(x => x.href)")
        assert any("adlib.metrics" in link for link in found)


# Code and sentences wrap; a table that is wider than its column scrolls by itself.
TOO_WIDE = """() => [
    ...[...document.querySelectorAll('article :not(.columns) > .highlight > pre')]
        .filter(block => block.scrollWidth > block.clientWidth + 1)
        .map(block => block.textContent.slice(0, 60)),
    ...(document.documentElement.scrollWidth > innerWidth ? ['the page'] : [])]"""


def test_book_fits_its_column():
    need_browser()
    if not (BOOK / "index.html").exists():
        pytest.skip("no book yet (make book)")
    for width in (1300, 400):
        with opened(network=False, viewport={"width": width, "height": 900}) as page:
            for name in ("README", "docs/guide", "notebooks/18_classical_detectors"):
                page.goto((BOOK / f"{name}.html").as_uri())
                assert page.evaluate(TOO_WIDE) == []
                assert "18_" not in name or page.locator("math").count() > 10
