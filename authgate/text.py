"""What text headers and logs can carry."""

from __future__ import annotations

import re
import sys

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def is_clean(value: str) -> bool:
    """Tell whether a value holds no control character and no lone surrogate, so that headers and logs can carry it."""
    # what is printable is neither, and tells sooner
    return value.isprintable() or _UNSAFE.search(value) is None


if sys.version_info[:2] == (3, 12):

    def shared(text: str) -> str:
        """Return the text: CPython 3.12 would keep every interned one for ever, and names are made by strangers."""
        return text

else:

    def shared(text: str) -> str:
        """Return the one copy of a text that many tokens hold; it goes with the last of them."""
        return sys.intern(text)
