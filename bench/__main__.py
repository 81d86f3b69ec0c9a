"""Measures Millstream, prints a table and writes ``build/bench.json``: ``python -m bench``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from bench import report
from bench.catalogue import rows
from bench.data import ROOT
from bench.process import RunFailedError
from bench.result import Result
from bench.row import FULL, QUICK, Effort, Row


def measured(row: Row, effort: Effort) -> Result:
    """Measure a row; a process that fails makes it a row that is not ok."""
    try:
        return row.measure(effort)
    except RunFailedError as error:
        return row.failed(str(error))


def selected(patterns: Sequence[str]) -> Sequence[Row]:
    """Return the rows whose name is, or matches, one of the patterns; all without any."""
    return [
        row
        for row in rows()
        if not patterns or any(fnmatchcase(row.name, pattern) for pattern in patterns)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return 1 if a floor is missed, an answer is wrong or a process failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the records, three pairs")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME",
        help="measure this row, or those that match a pattern such as 'w2*'; may be repeated",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="list the rows and end")
    parser.add_argument(
        "--json", type=Path, default=ROOT / "build" / "bench.json", metavar="FILE",
        help="where to write the results (build/bench.json)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    chosen = selected(options.only)
    if not chosen:
        parser.error(f"no row is named {', '.join(options.only)}; --list shows the names")
    if options.list:
        for row in chosen:
            print(f"{row.name:<21} {row.about}")
        return 0
    results = []
    print(report.head(), flush=True)
    for row in chosen:
        results.append(measured(row, QUICK if options.quick else FULL))
        print(report.line(results[-1]), flush=True)
    print(report.foot(results))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([result.to_json() for result in results], indent=1, ensure_ascii=False)
    options.json.write_text(text + "\n", encoding="utf-8")
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
