"""The reactive engine: inbox, tasks, edges with demand, generated chains."""
