"""The values that travel through the gate."""

from __future__ import annotations

import pytest

from authgate.model import Identity, Lease


@pytest.mark.parametrize(
    ("extra", "value"),
    [
        pytest.param((("a", ("1",)), ("b", ("2", "3"))), "2", id="the first of several"),
        pytest.param((("a", ("1",)),), "", id="no such key"),
        pytest.param((("b", ()),), "", id="no value"),
        pytest.param((), "", id="no extra"),
    ],
)
def test_an_extra_value_is_the_first_or_empty(
    extra: tuple[tuple[str, tuple[str, ...]], ...], value: str
) -> None:
    """Whoever asks for one value gets one."""
    assert Identity("user-1", extra=extra).extra_value("b") == value


def test_a_lease_holds_until_it_is_revoked() -> None:
    """And never again afterwards."""
    lease = Lease()
    assert not lease.revoked
    lease.revoke()
    lease.revoke()
    assert lease.revoked
