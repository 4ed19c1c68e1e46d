"""Sphinx configuration of the book: README, notebooks as they were executed, docstrings.

The source folder is the repository itself (``make book``), so that links between README, notebooks
and the other pages are the same here and on a code host. Nothing is executed, nothing comes from
the network, neither while building nor while reading.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_origin

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "notebooks"), str(ROOT / "tools")]

import nbformat  # noqa: E402
from docutils import nodes  # noqa: E402

import adlib  # noqa: E402
from formulas import mathml  # noqa: E402
from prose import references  # noqa: E402

project, author, release = "adlib", "adlib developers", adlib.__version__
html_title = f"adlib {release}"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]

# -- pages --------------------------------------------------------------------------------------

root_doc = "README"
include_patterns = ["*.md", "data/README.md", "data/*/README.md", "docs/**", "notebooks/*.ipynb",
                    "reports/leaderboard.*"]
exclude_patterns = ["docs/conf.py", "docs/static"]
html_theme = "furo"
html_theme_options = {"source_edit_link": "", "source_view_link": "",
                      "light_css_variables": {"code-font-size": "80%"}}
# Markdown beside the pages, for assistants.
html_extra_path = ["llms.txt", "guide.md", "reading.md", "choosing.md", "live.md", "running.md",
                   "configuration.md", "glossary.md", "metric_names.md", "measured.md",
                   "dependencies.md"]
html_static_path, html_css_files = ["static"], ["book.css"]
html_copy_source = html_show_sourcelink = html_show_copyright = False
html_show_search_summary = False  # fetched from the pages, which a browser refuses to do offline

# README.md is read on a code host too, where a table of contents in Sphinx's words would show.
_CONTENTS = """
```{toctree}
:hidden:
:caption: Chapters

CHAPTERS
```

```{toctree}
:hidden:
:caption: Use

docs/guide
docs/reading
docs/live
docs/running
docs/configuration
```

```{toctree}
:hidden:
:caption: Reference

docs/api/index
docs/choosing
docs/glossary
docs/metric_names
docs/measured
docs/dependencies
docs/api/references
data/README
data/telemetry/README
reports/leaderboard
CHANGELOG
CONTRIBUTING
```
"""

# -- notebooks ----------------------------------------------------------------------------------

nb_execution_mode = "off"  # the stored outputs are the tested ones
nb_ipywidgets_js = {}  # widgets need a kernel; their scripts would come from the network
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
myst_dmath_allow_digits = False  # $5 is money
html_math_renderer = "mathml"  # made here: no script, no network

# -- docstrings ---------------------------------------------------------------------------------

default_role = "py:obj"  # `anomaly_score` in a docstring leads to it
add_module_names = False
autodoc_typehints = "none"  # the Parameters sections say more
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autosummary_generate = False
autosummary_ignore_module_all = False
numpydoc_show_class_members = False


def modules() -> list[str]:
    """Every public module, by its full name."""
    return [f"adlib.{name}" for name in adlib._MODULES] + ["adlib.realtime.backtest", "exercises"]


def names(module: str) -> list[str]:
    """Public names of a module: `__all__`, else the functions and classes it defines."""
    found = import_module(module)
    if hasattr(found, "__all__"):
        return list(found.__all__)
    return [name for name, value in vars(found).items() if not name.startswith("_")
            and (inspect.isclass(value) or inspect.isfunction(value))
            and value.__module__ == module]


def page(module: str) -> str:
    """Source of the page of one module: what it is, a table of its names, then each in full."""
    documented = [name for name in names(module) if get_origin(_value(module, name)) is None]
    aliases = [f".. py:type:: {name}\n\n   ``{_value(module, name)}``\n"
               for name in names(module) if name not in documented]  # autodoc stumbles over them
    members = [f".. auto{_kind(module, name)}:: {name}\n" for name in documented]
    entries, listed = "\n".join(members + aliases), "\n   ".join(documented)
    title = f"``{module}``"
    return f"""{title}
{"=" * len(title)}

.. automodule:: {module}
   :no-members:

.. currentmodule:: {module}

.. autosummary::

   {listed}

{entries}
"""


def _value(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


def _kind(module: str, name: str) -> str:
    value = _value(module, name)
    if inspect.isclass(value):
        return "exception" if issubclass(value, BaseException) else "class"
    return "function" if inspect.isroutine(value) else "data"


def contents() -> str:
    """Source of the page that leads to all of them."""
    names = "\n   ".join(f"{module}.{name}" for name, module in adlib._PUBLIC.items())
    listed = "\n   ".join(modules())
    return f"""Reference
=========

.. automodule:: adlib
   :no-members:
   :no-index:

.. currentmodule:: None

.. rubric:: In ``adlib`` itself

.. autosummary::

   {names}

.. rubric:: Modules

.. autosummary::

   {listed}

.. toctree::
   :hidden:

   {listed}
"""


def cited() -> str:
    """Source of the page of all works that the chapters cite, and where."""
    works: dict[str, dict[str, str]] = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for work, title in references(nbformat.read(path, 4)).items():
            works.setdefault(work, {})[path.stem] = title
    lines = ["# References", "", "What the chapters cite, and where.", ""]
    for work, chapters in sorted(works.items()):
        title = max(chapters.values(), key=len)
        where = ", ".join(f"[{name[:2]}](../../notebooks/{name}.ipynb)" for name in chapters)
        lines.append(f"* {work}. {title} ({where})")
    return "\n".join(lines) + "\n"


def _write_reference(app) -> None:
    """One page a module into docs/api/, which git ignores; unchanged pages stay untouched."""
    folder = ROOT / "docs" / "api"
    folder.mkdir(exist_ok=True)
    pages = {"index": contents()} | {module: page(module) for module in modules()}
    sources = {f"{name}.rst": source for name, source in pages.items()}
    sources["references.md"] = cited()
    for old in folder.iterdir():
        if old.name not in sources:
            old.unlink()
    for name, source in sources.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != source:
            path.write_text(source, "utf-8")


def _skip(app, what, name, value, skip, options):
    """What scikit-learn and pydantic add to every class says nothing about ours."""
    added = name == "model_config" or name.startswith("set_") and name.endswith("_request")
    return True if added else None


def _fields(model, path="") -> Iterator[str]:
    """Every field of a pydantic model and of the models in it, as a definition list."""
    for name, field in model.model_fields.items():
        inner = next((kind for kind in (field.annotation, *get_args(field.annotation))
                      if hasattr(kind, "model_fields")), None)
        if inner is not None:
            yield from _fields(inner, f"{path}{name}.")
            continue
        default = "required" if field.is_required() else f"``{field.get_default()!r}``"
        yield from (f"**{path}{name}** : {default}", f"    {field.description or '..'}", "")


def _add_fields(app, what, name, value, options, lines) -> None:
    """A configuration says in its fields what its docstring would only repeat."""
    if what == "class" and hasattr(value, "model_fields"):
        lines += ["", ".. rubric:: Fields", "", *_fields(value)]


def _escape_names(app, what, name, value, options, lines) -> None:
    """A name such as window_ in the shape of an array is no link."""
    for number, line in enumerate(lines):
        if "shape (" in line:
            lines[number] = re.sub(r"(?<![`\w])(\w+)_(?=[ ,)])", r"\1\\_", line)


def _add_contents(app, name, source) -> None:
    if name == root_doc:
        listed = re.findall(r"^\| \[.+?\]\((notebooks/\w+)\.ipynb\)", source[0], re.MULTILINE)
        source[0] += _CONTENTS.replace("CHAPTERS", "\n".join(listed))  # in the order of reading


def _resolve_short_name(app, env, node, content):
    """`adlib.Detector` is documented where it is defined, as adlib.base.Detector."""
    _, _, rest = node.get("reftarget", "").partition("adlib.")
    name, *attributes = rest.split(".")
    if name in adlib._PUBLIC:
        target = ".".join([adlib._PUBLIC[name], name, *attributes])
        return env.domains["py"].resolve_xref(
            env, node["refdoc"], app.builder, "obj", target, node, content)
    return None


def _mark_columns(app, doctree, name) -> None:
    """Printed tables must not be broken into lines where sentences may be."""
    for block in doctree.findall(nodes.literal_block):
        output = "cell_output" in block.parent.get("classes", [])
        if output and re.search(r"\S {2,}\S", block.astext()):
            block["classes"].append("columns")


def _inline_formula(translator, node) -> None:
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def _block_formula(translator, node) -> None:
    translator.body.append(f'<div class="math">{mathml(node.astext(), display=True)}</div>')
    raise nodes.SkipNode


def _write_entrance(app, error) -> None:
    """index.html leads to the README, which is the first page."""
    if error is None and app.builder.name == "html":
        entrance = f'<!doctype html><meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
        (Path(app.outdir) / "index.html").write_text(entrance, "utf-8")


def setup(app) -> None:
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_block_formula, None))
    app.connect("builder-inited", _write_reference)
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-docstring", _escape_names, priority=100)  # before numpydoc
    app.connect("autodoc-process-docstring", _add_fields, priority=900)  # after numpydoc
    app.connect("source-read", _add_contents)
    app.connect("missing-reference", _resolve_short_name)
    app.connect("doctree-resolved", _mark_columns)
    app.connect("build-finished", _write_entrance)
