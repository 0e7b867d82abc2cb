"""Images that a real engine built: what their history and files say, both ways."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from auditor.collect.image import collect_images
from auditor.config import DockerTable
from auditor.evaluate import evaluate
from auditor.model import Finding, worst
from auditor.registry import discover
from tests.support.engine import Engine
from tests.support.fixtures import snapshot_of

pytestmark = pytest.mark.live

CHECKS = discover(builtin="checks.image")
LOOSE = """
FROM scratch
COPY busybox /bin/busybox
COPY busybox /bin/sh
ADD installed /lib/apk/db/installed
COPY busybox /usr/bin/gcc
RUN apt-get update || true
RUN /bin/busybox chmod 777 /usr /bin/sh
EXPOSE 80 8443
"""
TIGHT = """
FROM scratch
COPY busybox /bin/busybox
COPY busybox /bin/sh
COPY installed /lib/apk/db/installed
COPY busybox /usr/bin/gcc
RUN apt-get update && apt-get install -y gcc || true
RUN /bin/busybox mkdir -m 1777 /tmp \
 && /bin/busybox rm /usr/bin/gcc && /bin/busybox sh -c 'echo P:musl > /lib/apk/db/installed'
EXPOSE 8443
"""
INSTALLED = b"P:apk-tools\nV:2.14.4-r0\n\nP:gcc\nV:13.2.1-r1\n"


@pytest.fixture(scope="module")
def rows(engine: Engine) -> Iterator[dict[str, list[Finding]]]:
    files = {"installed": INSTALLED}
    names = {
        "loose": engine.build("loose", LOOSE, files),
        "tight": engine.build("tight", TIGHT, files),
    }
    harvest = collect_images(list(names.values()), host=engine.host, config=DockerTable())
    found = list(evaluate(snapshot_of(harvest), CHECKS))
    yield {word: [row for row in found if row.name == name] for word, name in names.items()}


@pytest.mark.parametrize(
    ("check", "loose", "seen", "tight"),
    [
        ("image-add", "review", "ADD to /lib/apk/db/installed", "pass"),
        ("image-update-alone", "fail", "apt updates its lists", "pass"),
        ("image-build-tools", "fail", "gcc 13.2.1-r1", "pass"),
        ("image-package-manager", "fail", "apk-tools 2.14.4-r0", "pass"),
        ("image-world-writable", "fail", "mode 0777, directory", "pass"),
        ("image-privileged-ports", "fail", "80/tcp", "pass"),
    ],
)
def test_each_is_seen_and_its_absence_too(
    rows: dict[str, list[Finding]], check: str, loose: str, seen: str, tight: str
) -> None:
    bad = [row for row in rows["loose"] if row.check == check]
    good = [row for row in rows["tight"] if row.check == check]
    assert str(worst(row.status for row in bad)) == loose
    assert any(seen in row.observed for row in bad), [row.observed for row in bad]
    assert str(worst(row.status for row in good)) == tight, [row.observed for row in good]


def test_a_program_and_a_file_are_named_with_their_places(rows: dict[str, list[Finding]]) -> None:
    paths = {(row.check, row.path): row.observed for row in rows["loose"]}
    assert paths["image-build-tools", "files.programs"] == "/usr/bin/gcc"
    assert "file, layer" in paths["image-world-writable", "/bin/sh"]
