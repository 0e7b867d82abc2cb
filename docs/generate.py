"""Write the pages that follow from the code: one for each check, and the tables of controls.

usage: python docs/generate.py [--check]

A check's page is its docstring, with what the registry, the catalogues and the fixtures know of
it. Nothing else is put in, so the same tree always gives the same pages. With `--check` nothing
is written: a page that differs, is missing or is left over is named, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from auditor.catalogue import Catalogue, controls_of, load_catalogue
from auditor.config import RulesTable
from auditor.model import Benchmark, Check, Control
from auditor.registry import Registry, discover
from auditor.versions import runs, told

ROOT = Path(__file__).resolve().parents[1]
MARK = "<!-- Written by docs/generate.py; change the source and run `make docs`. -->"
PLATFORMS = {
    "kubernetes": "Kubernetes",
    "docker": "Docker containers",
    "image": "Images",
    "dockerfile": "Dockerfiles",
    "app-config": "Application configuration",
}
"""The order and the titles of the index; a platform that is not here stands last."""

DECIDED = "cis-kubernetes"
"""The benchmark that has a page of its own, with what decides each control and what proves it."""


def pages(
    registry: Registry, catalogue: Catalogue, fixtures: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Return every generated page: its path below `docs/`, and its text.

    `fixtures` gives the fixture files of each check id.
    """
    found = {f"checks/{item.id}.md": _check(item, catalogue, fixtures) for item in registry}
    found["checks/README.md"] = _index(registry, catalogue)
    found["benchmarks.md"] = _benchmarks(catalogue)
    versions = catalogue.versions(DECIDED)
    if versions:
        found[f"{DECIDED}.md"] = _decided(versions[-1], registry, fixtures)
    return found


def fixture_names(folder: Path) -> dict[str, list[str]]:
    """The fixture files of each check, sorted."""
    return {
        place.name: sorted(item.name for item in place.glob("*.yaml"))
        for place in sorted(folder.iterdir())
        if place.is_dir()
    }


def differing(found: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Say what is wrong with each page on disk: `missing`, `out of date` or `left over`."""
    wrong = {}
    for name, text in found.items():
        path = folder / name
        if not path.is_file():
            wrong[name] = "missing"
        elif path.read_text(encoding="utf-8") != text:
            wrong[name] = "out of date"
    for path in sorted((folder / "checks").glob("*.md")):
        name = f"checks/{path.name}"
        if name not in found and MARK in path.read_text(encoding="utf-8"):
            wrong[name] = "left over"
    return wrong


def write(found: Mapping[str, str], folder: Path) -> None:
    """Make the pages on disk what they should be."""
    (folder / "checks").mkdir(parents=True, exist_ok=True)
    for name, state in differing(found, folder).items():
        if state == "left over":
            (folder / name).unlink()
        else:
            (folder / name).write_text(found[name], encoding="utf-8")


def _check(check: Check, catalogue: Catalogue, fixtures: Mapping[str, Sequence[str]]) -> str:
    facts = [
        ("Check", f"`{check.id}`"),
        ("Severity", check.severity.value),
        ("Applies to", f"`{check.applies_to}`"),
        ("Must also have been read", _codes(check.needs) or "nothing else"),
        ("Settings", _settings(check.settings) or "none"),
    ]
    parts = [
        f"# {_escape(check.title)}",
        MARK,
        _prose(check.summary),
        _table(("", ""), facts),
        "## Why it matters",
        _prose(_capital(check.why)),
        "## Rule",
        _prose(_capital(check.rule)),
        "## How to fix it",
        _prose(_capital(check.fix)),
        "## Sources",
        _prose(_capital(check.source)),
        "## Controls that name it",
        _controls(check, catalogue),
        "## Fixtures",
        _fixtures(check.id, fixtures.get(check.id, ())),
    ]
    return "\n\n".join(parts) + "\n"


def _settings(names: Iterable[str]) -> str:
    defaults = RulesTable().model_dump()
    return "; ".join(f"`[rules] {name}`, by default `{defaults[name]!r}`" for name in names)


def _controls(check: Check, catalogue: Catalogue) -> str:
    merged: dict[tuple[str, str, str, str], dict[str, str]] = {}
    for benchmark, control in controls_of(catalogue.benchmarks, check.id):
        key = (benchmark.id, control.id, control.title, control.because.get(check.id, ""))
        merged.setdefault(key, {})[benchmark.version] = control.id
    if not merged:
        return "None."
    rows = []
    for (benchmark_id, number, title, why), found in merged.items():
        known = catalogue.versions(benchmark_id)
        spans = runs(found, [item.version for item in known])
        versions = ", ".join(run.span for run in spans)
        rows.append((_cell(known[-1].title), versions, number, _cell(title), _cell(why)))
    return _table(("Benchmark", "Versions", "Control", "In our words", "Why it is mapped"), rows)


def _fixtures(check_id: str, names: Sequence[str]) -> str:
    if not names:
        return "None."
    return "\n".join(f"- [{name}](../../tests/fixtures/{check_id}/{name})" for name in names)


def _index(registry: Registry, catalogue: Catalogue) -> str:
    parts = [
        "# Checks",
        MARK,
        f"{len(registry)} checks. Each has a page that is its own docstring: what it looks at, why "
        "it matters, the rule, the fix and the sources. `auditor explain ID` prints the same.",
    ]
    names = [*PLATFORMS, *sorted({item.platform for item in registry} - set(PLATFORMS))]
    for platform in names:
        rows = [
            (
                f"[{item.id}]({item.id}.md)",
                _cell(item.title),
                item.severity.value,
                _cell(_newest(item, catalogue)),
            )
            for item in registry
            if item.platform == platform
        ]
        if rows:
            parts.append(f"## {PLATFORMS.get(platform, platform)}")
            parts.append(_table(("Check", "Title", "Severity", "Controls"), rows))
    return "\n\n".join(parts) + "\n"


def _newest(check: Check, catalogue: Catalogue) -> str:
    newest = [catalogue.versions(name)[-1] for name in catalogue.ids()]
    found = [f"{benchmark.id} {control.id}" for benchmark, control in controls_of(newest, check.id)]
    return ", ".join(found) or "none"


def _benchmarks(catalogue: Catalogue) -> str:
    parts = [
        "# Benchmarks",
        MARK,
        "Every control of every benchmark that ships, and the checks that decide it. A control "
        "without a check is reported as not judged; it never counts as a pass. Titles are in this "
        "project's own words.",
    ]
    for name in catalogue.ids():
        parts.extend(_benchmark(catalogue.versions(name), catalogue))
    return "\n\n".join(parts) + "\n"


def _benchmark(versions: Sequence[Benchmark], catalogue: Catalogue) -> list[str]:
    newest = versions[-1]
    parts = [f"## {newest.title}"]
    if newest.note:
        parts.append(_prose(newest.note))
    servers = catalogue.servers
    lines = [_version(item, servers.get(item.ref, ()), newest.note) for item in versions]
    parts.append("\n".join(lines))
    order = [item.version for item in versions]
    merged: dict[str, dict[str, Control]] = {}
    for version in reversed(versions):
        for control in version.controls:
            key = control.identity or f"{control.section} {control.title}"
            merged.setdefault(key, {})[version.version] = control
    table = [(next(iter(found.values())), found) for found in merged.values()]
    for section in newest.sections:
        rows = [_row(found, order) for latest, found in table if latest.section == section.id]
        if rows:
            parts.append(f"### {_heading(section.id, newest)}")
            parts.append(_table(_columns(versions), rows))
    return parts


def _columns(versions: Sequence[Benchmark]) -> tuple[str, ...]:
    newest = f"In {versions[-1].version}" if len(versions) > 1 else "Control"
    return (newest, "In our words", "Level", "Assessed", "Decided by", "Other numbers, notes")


def _version(version: Benchmark, servers: Sequence[str], shared: str) -> str:
    served = sum(1 for control in version.controls if control.checks)
    text = f"- `{version.ref}`: {len(version.controls)} controls, {served} decided by checks"
    text += f"; for Kubernetes {', '.join(servers)}" if servers else ""
    return text + (f". {_escape(version.note)}" if version.note != shared else "")


def _heading(section_id: str, benchmark: Benchmark) -> str:
    """A section with the one above it; ids that are only names are left out."""
    known = {section.id: section for section in benchmark.sections}
    section = known[section_id]
    title = (
        section.title if not section.parent else f"{known[section.parent].title}: {section.title}"
    )
    return title if re.search("[a-z-]", section.id) else f"{section.id} {title}"


def _row(found: Mapping[str, Control], order: Sequence[str]) -> tuple[str, ...]:
    """One control identity: its number in the newest version, and what differs in others."""
    control = next(iter(found.values()))
    numbers = runs({name: item.id for name, item in found.items()}, order)
    there = order[-1] in found
    levels = {name: str(item.level) for name, item in found.items() if item.level is not None}
    same = set(levels.values())
    level = next(iter(same)) if len(same) == 1 else ", ".join(told(runs(levels, order)))
    checks = ", ".join(f"[{item}](checks/{item}.md)" for item in control.checks)
    if not checks:
        checks = "no rule to judge" if control.mode == "informative" else "no check yet"
    others = told(run for run in numbers if not there or run.value != control.id)
    if there and not others and len(found) < len(order):
        others = (f"from {numbers[-1].first} on",)
    notes = "; ".join(filter(None, (", ".join(others), _cell(control.note))))
    number = control.id if there else "-"
    return (number, _cell(control.title), level or "-", control.mode, checks, notes)


def _decided(
    benchmark: Benchmark, registry: Registry, fixtures: Mapping[str, Sequence[str]]
) -> str:
    """The controls that checks decide, with what decides each and the cases that prove it."""
    controls = [item for item in benchmark.controls if item.checks]
    rows = []
    for control in controls:
        checks = [known for name in control.checks if (known := registry.get(name)) is not None]
        rows.append(
            (
                control.id,
                _cell(control.title),
                ", ".join(control.elsewhere) or "the same",
                "<br>".join(f"[{item.id}](checks/{item.id}.md)" for item in checks),
                "<br>".join(_cell(_deciding(item)) for item in checks),
                "<br>".join(_cases(item.id, fixtures.get(item.id, ())) for item in checks),
            )
        )
    parts = [
        f"# {benchmark.title} {benchmark.version}: what decides each control",
        MARK,
        f"{len(controls)} of {len(benchmark.controls)} controls are decided by checks. A control "
        "takes the worst finding of its checks. The last column counts the fixtures of each check "
        "and, unfolded, names their cases; each fixture is a state of the world with the verdict "
        "that it must get. Titles and rules are in this project's own words; all versions stand "
        "in [benchmarks.md](benchmarks.md).",
        _table(
            (
                "Control",
                "In our words",
                "Elsewhere",
                "Checks",
                "What decides it",
                "Fixtures",
            ),
            rows,
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _deciding(check: Check) -> str:
    """The first sentence of a rule that says when it fails or passes; else the first of all."""
    sentences = re.split(r"(?<=[.;])\s+", " ".join(check.rule.split()))
    telling = (text for text in sentences if re.match(r"(?:fails|passes)\b", text, re.IGNORECASE))
    return _capital(next(telling, sentences[0])).rstrip(".;") + "."


def _cases(check_id: str, names: Sequence[str]) -> str:
    """How many fixtures a check has, and behind a fold the cases by the status they must get."""
    if not names:
        return "none"
    cases: dict[str, list[str]] = {}
    for name in names:
        status, _, case = name.removesuffix(".yaml").partition(".")
        cases.setdefault(status, []).append(f"[{case}](../tests/fixtures/{check_id}/{name})")
    listed = "<br>".join(f"{status}: {', '.join(found)}" for status, found in cases.items())
    counts = ", ".join(f"{len(found)} {status}" for status, found in cases.items())
    return f"<details><summary>{len(names)}: {counts}</summary>{listed}</details>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    return _escape(" ".join(text.split())).replace("|", "\\|")


def _escape(text: str) -> str:
    """Keep `*` and `<` outside code spans from being read as markup."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        piece if piece.startswith("`") else re.sub(r"([*<])", r"\\\1", piece) for piece in pieces
    )


def _prose(text: str) -> str:
    """Docstring text as Markdown: indented blocks after an empty line become fenced code."""
    result: list[str] = []
    code: list[str] = []
    before = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("    ") and (code or not before.strip()):
            code.append(line)
        elif code and not line.strip():
            code.append("")
        else:
            result.extend(_fenced(code))
            code = []
            result.append(_escape(line))
        before = line
    result.extend(_fenced(code))
    return "\n".join(result).strip()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _fenced(code: list[str]) -> list[str]:
    while code and not code[-1]:
        code.pop()
    return ["```", *textwrap.dedent("\n".join(code)).split("\n"), "```", ""] if code else []


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or with `--check` say which ones are not what they should be."""
    parser = argparse.ArgumentParser(description="Write the pages that follow from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    options = parser.parse_args(arguments)
    registry = discover()
    found = pages(registry, load_catalogue(registry), fixture_names(ROOT / "tests" / "fixtures"))
    if not options.check:
        write(found, ROOT / "docs")
        return 0
    wrong = differing(found, ROOT / "docs")
    for name, state in wrong.items():
        sys.stderr.write(f"docs/{name} is {state}; run `make docs`\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
