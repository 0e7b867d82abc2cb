"""The command line: wiring and exit codes, and the only part of the program that prints.

Exit codes: 0 compliant; 1 a failure at or above the threshold; 2 the audit could not be done (bad
arguments, bad configuration, no target); 3 audited, nothing at the threshold failed, but not all
could be seen. `--strict` turns 3 into 1.
"""

from __future__ import annotations

import gc
import logging
import os
import sys

from auditor.cli.app import app
from auditor.errors import AuditorError
from auditor.scorecard import ExitCode

log = logging.getLogger("auditor")


def main() -> None:
    """Run the command line; every way out is an exit code and at most one line on stderr."""
    # An audit builds large structures that live to its end. The default collector walks them again
    # and again, a fifth of the time; a program that ends in seconds need not.
    gc.set_threshold(200_000, 50, 50)
    # Called as kubectl's plugin, the usage line should read as the user typed it.
    name = "kubectl auditor" if "kubectl-auditor" in sys.argv[0] else "auditor"
    try:
        app(prog_name=name)
    except AuditorError as error:
        _leave(str(error), ExitCode.NO_AUDIT)
    except SystemExit as left:
        # Typer turns an interrupt into this code, without a word.
        if left.code != ExitCode.INTERRUPTED:
            raise
        _leave("interrupted; files that were written already are whole", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe went away (`| head`): not an error, and nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.COMPLIANT)
    except Exception as error:
        log.debug("internal error", exc_info=True)
        _leave(
            f"internal error: {type(error).__name__}: {error}; "
            "run again with --log FILE and report what it holds",
            ExitCode.NO_AUDIT,
        )


def _leave(line: str, code: ExitCode) -> None:
    print(f"auditor: {' '.join(line.split())}", file=sys.stderr)  # noqa: T201
    sys.exit(code)
