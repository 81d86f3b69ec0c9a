"""From what the user wrote to what runs: StreamGraph, optimizer, JobGraph, explain."""
