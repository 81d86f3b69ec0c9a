"""A program that starts a job and ends without it, as ``HOW`` says."""

import os
import threading

import millstream as ms

HOW = os.environ["HOW"]

job = ms.Job("left alone")
numbers = ms.sequence.source(10 if HOW == "ended" else None, rate=1000)
job.source(numbers, uid="in").sink(ms.blackhole.sink(), uid="out")
execution = ms.start(job)
if HOW == "dropped":
    del execution
elif HOW == "waited for in a daemon":
    threading.Thread(target=execution.wait, daemon=True).start()
elif HOW == "waited for in a thread":
    threading.Thread(target=execution.wait).start()
    threading.Timer(0.3, execution.cancel).start()
elif HOW == "waited for":
    execution.cancel()
    execution.wait()
elif HOW == "ended":
    while not execution.ended:
        pass
print("there", flush=True)
