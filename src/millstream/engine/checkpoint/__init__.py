"""Checkpoints in the engine: who triggers them, who writes them, what a run goes on from."""
