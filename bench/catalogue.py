"""Every row of the benchmark: what is compared with what, and the floor."""

from __future__ import annotations

from collections.abc import Sequence

from bench import data
from bench.cycled import FULL_RECORDS
from bench.latency import LARGE_STATE_S, MEASURED_S, WARM_UP_S
from bench.limit import ChunkCost, Latency, Memory, StartUp, time_import, time_run_command
from bench.pair import Comparison
from bench.peer import peer_rows
from bench.process import Side
from bench.row import Row
from bench.state_rows import large_state_rows

W1 = "W1 ints, map-filter-map"
TEN = "ten operators on ints"
DICTS = "dict records, map-filter-map"
W2 = "W2 JSON lines, running sum per user"

BARE_W1 = Side("bare loop", "bench.bare:w1")
BARE_TEN = Side("bare loop", "bench.bare:ten")
BARE_DICTS = Side("bare loop", "bench.bare:orders")
BARE_W2 = Side("bare loop", "bench.bare:w2")
JOB_TEN = Side("chained", "bench.jobs:ten")
JOB_W2 = Side("functions, raw lines", "bench.jobs:w2")

FUNCTIONS: list[Comparison] = [
    Comparison(
        "w1", W1, 5_000_000, BARE_W1,
        Side("functions", "bench.jobs:w1"), data.answer_w1, floor=0.82,
    ),
    Comparison(
        "dropping", "ints, map-filter that keeps nothing", 3_000_000,
        Side("bare loop", "bench.bare:dropping"), Side("functions", "bench.jobs:dropping"),
        data.answer_nothing,
    ),
    Comparison(
        "ten", TEN, 3_000_000, BARE_TEN,
        Side("functions", "bench.jobs:ten"), data.answer_ten, floor=0.82,
    ),
    Comparison(
        "dicts", DICTS, 1_000_000, BARE_DICTS,
        Side("functions", "bench.jobs:orders"), data.answer_orders, floor=0.9,
    ),
    Comparison("w2", W2, 2_000_000, BARE_W2, JOB_W2, data.answer_w2, floor=0.75),
    Comparison(
        "w2-source-decodes", W2, 2_000_000, BARE_W2,
        Side("functions, source decodes", "bench.jobs:w2_source_decodes"), data.answer_w2,
    ),
    Comparison(
        "w2-value-state", W2, 2_000_000, BARE_W2,
        Side("ValueState", "bench.jobs:w2_value_state"), data.answer_w2, floor=0.6,
    ),
]  # fmt: skip

EXPRESSIONS: list[Comparison] = [
    Comparison(
        "w1-expressions", W1, 5_000_000, BARE_W1,
        Side("expressions", "bench.jobs:w1_expressions"), data.answer_w1,
        floor=1.3, stretch=1.45,
    ),
    Comparison(
        "w2-expressions", W2, 2_000_000, BARE_W2,
        Side("expressions, built-in sum", "bench.jobs:w2_expressions"), data.answer_w2,
        floor=1.15, stretch=1.3,
    ),
]  # fmt: skip

CHAINING: list[Comparison] = [
    Comparison(
        "ten-push", TEN, 1_000_000, Side("an object per operator, on_next per record",
        "bench.unchained:ten_pushed"), JOB_TEN, data.answer_ten, floor=2.3,
    ),
    Comparison(
        "ten-unchained", TEN, 1_000_000,
        Side("Job(chaining=False)", "bench.jobs:ten_unchained"), JOB_TEN, data.answer_ten,
    ),
    Comparison(
        "ten-threads", TEN, 1_000_000, Side("a thread per operator, pickled chunks",
        "bench.unchained:ten_in_threads"), JOB_TEN, data.answer_ten,
    ),
    Comparison(
        "w2-unchained", W2, 1_000_000,
        Side("Job(chaining=False)", "bench.jobs:w2_unchained"), JOB_W2, data.answer_w2,
    ),
    Comparison(
        "w2-threads", W2, 1_000_000, Side("a thread per operator, pickled chunks",
        "bench.unchained:w2_in_threads"), JOB_W2, data.answer_w2, most_pairs=3,
    ),
]  # fmt: skip

STATE: list[Comparison] = [
    *(
        Comparison(
            f"w2-checkpoints-{name.replace('_', '-')}",
            f"{W2}, for 15 s",
            FULL_RECORDS,
            Side(f"{label}, no checkpoints", f"bench.cycled:{name}"),
            Side(f"{label}, one a second", f"bench.cycled:{name}_checkpointed"),
            data.answer_cycled,
            floor=0.9,
            most_pairs=3,
        )
        for name, label in (
            ("functions", "functions"),
            ("source_decodes", "source decodes"),
            ("value_state", "ValueState"),
            ("expressions", "expressions"),
        )
    ),
    Comparison(
        "part-files", "dicts to JSON Lines", 1_500_000,
        Side("one file, no checkpoints", "bench.exact_sinks:plain_file"),
        Side("parts by checkpoint", "bench.exact_sinks:part_files"), data.answer_lines, floor=0.8,
    ),
    Comparison(
        "sqlite", "dicts to SQLite", 1_000_000,
        Side("bare executemany", "bench.exact_sinks:executemany"),
        Side("exact", "bench.exact_sinks:exact_table"), data.answer_prices, floor=0.4,
    ),
]  # fmt: skip

_THREE = Side("three operators", "bench.latency:through_three_operators")

LIMITS: list[ChunkCost | Latency | Memory | StartUp] = [
    ChunkCost(
        "chunk-cost", "empty chain", "chunks of 64 against 1,024", 5_000_000, 5.0, "us",
        Side("64", "bench.jobs:empty_small_chunks"), Side("1,024", "bench.jobs:empty_large_chunks"),
        data.answer_numbers,
    ),
    Latency(
        "latency-1k", "due to sink, three operators", "1,000/s", 1_000, 3.0, "ms p99",
        _THREE, MEASURED_S,
    ),
    Latency(
        "latency-50k", "due to sink, three operators", "50,000/s", 50_000, 3.0, "ms p99",
        _THREE, MEASURED_S,
    ),
    Latency(
        "latency-400k", "due to sink, three operators", "400,000/s", 400_000, 5.0, "ms p99",
        _THREE, MEASURED_S,
    ),
    Latency(
        "latency-checkpoints", "due to sink, 1,000,000 keys, a checkpoint a second", "50,000/s",
        50_000, 5.0, "ms p99", Side("keyed", "bench.latency:through_large_state"),
        LARGE_STATE_S - WARM_UP_S,
    ),
    Memory("memory-w2", W2, "functions, raw lines", 5_000_000, 150.0, "MB", JOB_W2, data.answer_w2),
    Memory(
        "memory-w2-expressions", W2, "expressions, built-in sum", 5_000_000, 150.0, "MB",
        Side("expressions", "bench.jobs:w2_expressions"), data.answer_w2,
    ),
    StartUp("import", "start-up", "import millstream", 1, 150.0, "ms", time_import),
    StartUp(
        "run-command", "start-up", "millstream run, one record", 1, 600.0, "ms", time_run_command,
    ),
]  # fmt: skip


def rows() -> Sequence[Row]:
    """Return the rows in the order of the table."""
    return [
        *FUNCTIONS, *EXPRESSIONS, *CHAINING, *STATE, *large_state_rows(), *LIMITS, *peer_rows()
    ]  # fmt: skip
