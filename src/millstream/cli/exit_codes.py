"""What the commands end with; 0 is success."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_CONFIG = 2
EXIT_INCONSISTENT = 3
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE, likewise
