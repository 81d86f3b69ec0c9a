"""One timed run in a process of its own: ``python -m bench.child MODULE:FUNCTION SIZE``.

The function prepares (imports, builds the job, makes data) and returns what is timed. So the peak
of memory and the state of the allocator are this run's alone. Prints one line of JSON.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from importlib import import_module
from pathlib import Path


def cpu_s() -> float:
    """Return the CPU time of all threads of this process, and of its ended children."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def peak_rss_mb() -> float:
    """Return the most memory this process has had.

    The kernel's own figure for this program where there is one: ``ru_maxrss`` may count what the
    process that started this one had.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def main(target: str, size: str) -> None:
    """Prepare, run and report."""
    module, _, function = target.partition(":")
    gc.disable()  # as the engine does while a job runs: no side has the collector's pauses
    run = getattr(import_module(module), function)(int(size))
    cpu, wall = cpu_s(), time.perf_counter()
    answer = run()
    outcome = {"cpu_s": cpu_s() - cpu, "wall_s": time.perf_counter() - wall}
    print(json.dumps({**outcome, "peak_rss_mb": peak_rss_mb(), "answer": answer}))


if __name__ == "__main__":
    main(*sys.argv[1:])
