"""The settings that take effect only after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authgate.config.plain import camel_case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authgate.config import Config

_SECTIONS = ("server", "limits", "log", "shutdown", "tracing")


def keep_restart_only(running: Config, new: Config) -> Config:
    """Return a new configuration in which settings that need a restart keep their running values.

    `server.proxy` is applied by a reload, together with the policies that trust the proxy's headers. So is
    `log`, except for its format.
    """
    kept = {name: getattr(running, name) for name in _SECTIONS}
    kept["server"] = running.server.model_copy(update={"proxy": new.server.proxy})
    kept["log"] = new.log.model_copy(update={"format": running.log.format})
    if running.exchange is None or new.exchange is None:
        kept["exchange"] = running.exchange
    else:
        listener = {"listen": running.exchange.listen, "tls": running.exchange.tls}
        kept["exchange"] = new.exchange.model_copy(update=listener)
    return new.model_copy(update=kept)


def pending_restart(running: Config, new: Config) -> Iterator[str]:
    """Yield the names of changed settings that take effect only after a restart, such as `server.listen`."""
    applied = keep_restart_only(running, new)
    for section in (*_SECTIONS, "exchange"):
        before, after = getattr(applied, section), getattr(new, section)
        if before == after:
            continue
        if before is None or after is None or section == "tracing":  # whose values include derived ones
            yield section
            continue
        for name, value in vars(after).items():
            if getattr(before, name) != value:
                yield f"{section}.{camel_case(name)}"
