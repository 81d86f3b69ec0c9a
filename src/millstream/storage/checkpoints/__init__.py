"""Where checkpoints are kept: the interface in ``base.py``, local disk in ``local.py``."""
