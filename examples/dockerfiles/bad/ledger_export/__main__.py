"""Write the ledger that stands on standard input to `<output>/ledger.csv`."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path


def main() -> int:
    """Run the job; 0 when it is done, or when it is healthy."""
    parser = argparse.ArgumentParser(prog="ledger-export")
    parser.add_argument("--output", type=Path, default=Path("/data"))
    parser.add_argument("--healthy", action="store_true", help="only say whether it could run")
    arguments = parser.parse_args()
    if arguments.healthy:
        return 0 if arguments.output.is_dir() else 1
    entries = json.load(sys.stdin)
    with (arguments.output / "ledger.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=["date", "account", "amount"])
        writer.writeheader()
        writer.writerows(entries)
    return 0


if __name__ == "__main__":
    sys.exit(main())
