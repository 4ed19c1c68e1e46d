"""Every public name says what it takes, gives and refuses, in numpydoc's form, and means it."""

import ast
import importlib.util
import inspect
import re
import textwrap
import warnings
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from typing import get_origin

import pytest

import adlib
from adlib.notebooks import ROOT

docscrape = pytest.importorskip("numpydoc.docscrape", reason="no numpydoc (pip install -e .[book])")


def book():
    """docs/conf.py as a module: it says which names the book documents."""
    spec = importlib.util.spec_from_file_location("book_conf", ROOT / "docs" / "conf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def public():
    """Public functions, classes and their own public methods: qualified name -> object."""
    conf, found = book(), {}
    for module in conf.modules():
        for name in conf.names(module):
            value = getattr(import_module(module), name)
            keys = inspect.isclass(value) and issubclass(value, dict)
            if get_origin(value) is not None or not callable(value) or keys:
                continue  # a constant, an alias of a type, or a dict of results
            found[f"{module}.{name}"] = value
            if inspect.isclass(value) and not issubclass(value, BaseException):
                for attribute, member in vars(value).items():
                    member = getattr(member, "__func__", member)  # a class or static method
                    if not attribute.startswith("_") and inspect.isfunction(member):
                        found[f"{module}.{name}.{attribute}"] = member
    return found


def parsed(value):
    """Sections of a docstring; what numpydoc cannot read is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return docscrape.NumpyDocString(inspect.getdoc(value) or "")


def parameters(value):
    """Names of a signature as numpydoc writes them: stars included, without self."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    found = inspect.signature(value).parameters.values()
    return [stars.get(p.kind, "") + p.name for p in found if p.name not in ("self", "cls")]


def documented(doc, *sections):
    """Names that sections list: ``low, high : float`` are two."""
    return [name for section in sections for entry in doc[section]
            for name in re.split(r",\s*", entry.name)]


def within(node):
    """Nodes of a function, without those of functions and classes inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            yield child
            yield from within(child)


def body(function):
    """Nodes of a function's own code."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    return list(within(ast.parse(source).body[0]))


def test_the_book_documents_every_module_and_notebook():
    conf = book()
    assert {f"adlib.{name}" for name in adlib._MODULES} <= set(conf.modules())
    missing = [f"adlib.{name} is in no page" for name, module in adlib._PUBLIC.items()
               if name not in conf.names(module)]
    assert "notebooks/*.ipynb" in conf.include_patterns and conf.nb_execution_mode == "off"
    assert "CHAPTERS" in conf._CONTENTS  # those that README.md lists, in its order
    for module in conf.modules():
        page = conf.page(module)
        missing += [f"{name} is not on the page of {module}" for name in conf.names(module)
                    if not re.search(rf"^\.\. (auto|py:)\w+:: {name}$", page, re.MULTILINE)]
    assert missing == []


def class_faults(value, doc):
    """Constructor parameters, or the fields of a record, are listed: all, and no others."""
    if issubclass(value, BaseException) or getattr(value, "_is_protocol", False):
        return
    listed = documented(doc, "Parameters", "Attributes")
    if is_dataclass(value):
        fields_ = [field.name for field in fields(value) if not field.name.startswith("_")]
    else:
        fields_ = list(getattr(value, "_fields", ()))
    if hasattr(value, "model_fields"):
        if listed:
            yield f"lists {listed}; the book lists a model's fields, with their descriptions"
    elif fields_:
        if [name for name in listed if name in fields_] != fields_:
            yield f"has the fields {fields_}, the docstring lists {listed}"
    else:
        found, wanted = documented(doc, "Parameters"), parameters(value)
        if issubclass(value, adlib.Detector):  # own ones first there; here by what they do
            found, wanted = sorted(found), sorted(wanted)
        if found != wanted:
            yield f"takes {wanted}, the docstring lists {found}"


# Each takes a detector, as the first sentence says.
SPOKEN = re.compile(r"adlib\.checks\.check_")


def faults(name, value):
    """Everything in which the docstring of a public function, method or class strays from it."""
    if not inspect.getdoc(value):
        yield "no docstring"
        return
    try:
        doc = parsed(value)
    except (UserWarning, ValueError) as error:
        yield f"numpydoc cannot read the docstring: {error}"
        return
    if not "".join(doc["Summary"]).strip():
        yield "no first sentence"
    if not inspect.isclass(value):
        yield from function_faults(name, value, doc)
    elif not SPOKEN.match(name):
        yield from class_faults(value, doc)


def function_faults(name, value, doc):
    """Parameters, what is raised and what comes back."""
    method = "." in value.__qualname__
    wanted, found = parameters(value), documented(doc, "Parameters")
    # a method of one parameter may say in its sentence what that is
    if (found or (not SPOKEN.match(name) and len(wanted) > method)) and found != wanted:
        yield f"takes {wanted}, the docstring lists {found}"
    nodes = body(value)
    raised = {node.exc.func.id for node in nodes if isinstance(node, ast.Raise)
              and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)}
    for error in sorted(raised & {"ValueError", "FileNotFoundError", "KeyError"}):
        if error not in inspect.getdoc(value):
            yield f"raises {error} and does not say when"
    gives = any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in nodes) or any(
        isinstance(node, ast.Return) and not (node.value is None or ast.unparse(node.value) in (
            "None", "self")) for node in nodes)
    # a context manager (it has __wrapped__) gives what its sentence says
    spoken = method or SPOKEN.match(name) or hasattr(value, "__wrapped__")
    if gives and not (spoken or doc["Returns"] or doc["Yields"]):
        yield "says nothing about what comes back"


@pytest.mark.parametrize("name", public())
def test_docstring_says_what_the_signature_says(name):
    assert list(faults(name, public()[name])) == []


def toy(low, high, *, step=1):
    """Numbers from low to high.

    Parameters
    ----------
    low, high : float
    step : float, default=1

    Returns
    -------
    list of float

    Raises
    ------
    ValueError
        When ``high`` lies below ``low``.
    """
    if high < low:
        raise ValueError("high")
    return list(range(low, high, step))


@pytest.mark.parametrize(("before", "after"), [
    ("low, high : float\n", "high, low : float\n"), ("step : float, default=1\n", ""),
    ("low, high : float\n", "low, high : float\n    more : int\n"),
    ("ValueError", "KeyError"), ("Returns", "Notes"), ("Numbers from low to high.", ""),
    ("Returns\n    -------", "Gives\n    -----"),
])
def test_a_docstring_that_strays_is_noticed(monkeypatch, before, after):
    assert list(faults("toy", toy)) == []
    monkeypatch.setattr(toy, "__doc__", toy.__doc__.replace(before, after))
    assert list(faults("toy", toy)) != []


def test_one_message_holds_everything_that_is_missing(monkeypatch):
    kept = "    Parameters\n    ----------\n    low : float\n"
    monkeypatch.setattr(toy, "__doc__", kept)
    assert list(faults("toy", toy)) == [
        "no first sentence", "takes ['low', 'high', 'step'], the docstring lists ['low']",
        "raises ValueError and does not say when", "says nothing about what comes back"]


# Written for adlib, or too plain to have an author; everything else names who found it.
OWN = {
    "adlib.detectors.MaxAbsZ": "a trivial baseline",
    "adlib.detectors.MovingDeviation": "a trivial baseline",
    "adlib.detectors.SquaredDifference": "a trivial baseline",
    "adlib.detectors.SquaredZ": "a trivial baseline",
    "adlib.detectors.RandomScore": "a trivial baseline",
    "adlib.detectors.OnlineEnsemble": "adlib's own",
    "adlib.detectors.SeasonalZScore": "adlib's own",
    "adlib.detectors.Voting": "adlib's own",
    "adlib.thresholds.Threshold": "a base class",
    "adlib.thresholds.Fixed": "a number of the user's",
    "adlib.thresholds.Quantile": "a quantile",
    "adlib.thresholds.Sigma": "mean and standard deviation",
    "adlib.thresholds.Calibration": "held-out scores, kept",
}
YEAR = re.compile(r"\b(19|20)\d\d\b")


def test_methods_name_their_source():
    methods = {name: value for name, value in public().items()
               if inspect.isclass(value) and not issubclass(value, BaseException)
               and name.startswith(("adlib.detectors.", "adlib.thresholds.", "adlib.drift."))}
    silent = {name for name, value in methods.items() if not YEAR.search(inspect.getdoc(value))}
    assert silent == set(OWN)


# What reads a folder that does not ship, writes files, or is made by something with an example.
def example_expected(name, value):
    loader = name.startswith("adlib.datasets.load_") and not name.endswith(("_csv", "_sklearn"))
    return (name.split(".")[1] in ("metrics", "thresholds", "datasets", "compare")
            and inspect.isfunction(value) and "." not in value.__qualname__
            and not loader and ".write_" not in name)


def test_functions_have_examples():
    wanted = {name: value for name, value in public().items() if example_expected(name, value)}
    assert len(wanted) >= 60
    assert [name for name, value in wanted.items() if ">>>" not in inspect.getdoc(value)] == []
