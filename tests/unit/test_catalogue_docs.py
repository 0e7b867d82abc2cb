"""The pages that are generated from checks and catalogues."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from jsonschema import Draft202012Validator

from auditor.catalogue import Catalogue, load_catalogue
from auditor.model import (
    Benchmark,
    Control,
    Resource,
    Section,
    Status,
    Target,
    Verdict,
    View,
    passed,
)
from auditor.registry import Registry, check, discover

ROOT = Path(__file__).parents[2]


@check(
    id="k8s-sample",
    title="Be <good> | *true*",
    severity="high",
    applies_to="kubernetes/workload",
    needs=("rolebindings",),
    settings=("system_namespaces",),
)
def sample(resource: Resource, view: View) -> Iterator[Verdict]:
    """Look at a sample with `*` and * in it.

    Why: because
    of this.
    Rule: fails when `a|b`; passes when <nothing> is there.
    Fix: set it:

        spec:
          good: true

    Source: a source.
    """
    yield passed()


def benchmark(version: str, number: str, checks: tuple[str, ...], note: str = "") -> Benchmark:
    return Benchmark(
        id="sample",
        version=version,
        title="A benchmark",
        kind="benchmark",
        platforms=("kubernetes",),
        sections=(Section("1", "Above"), Section("1.1", "Below", "1")),
        controls=(
            Control(number, "Be good", "1.1", 1, "manual", checks),
            Control("1.1.9", "Be told", "1.1", None, "informative", ()),
        ),
        note=note,
    )


REGISTRY = Registry({"k8s-sample": sample.__auditor_check__})  # type: ignore[attr-defined]
CATALOGUE = Catalogue(
    (
        benchmark("1", "1.1.1", ("k8s-sample",), "An older one."),
        benchmark("2", "1.1.2", ("k8s-sample",)),
    ),
    {"sample@2": ("1.35",)},
)
FIXTURES = {"k8s-sample": ["fail.one.yaml", "pass.two.yaml"]}


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found(generate: ModuleType) -> dict[str, str]:
    return generate.pages(REGISTRY, CATALOGUE, FIXTURES)


def test_there_is_a_page_for_each_check_an_index_and_a_table(found: dict[str, str]) -> None:
    assert set(found) == {"checks/k8s-sample.md", "checks/README.md", "benchmarks.md"}


def test_what_decides_each_control_has_a_page_with_its_cases(generate: ModuleType) -> None:
    decided = replace(CATALOGUE.benchmarks[-1], id=generate.DECIDED)
    moved = replace(decided.controls[0], elsewhere=("1.1.1 in 1",))
    decided = replace(decided, controls=(moved, decided.controls[1]))
    page = generate.pages(REGISTRY, Catalogue((decided,), {}), FIXTURES)["cis-kubernetes.md"]

    rows = [line for line in page.splitlines() if line.startswith("| 1.1")]
    assert rows == [
        "| 1.1.2 | Be good | 1.1.1 in 1 | [k8s-sample](checks/k8s-sample.md) | Fails when `a\\|b`. "
        "| <details><summary>2: 1 fail, 1 pass</summary>"
        "fail: [one](../tests/fixtures/k8s-sample/fail.one.yaml)<br>"
        "pass: [two](../tests/fixtures/k8s-sample/pass.two.yaml)</details> |"
    ]
    assert "1 of 2 controls are decided by checks" in page


def test_a_checks_page_holds_all_that_is_known_of_it(found: dict[str, str]) -> None:
    page = found["checks/k8s-sample.md"]

    assert page.startswith("# Be \\<good> | \\*true\\*\n")
    assert "| Severity | high |" in page
    assert "| Applies to | `kubernetes/workload` |" in page
    assert "| Must also have been read | `rolebindings` |" in page
    assert "`[rules] system_namespaces`, by default `['kube-system'" in page
    assert "Look at a sample with `*` and \\* in it." in page
    assert "Because\nof this." in page
    assert "Fails when `a|b`; passes when \\<nothing> is there." in page
    assert "| A benchmark | 1 | 1.1.1 | Be good |" in page
    assert "| A benchmark | 2 | 1.1.2 | Be good |" in page
    assert "- [pass.two.yaml](../../tests/fixtures/k8s-sample/pass.two.yaml)" in page


def test_a_snippet_keeps_its_shape(found: dict[str, str]) -> None:
    assert "Set it:\n\n```\nspec:\n  good: true\n```\n" in found["checks/k8s-sample.md"]


def test_the_index_names_the_newest_version_only(found: dict[str, str]) -> None:
    row = next(line for line in found["checks/README.md"].splitlines() if "k8s-sample.md" in line)
    assert row == (
        "| [k8s-sample](k8s-sample.md) | Be \\<good> \\| \\*true\\* | high | sample 1.1.2 |"
    )


def test_the_table_shows_a_controls_number_in_each_version(found: dict[str, str]) -> None:
    page = found["benchmarks.md"]

    assert "| In 2 | In our words | Level | Assessed | Decided by | Other numbers, notes |" in page
    assert (
        "| 1.1.2 | Be good | 1 | manual | [k8s-sample](checks/k8s-sample.md) | 1.1.1 in 1 |" in page
    )
    assert "| 1.1.9 | Be told | - | informative | no rule to judge |  |" in page
    assert "- `sample@1`: 2 controls, 1 decided by checks. An older one." in page
    assert "- `sample@2`: 2 controls, 1 decided by checks; for Kubernetes 1.35" in page
    assert "### 1.1 Above: Below" in page


def test_stale_pages_are_named_and_mended(
    generate: ModuleType, found: dict[str, str], tmp_path: Path
) -> None:
    assert set(generate.differing(found, tmp_path).values()) == {"missing"}
    generate.write(found, tmp_path)
    assert generate.differing(found, tmp_path) == {}

    (tmp_path / "benchmarks.md").write_text("changed", encoding="utf-8")
    (tmp_path / "checks" / "k8s-gone.md").write_text(generate.MARK, encoding="utf-8")
    (tmp_path / "checks" / "by-hand.md").write_text("kept", encoding="utf-8")
    assert generate.differing(found, tmp_path) == {
        "benchmarks.md": "out of date",
        "checks/k8s-gone.md": "left over",
    }

    generate.write(found, tmp_path)
    assert generate.differing(found, tmp_path) == {}
    assert not (tmp_path / "checks" / "k8s-gone.md").exists()
    assert (tmp_path / "checks" / "by-hand.md").exists()


def test_the_readme_states_the_counts_that_the_catalogues_have() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    stated = {
        tuple(int(number) for number in re.findall(r"\d+", f"{controls} {decided}"))
        for controls, decided in re.findall(
            r"^\|[^|]+\|[^|]*\d[^|]*\|([^|]+)\|([^|]+)\|$", text, re.MULTILINE
        )
    }
    catalogue = load_catalogue(discover())
    actual = {
        (len(newest.controls), sum(1 for item in newest.controls if item.checks))
        for newest in (catalogue.versions(name)[-1] for name in catalogue.ids())
    }
    assert stated == actual


def test_links_between_the_documents_lead_somewhere() -> None:
    made_later = {"docs/report.png"}
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    broken = [
        f"{document.name}: {link}"
        for document in documents
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8"))
        if link not in made_later and not (document.parent / link).exists()
    ]
    assert broken == []


def test_the_example_of_a_check_in_the_contributing_guide_works(tmp_path: Path) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = re.search(r"^ *```python\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    lines = block.group(1).splitlines()
    (tmp_path / "example.py").write_text("\n".join(line[3:] for line in lines), encoding="utf-8")

    declared = discover([tmp_path]).get("k8s-no-terminal")
    assert declared is not None
    statuses = []
    for terminal in (True, False):
        spec = {"containers": [{"name": "web", "tty": terminal}]}
        pod = Resource("kubernetes", "t", "Pod", "shop", "web", {"spec": spec})
        view = View(Target("t", "kubernetes", "t"), [pod], [pod], [], {}, {})
        statuses.append([verdict.status for verdict in declared.probe(pod, view)])
    assert statuses == [[Status.FAIL], [Status.PASS]]


def test_the_documented_result_is_one_that_the_schema_allows() -> None:
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    block = re.search(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    schema = json.loads((ROOT / "docs" / "findings.schema.json").read_text(encoding="utf-8"))

    found = list(Draft202012Validator(schema).iter_errors(json.loads(block.group(1))))
    assert [error.message for error in found] == []
