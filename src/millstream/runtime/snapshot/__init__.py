"""The snapshot format: how state is written down. Documented in docs/reference/snapshot-format.md.

A value becomes bytes by a ``Codec`` (``codec.py``; types that msgpack lacks in ``tags.py``, classes
in ``classes.py``); a slice of entries by ``columns.py``; a state's file by ``state_file.py``.
"""
