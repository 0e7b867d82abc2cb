"""Where checks are declared and found: built in, from installed packages, from plugin folders.

A check is one decorated function; its docstring is its documentation. Nothing is registered when
this module is imported: `discover` imports what it is told to and returns a new `Registry`, so
that two audits in one process never see each other's plugins.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import itertools
import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from auditor.errors import CatalogueError, ConfigError
from auditor.model import Check, Excuse, PlaceExcuse, Probe, Severity

ENTRY_POINT_GROUP = "auditor.checks"
"""Packages that bring checks name a module of theirs under this entry-point group."""

_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
_PARTS = ("Why", "Rule", "Fix", "Source")
_HEADING = re.compile(rf"^({'|'.join(_PARTS)}):[ \t]*", re.MULTILINE)
_ATTRIBUTE = "__auditor_check__"


def check(
    *,
    id: str,
    title: str,
    severity: Severity | str,
    applies_to: str,
    needs: Sequence[str] = (),
    settings: Sequence[str] = (),
    distinct: bool = False,
    excuse: Excuse | None = None,
    excuse_place: PlaceExcuse | None = None,
) -> Callable[[Probe], Probe]:
    """Declare a function to be a check; its docstring becomes the check's documentation.

    The docstring has a summary and the parts `Why:`, `Rule:`, `Fix:` and `Source:`, each at the
    start of a line, in that order. See `auditor.model.Check` for the other arguments.

    Raises `CatalogueError` when the id is not kebab-case or a part of the docstring is missing.
    """

    def declare(probe: Probe) -> Probe:
        if not _ID.fullmatch(id):
            raise CatalogueError(f"check id {id!r} is not kebab-case", where=probe.__module__)
        parts = _parts(inspect.getdoc(probe) or "", id)
        declared = Check(
            id=id,
            title=title,
            severity=Severity(severity),
            applies_to=applies_to,
            needs=tuple(needs),
            settings=tuple(settings),
            distinct=distinct,
            summary=parts["Summary"],
            why=parts["Why"],
            rule=parts["Rule"],
            fix=parts["Fix"],
            source=parts["Source"],
            probe=probe,
            module=probe.__module__,
            excuse=excuse,
            excuse_place=excuse_place,
        )
        setattr(probe, _ATTRIBUTE, declared)
        return probe

    return declare


def _parts(doc: str, check_id: str) -> dict[str, str]:
    """Split a docstring into its summary and its four headed parts."""
    found = list(_HEADING.finditer(doc))
    names = tuple(match.group(1) for match in found)
    if names != _PARTS:
        raise CatalogueError(
            f"the docstring of check {check_id} has the parts {', '.join(names) or 'none'}",
            remedy=f"write {', '.join(_PARTS)} in that order",
        )
    parts = {"Summary": doc[: found[0].start()].strip()}
    for match, following in zip(found, [*found[1:], None], strict=True):
        end = following.start() if following else len(doc)
        # Not cleandoc: it would take the indent from a snippet that is all that follows a heading.
        parts[match.group(1)] = re.sub(r"\A\s*\n", "", doc[match.end() : end]).rstrip()
    parts = _without_hanging(parts)
    empty = [name for name, text in parts.items() if not text]
    if empty:
        raise CatalogueError(f"the docstring of check {check_id} says nothing under {empty[0]}")
    return parts


def _without_hanging(parts: dict[str, str]) -> dict[str, str]:
    """Take away the spaces by which lines hang under their heading, as they do in one docstring.

    What is indented further after an empty line is a snippet and keeps that indent.
    """
    headed = [text for name, text in parts.items() if name != "Summary"]
    first = [itertools.takewhile(str.strip, text.split("\n")[1:]) for text in headed]
    hanging = min(
        (len(line) - len(line.lstrip()) for lines in first for line in lines),
        default=0,
    )
    return {
        name: re.sub(rf"^ {{1,{hanging}}}", "", text, flags=re.MULTILINE) if hanging else text
        for name, text in parts.items()
    }


@dataclass(frozen=True, slots=True)
class Registry:
    """All checks of one audit, by id, in alphabetical order."""

    checks: dict[str, Check]

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks.values())

    def __len__(self) -> int:
        return len(self.checks)

    def __contains__(self, check_id: object) -> bool:
        return check_id in self.checks

    def get(self, check_id: str) -> Check | None:
        """The check of that id, or None."""
        return self.checks.get(check_id)

    def select(self, ids: Sequence[str]) -> Registry:
        """Keep only the named checks. Raises `ConfigError` for an id that does not exist."""
        for check_id in ids:
            if check_id not in self.checks:
                raise ConfigError(
                    f"there is no check {check_id!r}",
                    remedy="see `auditor list checks`",
                )
        return Registry({check_id: self.checks[check_id] for check_id in sorted(set(ids))})


def discover(folders: Sequence[Path] = (), *, builtin: str = "checks") -> Registry:
    """Import every built-in check, every `auditor.checks` entry point and every plugin folder.

    `folders` are directories of Python files; each file that does not start with `_` is imported.
    Importing runs code: a plugin folder is trusted like the program itself.

    Raises `CatalogueError` when two checks share an id or a plugin cannot be imported, and
    `ConfigError` when a folder does not exist.
    """
    found: dict[str, Check] = {}
    for module in _builtin(builtin):
        _add(found, module)
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name):
        try:
            loaded = entry.load()
        except Exception as error:
            raise CatalogueError(
                f"the check plugin {entry.name!r} does not load: {error}",
                where=entry.value,
            ) from error
        for module in _submodules(loaded):
            _add(found, module)
    for folder in folders:
        for module in _from_folder(folder):
            _add(found, module)
    return Registry(dict(sorted(found.items())))


def _builtin(name: str) -> Iterator[ModuleType]:
    yield from _submodules(importlib.import_module(name))


def _submodules(package: ModuleType) -> Iterator[ModuleType]:
    """Yield a module and, where it is a package, all modules below it."""
    yield package
    for info in pkgutil.walk_packages(getattr(package, "__path__", []), f"{package.__name__}."):
        yield importlib.import_module(info.name)


def _from_folder(folder: Path) -> Iterator[ModuleType]:
    if not folder.is_dir():
        raise ConfigError(
            "the plugin folder does not exist",
            where=str(folder),
            remedy="correct [plugins] folders in the configuration",
        )
    for path in sorted(folder.glob("*.py")):
        if path.name.startswith("_"):
            continue
        spec = importlib.util.spec_from_file_location(f"auditor_plugin_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise CatalogueError("the plugin cannot be loaded", where=str(path))
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise CatalogueError(f"the plugin does not load: {error}", where=str(path)) from error
        yield module


def declared_in(module: ModuleType) -> Iterator[Check]:
    """The checks that a module declares itself, those that it merely imports left out."""
    for value in vars(module).values():
        declared = getattr(value, _ATTRIBUTE, None)
        if isinstance(declared, Check) and declared.module == module.__name__:
            yield declared


def _add(found: dict[str, Check], module: ModuleType) -> None:
    for declared in declared_in(module):
        known = found.get(declared.id)
        if known is not None and known.probe is not declared.probe:
            raise CatalogueError(
                f"two checks share the id {declared.id}: {known.module} and {declared.module}",
                remedy="rename one of them",
            )
        found[declared.id] = declared
