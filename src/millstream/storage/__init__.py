"""What outlives a process: the metadata store, and later checkpoint storage and state backends."""
