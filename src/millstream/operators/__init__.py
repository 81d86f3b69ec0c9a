"""What each operator is: its definition, its checks, and the lines it adds to a generated loop."""
