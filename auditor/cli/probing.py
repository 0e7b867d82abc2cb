"""`--probe-admission`: hands the pods that the checks know to the collector, which knows none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.config import Config

if TYPE_CHECKING:
    from auditor.collect.probes import Probes


def admission_probes(asked: bool, config: Config, namespace: str | None = None) -> Probes | None:
    """The pods to ask a cluster about, or None where neither option nor configuration wants it.

    Namespaces of the platform are not asked: no check judges their admission. `namespace` narrows
    it to one.
    """
    if not (asked or config.kubernetes.probe_admission):
        return None
    from auditor.collect.probes import Probes
    from checks.kubernetes._admission.violations import COMPLIANT, VIOLATIONS

    return Probes(
        compliant=COMPLIANT,
        violations={item.id: item.variants for item in VIOLATIONS},
        skipped=frozenset(config.rules.system_namespaces),
        only=None if namespace is None else frozenset({namespace}),
    )
