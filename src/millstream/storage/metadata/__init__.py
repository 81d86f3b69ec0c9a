"""The metadata store: which jobs, executions, checkpoints and leases there are, in a database."""
