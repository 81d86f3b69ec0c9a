"""From a job to a run of it: planning, wiring, job files."""
