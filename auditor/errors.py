"""Every failure that reaches a user, each with what happened, where, and what to do.

The command line turns any :class:`AuditorError` into one line on stderr and exit code 2; nothing
else may escape to a user.
"""

from __future__ import annotations


class AuditorError(Exception):
    """Something the user must mend before there can be an audit.

    `what` says what is wrong, `where` names the file, line, host or option, and `remedy` says what
    to do next. `str()` of the error is the one line that is printed.
    """

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line}; {self.remedy}" if self.remedy else line


class ConfigError(AuditorError):
    """The configuration file, an option or an argument is wrong."""


class CatalogueError(AuditorError):
    """A benchmark catalogue, or the registry of checks behind it, contradicts itself."""


class CollectError(AuditorError):
    """A target that was asked for by name cannot be read at all.

    `reason` is one of the words of `auditor.model.Reason`: beside other targets the failure is
    kept as a gap, which must say what it is.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        remedy: str | None = None,
        reason: str = "unreachable",
    ) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.reason = reason


class SnapshotError(AuditorError):
    """A snapshot is damaged, altered, or of a schema that this version does not read."""


class RenderError(AuditorError):
    """A report cannot be written."""


class AbsentTargetError(CollectError):
    """Nothing of that kind is configured here: no kubeconfig, no engine. No failure by itself."""
