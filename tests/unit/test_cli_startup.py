"""What a spot check of a Dockerfile imports: nothing that it does not use, for it must be quick."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = (
    "auditor.aggregate", "auditor.catalogue", "auditor.collect.docker", "auditor.collect.image",
    "auditor.collect.kubernetes", "auditor.collect.manifests", "checks.kubernetes", "docker",
    "jinja2", "kubernetes", "pandas", "rich.markdown", "weasyprint", "yaml", "zstandard",
)  # fmt: skip
PROGRAM = """
import sys
from auditor.cli import main
sys.argv = ["auditor", "check", "dockerfile", "examples/dockerfiles/good/Dockerfile"]
try:
    main()
except SystemExit as left:
    code = left.code
print(code, *sorted(sys.modules))
"""


def test_a_spot_check_of_a_dockerfile_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "0"
    assert "checks.dockerfile.user" in modules
    assert not [name for name in HEAVY if name in modules]
