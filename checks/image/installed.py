"""What is installed in an image that a running container has no use for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from auditor.model import Json, Resource, Verdict, View, failed, passed, unknown
from auditor.registry import check
from checks.dockerfile._facts import shown
from checks.dockerfile._packages import is_build_tool
from checks.image.files import FILES, files_of, rows_of, unread

_MANAGERS = frozenset(
    {
        *("apk", "apt", "apt-get", "aptitude", "dnf", "dnf5", "dpkg", "microdnf", "pacman", "rpm"),
        *("tdnf", "yum", "zypper"),
    }
)
_MANAGER_PACKAGES = _MANAGERS | {"apk-tools"}
_COMPILERS = frozenset(
    {
        *("as", "c++", "cargo", "cc", "clang", "g++", "gcc", "gfortran", "go", "javac", "ld"),
        *("make", "cmake", "ninja", "rustc", "tcc"),
    }
)


@check(
    id="image-build-tools",
    title="Images hold no compilers or build tools",
    severity="medium",
    applies_to="image/image",
    needs=(FILES,),
)
def build_tools(image: Resource, view: View) -> Iterator[Verdict]:
    """Looks for compilers and development packages among what is installed in the image.

    Why: a compiler and headers in a production image are tools for whoever breaks in, and each is
        one more package with faults of its own that has to be patched.
    Rule: fails when the package database (apk, dpkg) of the image as it runs lists a build tool (a
        compiler, its helpers, or a package ending in -dev, -devel or -headers), or when a
        compiler, assembler, linker or make lies in one of the folders for programs; passes when
        neither does; unknown when the image's files, or a package database of another kind (rpm),
        could not be read.
    Fix: build in a stage of its own and copy the result:

            FROM alpine:3.20
            COPY --from=builder /out/ /opt/app/
    Source: CIS Docker 4.3 (1.6 to 1.8); hardening guide, issue 5 (package management).
    """
    yield from _judged(image, "build tools", is_build_tool, _COMPILERS)


@check(
    id="image-package-manager",
    title="Images hold no package manager",
    severity="low",
    applies_to="image/image",
    needs=(FILES,),
)
def package_manager(image: Resource, view: View) -> Iterator[Verdict]:
    """Looks for the package manager of a distribution in the image.

    Why: a container is replaced, not updated in place; what is left to install with serves whoever
        breaks in and wants more than the image has.
    Rule: fails when the package database (apk, dpkg) of the image as it runs lists a package
        manager, or when one (apk, apt, dpkg, dnf, microdnf, rpm, yum, zypper, pacman) lies in a
        folder for programs, an applet of BusyBox aside; passes when neither does; unknown when
        the image's files, or a package database of another kind (rpm), could not be read.
    Fix: build on a base without one, or copy the result of a build into one:

            FROM gcr.io/distroless/static-debian12:nonroot
            COPY --from=builder /out/app /app
    Source: CIS Docker 4.3 (1.6 to 1.8); this project's decision rules.
    """
    yield from _judged(image, "a package manager", _MANAGER_PACKAGES.__contains__, _MANAGERS)


def _judged(
    image: Resource, what: str, wanted: Callable[[str], bool], programs: frozenset[str]
) -> Iterator[Verdict]:
    files = files_of(image)
    if files is None:
        yield unread(image)
        return
    if "packages" not in files:
        yield unknown(
            "files.packages", "not looked for when the snapshot was taken", f"none of {what}"
        )
        return
    names = _packages(files, wanted)
    paths = [str(path) for path in files.get("programs") or ()]
    found = [path for path in paths if path.rpartition("/")[2] in programs]
    unread_kinds = [str(kind) for kind in files.get("packages_unread") or ()]
    if names:
        yield failed("files.packages", shown(names, 8), f"none of {what}")
    if found:
        yield failed("files.programs", shown(found, 8), f"none of {what}")
    if not names and unread_kinds:
        seen = f"the package database of {', '.join(unread_kinds)} is not read"
        yield unknown("files.packages", seen, f"none of {what}")
    elif not names and not found:
        yield passed("files.packages")


def _packages(files: Mapping[str, Json], wanted: Callable[[str], bool]) -> Sequence[str]:
    return [
        f"{row.get('name')} {row.get('version')}".strip()
        for row in rows_of(files.get("packages"))
        if wanted(str(row.get("name")))
    ]
