"""What runs beside the operators: state, and later timers, checkpoints and metrics."""
