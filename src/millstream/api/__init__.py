"""What users write: jobs and streams."""
