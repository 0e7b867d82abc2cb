"""The same verdicts from manifests as from the cluster that they were applied to.

Manifests show less: who else is bound, which policy stands there already. What they cannot show
must be `unknown` with that reason, never another verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from auditor.collect.base import Harvest
from auditor.collect.kubernetes import collect_kubernetes
from auditor.collect.manifests import collect_manifests
from auditor.config import KubernetesTable
from auditor.evaluate import evaluate
from auditor.model import Finding, Status
from auditor.registry import discover
from tests.support.controlplane import ControlPlane
from tests.support.fixtures import snapshot_of

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
WORLD = ROOT / "tests/support/parity_world.yaml"
EXAMPLES = ROOT / "examples/manifests"
INPUTS = ROOT.parent / "shared/inputs/manifests"
CHECKS = [check for check in discover() if check.platform == "kubernetes"]
PARTIAL = "manifests show only what they hold"

Key = tuple[str, str, str | None, str]
"""A check, and the kind, namespace and name of what it judged."""
