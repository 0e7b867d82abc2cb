"""What `--probe-admission` asks a cluster: which pods, and about which namespaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from auditor.model import Json

KIND = "AdmissionProbe"
"""The kind of the resources that hold the answers: one for each namespace and violation."""

SCOPE = "admissionprobes"
"""The scope of the answers: neither read nor hidden where nothing was asked."""

Pod = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Probes:
    """The pods of an admission probe, given from outside: the collector knows no rule.

    `violations` holds, for each rule by its id, pods that break it, by the name of the variant;
    `compliant` is a pod that breaks none. `skipped` names namespaces that are not asked, and
    `only`, if given, the ones that are.
    """

    compliant: Pod
    violations: Mapping[str, Mapping[str, Pod]]
    skipped: frozenset[str] = frozenset()
    only: frozenset[str] | None = None

    def asks(self, namespace: str) -> bool:
        """Whether a namespace is asked."""
        return namespace not in self.skipped and (self.only is None or namespace in self.only)
