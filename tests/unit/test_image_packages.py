"""Package databases and programs of an image, through its layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.collect.image.packages import Package, is_program, kind_of, read_database
from tests.support.archives import collect, file, hardlink, saved, symlink, tar, write

APK = "C:Q1\nP:musl\nV:1.2.5-r0\nT:libc\n\nP:apk-tools\nV:2.14.4-r0\n"
DPKG = (
    "Package: gcc\nStatus: install ok installed\nVersion: 4:12.2.0-3\nDescription: c\n P: no\n\n"
    "Package: make\nStatus: deinstall ok config-files\nVersion: 4.3\n"
)


def files_of(folder: Path, *layers: bytes) -> dict[str, Any]:
    (image,) = collect(write(folder, saved(*layers))).resources
    return dict(image.body["files"])


def names(files: dict[str, Any]) -> list[tuple[str, str]]:
    return [(row["name"], row["version"]) for row in files["packages"]]


def test_databases_of_apk_and_dpkg_are_read() -> None:
    assert read_database("apk", APK.encode()).packages == (
        Package("musl", "1.2.5-r0"),
        Package("apk-tools", "2.14.4-r0"),
    )
    assert read_database("dpkg", DPKG.encode()).packages == (Package("gcc", "4:12.2.0-3"),)
    assert read_database("dpkg", b"Package: base-files\nVersion: 12\n").packages == (
        Package("base-files", "12"),
    ), "the parts of status.d say no status"
    assert read_database("rpm", b"x").packages is None


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("lib/apk/db/installed", "apk"),
        ("var/lib/dpkg/status", "dpkg"),
        ("var/lib/dpkg/status.d/base", "dpkg"),
        ("var/lib/dpkg/status.d/base.md5sums", None),
        ("usr/lib/sysimage/rpm/rpmdb.sqlite", "rpm"),
        ("opt/lib/apk/db/installed", None),
    ],
)
def test_a_database_is_known_by_its_place(path: str, kind: str | None) -> None:
    assert kind_of(path) == kind


def test_programs_are_known_by_folder_and_name() -> None:
    assert is_program("usr/bin/gcc") and is_program("sbin/apk") and is_program("usr/local/bin/go")
    assert not is_program("opt/gcc") and not is_program("usr/bin/gcc-ar")
    assert is_program("usr/bin/cc", "gcc")
    assert not is_program("bin/rpm", "/bin/busybox")


def test_the_last_layer_decides(tmp_path: Path) -> None:
    first = tar(file("lib/apk/db/installed", APK), file("sbin/apk", b"x", 0o755))
    second = tar(file("lib/apk/db/installed", "P:musl\nV:1\n"), file("sbin/.wh.apk"))
    assert names(files_of(tmp_path, first)) == [("apk-tools", "2.14.4-r0"), ("musl", "1.2.5-r0")]
    files = files_of(tmp_path, first, second)
    assert names(files) == [("musl", "1")]
    assert files["programs"] == [] and files["packages_unread"] == []
    gone = files_of(tmp_path, first, tar(file(".wh.lib")))
    assert names(gone) == [] and gone["programs"] == ["/sbin/apk"]


def test_links_rpm_and_a_database_that_is_too_large(tmp_path: Path) -> None:
    layer = tar(
        symlink("usr/bin/cc", "gcc"),
        file("bin/[", b"x"),
        hardlink("bin/dpkg", "bin/["),
        file("var/lib/rpm/rpmdb.sqlite", b"SQLite format 3"),
        file("lib/apk/db/installed", b"P:a\nV:1\n\n" * 20_001),
    )
    files = files_of(tmp_path, layer)
    assert files["programs"] == ["/usr/bin/cc"]
    assert files["packages_unread"] == ["apk", "rpm"] and files["packages"] == []


def test_a_database_larger_than_what_is_searched_for_secrets_is_read(tmp_path: Path) -> None:
    layer = tar(file("var/lib/dpkg/status", DPKG))
    harvest = collect(write(tmp_path, saved(layer)), secret_scan_max_bytes=10)
    assert names(harvest.resources[0].body["files"]) == [("gcc", "4:12.2.0-3")]


def test_two_of_one_name_in_a_layer_leave_the_last(tmp_path: Path) -> None:
    layer = tar(file("lib/apk/db/installed", APK), symlink("lib/apk/db/installed", "x"))
    assert names(files_of(tmp_path, layer)) == []


@given(st.sampled_from(["apk", "dpkg"]), st.binary(max_size=300))
def test_any_database_is_taken(kind: str, data: bytes) -> None:
    for package in read_database(kind, data).packages or ():
        assert package.name.isascii() and package.name.isprintable() and " " not in package.name
