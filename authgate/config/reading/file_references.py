"""The files that a configuration names, whose change can make a rejected configuration good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator


def named_files(value: object) -> Iterator[str]:
    """Yield the paths that a configuration names: its `…File` and `…Files` fields and `kubeconfig`."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            found = getattr(value, name)
            if name in {"kubeconfig", "file"} or name.endswith(("_file", "_files")):
                yield from (str(path) for path in (found if isinstance(found, tuple) else (found,)) if path)
            else:
                yield from named_files(found)
    elif isinstance(value, dict):
        for item in value.values():
            yield from named_files(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from named_files(item)
