"""A program that runs a job by ``ms.run`` and tells what is left of it in the process."""

import gc
import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))


def state() -> str:
    files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    threads = sorted(each.name for each in threading.enumerate() if each.name != "MainThread")
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    return f"{threads} {handlers} gc={gc.isenabled()} files={files}"


if __name__ == "__main__":
    import millstream as ms
    from tests.acceptance.programs import ending

    print("before", state(), flush=True)
    try:
        ms.run(ending.job)
    except BaseException as error:  # noqa: BLE001  # told to the test
        print("raised", type(error).__name__, flush=True)
        print(error, file=sys.stderr)
    time.sleep(0.2)
    print("after", state(), flush=True)
    os._exit(0)  # what is stuck would otherwise be waited for, by Python itself
