"""Names that are safe on every file system, different for different texts."""

from __future__ import annotations

import re
from hashlib import sha256

# Such names stay as they are. No capitals, as some file systems take A for a.
_PLAIN = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_-])?")
_LONGEST = 100  # characters; file systems allow 255 bytes, and a storage may add to a name
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|_metadata")


def safe_name(text: str) -> str:
    """Return a file name for any text: itself if it is plain, else what it has of that and a hash.

    ``~`` is in no plain name, so no text is taken for the name of another one. The hash is 80 bits
    of SHA-256.

        >>> safe_name("orders"), safe_name("../Orders")
        ('orders', 'orders~5363b725fbd3fa86d9f3')
    """
    if len(text) <= _LONGEST and _PLAIN.fullmatch(text) and not _RESERVED.fullmatch(text):
        return text
    readable = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-")[:_LONGEST]
    return f"{readable}~{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:20]}"
