"""What a program prints in processes that hash strings differently."""

from __future__ import annotations

import os
import subprocess
import sys


def printed_under_hash_seeds(program: str) -> set[str]:
    """Run a program under three hash seeds; return what it printed, which should be one text."""
    return {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
