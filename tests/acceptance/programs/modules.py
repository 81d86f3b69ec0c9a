"""Runs a small job, by function or by the command line, and prints which modules were loaded.

Every way to a network raises: a job needs none to start.
"""

import runpy
import sys
from typing import Any

FORBIDDEN = ("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.gethostbyname")


def refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.bind" and isinstance(arguments[1], str):
        return  # a Unix socket: how a running job is reached
    if event in FORBIDDEN:
        raise RuntimeError(f"{event} {arguments}")


if __name__ == "__main__":
    sys.addaudithook(refuse_network)
    job_file = sys.argv[1]
    if len(sys.argv) > 2:
        sys.argv = ["job", "run"]
        try:
            runpy.run_path(job_file, run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
    else:
        import millstream as ms

        ms.run(runpy.run_path(job_file)["job"])
    print("\n".join(sorted(sys.modules)))
