"""Common Expression Language as the Kubernetes API server has it, within bounds."""

from __future__ import annotations

from checks.kubernetes._admission.cel.cost import Measure, Path
from checks.kubernetes._admission.cel.engine import (
    CelError,
    Data,
    Expression,
    UnsupportedError,
    weigh,
)

__all__ = ["CelError", "Data", "Expression", "Measure", "Path", "UnsupportedError", "weigh"]
