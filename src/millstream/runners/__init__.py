"""What executes a JobGraph."""
