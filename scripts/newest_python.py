"""Print the path of the newest Python above 3.11 that answers when run, or nothing."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OLDEST_MINOR = 12
NEWEST_MINOR = 20  # a bound for the names to try, far enough ahead
PROBE_TIMEOUT_S = 20.0  # a cold interpreter on a busy machine takes a second or two

# Released CPython only, with what it takes to make an environment: the lock's wheels exist for
# nothing else, and a distribution may ship a Python without ensurepip.
PROBE = """
import ensurepip, sys, venv
if sys.implementation.name != "cpython" or sys.version_info.releaselevel != "final":
    raise SystemExit(1)
if not getattr(sys, "_is_gil_enabled", lambda: True)():
    raise SystemExit(1)
print(*sys.version_info[:3], sys.executable)
"""

Version = tuple[int, int, int]


def main() -> None:
    """Try every candidate and print the newest on standard output."""
    answers = [answer for command in candidates() if (answer := probe(command))]
    suitable = [answer for answer in answers if answer[0] >= (3, OLDEST_MINOR)]
    if not suitable:
        print("No Python newer than 3.11 answers: tests ran on 3.11 only.", file=sys.stderr)
        return
    print(max(suitable)[1])


def candidates() -> Iterator[str]:
    """Yield commands that may start a Python, from PATH first."""
    for minor in range(NEWEST_MINOR, OLDEST_MINOR - 1, -1):
        yield f"python3.{minor}"
    pyenv_root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for path in sorted(pyenv_root.glob("versions/*/bin/python3")):
        yield str(path)


def probe(command: str) -> tuple[Version, str] | None:
    """Return version and path of the interpreter behind the command, None if it does not answer.

    It is run, because existing proves nothing: a version manager's shim can be there and fail.
    """
    try:
        done = subprocess.run(
            [command, "-c", PROBE],
            capture_output=True,
            check=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor, micro, executable = done.stdout.strip().split(" ", 3)
    return (int(major), int(minor), int(micro)), executable


if __name__ == "__main__":
    main()
