"""The job of which `millstream run` is timed: one record, printed."""

import millstream as ms

job = ms.Job("one-record")
job.source(ms.collection.source(["the one record"]), uid="source").sink(print, uid="sink")

if __name__ == "__main__":
    ms.main(job)
