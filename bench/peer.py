"""Other systems, where their environments are there: the same functions on the same records.

``BENCH_PEERS`` names a folder with a virtual environment per system; what is not there is not run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bench import data
from bench.pair import Comparison
from bench.process import Side

RECORDS = 500_000  # ReactiveX takes 6 s for so many in W2
PAIRS = 3
_PEERS = ("bytewax", "reactivex")
_WORKLOADS = (("w1", data.answer_w1), ("w2", data.answer_w2))


def peer_rows(folder: str | None = os.environ.get("BENCH_PEERS")) -> Sequence[Comparison]:
    """Return a row per system and workload, with Millstream as the baseline."""
    if not folder:
        return []
    return [
        Comparison(
            f"{peer}-{workload}",
            workload.upper(),
            RECORDS,
            Side("millstream, functions", f"bench.jobs:{workload}"),
            Side(peer, f"bench.peers.{peer}:{workload}", str(python)),
            answer,
            most_pairs=PAIRS,
        )
        for peer in _PEERS
        if (python := Path(folder).absolute() / peer / "bin" / "python").exists()
        for workload, answer in _WORKLOADS
    ]
