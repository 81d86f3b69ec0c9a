"""Where keyed state lives."""
