"""Numbers of the README and the docs have a source, and are what the source says."""

from pathlib import Path

import pytest

import claims

ROOT = Path(__file__).resolve().parents[1]
PHRASE = "a batch ends within {} s"
GRACE = {PHRASE: "code adlib.realtime.engine.GRACE"}


@pytest.mark.parametrize("name", claims.claims()["pages"])
def test_every_number_has_a_source_that_says_the_same(name):
    found = claims.faults((ROOT / name).read_text(), claims.claims()["pages"][name])
    assert [fault for fault, _ in found] == [], "python tools/claims.py --write corrects figures"


def test_every_page_is_looked_at():
    known = claims.claims()
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert pages | {"README.md", "CONTRIBUTING.md"} == {*known["pages"], *known["generated"]}


@pytest.mark.parametrize("text, phrases, fault", [
    ("All 7 of them.", {}, "no source for 7"),
    ("There are Seven.", {}, "no source for Seven"),
    ("`7`, http://a.b:80/ and 2024 are names.", {}, None),
    ("A batch ends\nwithin 10 s.", GRACE, None),
    ("A batch ends within 11 s.", GRACE, "11 in 'a batch ends within {} s' is 10 by code"),
    ("A batch ends within ten s.", GRACE, None),
    ("A batch ends.", GRACE, "no such text"),
    ("In 3 s.", {"In 3 s": "test tests/test_claims.py::test_every_page_is_looked_at"}, None),
    ("In 3 s.", {"In 3 s": "test tests/test_claims.py::test_gone"}, "no test tests/test_claims"),
    ("It is blazing.", {}, "'blazing' needs a figure"),
])
def test_a_number_without_a_source_and_a_wrong_one_are_found(text, phrases, fault):
    found = [fault for fault, _ in claims.faults(text, phrases)]
    assert len(found) == (fault is not None) and (not fault or fault in found[0])


@pytest.mark.parametrize("source, value", [
    ("code adlib.realtime.health.HealthConfig.critical / 60", 30),
    ("code adlib.datasets.injectors.ANOMALY_KINDS", 12),
    ("code adlib.detectors.KNN.alpha * 100", 5),
    ("file pyproject.toml ^line-length = (\\d+)", 100),
    ("chapter 17 coverage_by_events", 0.925833),
])
def test_sources(source, value):
    assert claims.value_of(source) == value


def test_a_source_that_is_none_is_refused():
    with pytest.raises(ValueError, match="no source begins with 'guess'"):
        claims.value_of("guess 7")


def test_wrong_figures_are_corrected(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(claims, "ROOT", tmp_path)
    monkeypatch.setattr(claims, "claims", lambda: {"pages": {"a.md": GRACE}})
    (tmp_path / "a.md").write_text("A batch ends within eleven s, or 4.")
    assert claims.main([]) == 1 and "eleven" in capsys.readouterr().out
    assert claims.main(["--write"]) == 1 and "no source for 4" in capsys.readouterr().out
    assert (tmp_path / "a.md").read_text() == "A batch ends within ten s, or 4."
