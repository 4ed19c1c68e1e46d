"""Write docs/dependencies.md: what an installation brings along, and under which licence.

    python tools/dependencies.py

Names come from requirements.lock, licences from what each installed package says of itself: its
licence expression (PEP 639), else its classifiers, else the first line of its licence field.
"""

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "dependencies.md"
LICENCES = {  # by the words that a statement begins with or holds; each of them allows free use
    "Apache": "Apache-2.0", "BSD": "BSD", "MPL": "MPL-2.0", "Mozilla": "MPL-2.0", "MIT": "MIT",
    "ISC": "ISC", "PSF": "PSF", "Python Software Foundation": "PSF", "Unlicense": "Unlicense",
    "0BSD": "0BSD", "Zlib": "Zlib", "HPND": "HPND", "BSL-1.0": "BSL-1.0", "CC0": "CC0",
}
OTHERS = re.compile("GPL|GNU|Proprietary|Commercial", re.IGNORECASE)
READ = {"skops": "MIT", "docutils": "BSD"}  # in the licence files: what the metadata leave open
HEAD = """# What is installed, and under which licence

`make` installs the versions that `requirements.lock` names. `tools/dependencies.py` writes this
page from what the installed packages state, and a test refuses a package without a licence that
allows free use. adlib itself is MIT. An asterisk marks what
[pyproject.toml](../pyproject.toml) asks for; the others come with those. Where a
package offers a choice, the first is named that allows free use; where its parts have several
licences, all are. MPL-2.0 binds changes of its own files alone.
Known vulnerabilities are asked for each week (`.github/workflows/audit.yml`):
`pipx run pip-audit -r requirements.lock --strict --no-deps --disable-pip`.

| Licence | Packages |
|---|---|
"""


def locked() -> Iterator[Requirement]:
    """What the lock installs here: lines for other systems and versions are left out."""
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate():
                yield requirement


def asked() -> set[str]:
    """What pyproject.toml asks for by itself, in the core or in an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    return {canonicalize_name(Requirement(line).name) for line in lines}


def licence(name: str) -> str:
    """The licence of an installed package, by its usual short name.

    Raises
    ------
    ValueError
        The package states none of `LICENCES`.
    """
    facts = metadata.metadata(name)
    expression = facts.get_all("License-Expression") or []
    stated = [one for one in facts.get_all("Classifier") or [] if one.startswith("License ::")]
    stated += [one.strip().partition("\n")[0] for one in facts.get_all("License") or []]
    offers = [[text] for text in stated if not OTHERS.search(" ".join(stated))]
    if expression:  # it decides alone
        offers = [re.split(r"\s+AND\s+", one) for one in re.split(r"\s+OR\s+", expression[0])]
    for offer in [*offers, [READ.get(name, "")]]:
        parts = [short(part) for part in offer]
        if all(parts):
            return " and ".join(dict.fromkeys(filter(None, parts)))
    raise ValueError(f"{name} states no licence that is known to allow free use: "
                     f"{expression or stated}. Read its licence file, then add it to "
                     "tools/dependencies.py or do without it")


def short(text: str) -> str | None:
    """The usual short name of one licence; None where it is not among `LICENCES`.

    >>> short("License :: OSI Approved :: MIT License"), short("AGPL-3.0-only")
    ('MIT', None)
    """
    found = [(place.start(), name) for word, name in LICENCES.items()
             if (place := re.search(rf"\b{re.escape(word)}", text))]
    return min(found)[1] if found and not OTHERS.search(text) else None


def page() -> str:
    """The page, from the packages that are installed here."""
    direct, families = asked(), dict[str, list[str]]()
    for requirement in locked():
        star = r"\*" if canonicalize_name(requirement.name) in direct else ""
        families.setdefault(licence(requirement.name), []).append(requirement.name + star)
    by_size = sorted(families.items(), key=lambda family: (-len(family[1]), family[0]))
    return HEAD + "".join(f"| {name} ({len(all_of)}) | {', '.join(sorted(all_of))} |\n"
                          for name, all_of in by_size)


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(ROOT)}")
