"""Hypothesis strategies for tokens and their parts, from almost valid ones to arbitrary text."""

from __future__ import annotations

import base64
import string

from hypothesis import strategies as st

from authgate.dev.compact import OMIT
from tests.conformance.trusted import AUDIENCE, ISSUER

TOKEN68 = string.ascii_letters + string.digits + "-._~+/="
BASE64URL = string.ascii_letters + string.digits + "-_"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()  # NaN and infinities too: json.dumps writes them, although they are not valid JSON
    | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
"""Any JSON value, and some values that are not valid JSON."""

Members = dict[str, object]
_Table = dict[str, st.SearchStrategy[object]]


def _few(table: _Table) -> st.SearchStrategy[Members]:
    """Return at most three members of a table, so that the effect of each is visible."""
    names = st.lists(st.sampled_from(sorted(table)), max_size=3, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: table[name] for name in chosen}))


_SECONDS = [-(10**6), -61, -30, 30, 50, 61, 10**6]
"""Distances from now. None is so close to a limit that the duration of a test could matter."""


def _times(now: int) -> st.SearchStrategy[object]:
    whole = st.sampled_from(_SECONDS).map(lambda distance: now + distance)
    return whole | whole.map(lambda time: time + 0.5) | whole.map(str) | json_values


def claim_changes(now: int) -> st.SearchStrategy[Members]:
    """Return changes to valid claims: registered claims with any JSON value or left out, and other claims."""
    audiences = st.sampled_from([AUDIENCE, "another", ""])
    plausible: _Table = {
        "iss": st.sampled_from([ISSUER, ISSUER + "/", ""]),
        "sub": st.text(max_size=8),
        "aud": audiences | st.lists(audiences | json_values, max_size=3),
        "exp": _times(now),
        "nbf": _times(now),
        "iat": _times(now),
        "jti": st.text(max_size=4),
        "nonce": json_values,
        "email": st.text(max_size=4),
        "email_verified": json_values,
    }
    registered = _few({name: values | json_values | st.just(OMIT) for name, values in plausible.items()})
    others = st.dictionaries(st.text(max_size=4), json_values, max_size=2)
    return st.builds(lambda some, more: {**more, **some}, registered, others)


header_changes = _few(
    {
        "alg": st.sampled_from(["none", "HS256", "RS256", "PS256", "ES256", "ES384", "EdDSA", "es256"]),
        "kid": st.just(OMIT) | st.text(max_size=4) | json_values,
        "typ": st.sampled_from(["JWT", "at+jwt", "application/jwt", "dpop+jwt"]) | json_values,
        "crit": st.lists(st.text(max_size=3), max_size=2) | json_values,
        "b64": json_values,
        "cty": json_values,
        "zip": json_values,
        "jku": st.just("https://attacker.example/keys"),
        "jwk": st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "k"]), json_values),
        "x5c": json_values,
    }
)
"""Changes to a valid header."""

_JSON_PIECES = (
    *("{", "}", "[", "]", ":", ",", '"', "\\", "\\u", "\\ud800", " ", "\n", "\ufeff", "é"),
    *("1", "-", ".", "e9", "E+400", "NaN", "-Infinity", "null", "true"),
    *('"iss"', f'"{ISSUER}"', '"exp"', '"aud"', '"alg"', '"ES256"'),
)

json_texts = st.lists(st.sampled_from(_JSON_PIECES), max_size=80).map(lambda pieces: "".join(pieces).encode())
"""Text that starts like JSON and is then broken."""

_json_like = json_texts | st.binary(max_size=40)


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


segments = st.text(BASE64URL, max_size=40) | _json_like.map(_segment)
token_texts = st.text(TOKEN68, max_size=80) | st.lists(
    st.text(TOKEN68) | segments, min_size=2, max_size=6
).map(".".join)
"""Any text that can follow "Bearer ". More than half of it has segments."""


@st.composite
def mutations(draw: st.DrawFn, token: str) -> str:
    """Return the token after one to three small changes. A lenient reader ignores many of them."""
    for change in draw(st.lists(st.sampled_from(_CHANGES), min_size=1, max_size=3)):
        token = change(draw, token)
    return token


def _replaced(draw: st.DrawFn, token: str) -> str:
    at = draw(st.integers(0, len(token)))
    return token[:at] + draw(st.sampled_from(TOKEN68 + " \t\r\n\x00")) + token[at + 1 :]


def _flipped(draw: st.DrawFn, token: str) -> str:
    at = draw(st.integers(0, len(token)))
    return token[:at] + "".join(chr(ord(char) ^ 1) for char in token[at : at + 1]) + token[at + 1 :]


def _inserted(draw: st.DrawFn, token: str) -> str:
    at = draw(st.integers(0, len(token)) | st.just(len(token)))
    return token[:at] + draw(st.sampled_from("=. \nA-+\x00")) + token[at:]


def _cut(draw: st.DrawFn, token: str) -> str:
    at = draw(st.integers(0, len(token)))
    return token[:at] + token[at + draw(st.integers(1, 4)) :]


def _shuffled(draw: st.DrawFn, token: str) -> str:
    return ".".join(draw(st.permutations(token.split("."))))


def _padded(_: st.DrawFn, token: str) -> str:
    return ".".join(part + "=" * (-len(part) % 4) for part in token.split("."))


def _in_standard_alphabet(_: st.DrawFn, token: str) -> str:
    return token.translate(str.maketrans("-_", "+/"))


def _reencoded(draw: st.DrawFn, token: str) -> str:
    """Decode one segment, change or add a byte, and encode it again."""
    parts = token.split(".")
    number = draw(st.integers(0, len(parts) - 1))
    try:
        data = bytearray(base64.urlsafe_b64decode(parts[number] + "=" * (-len(parts[number]) % 4)))
    except ValueError:
        return token
    if data and draw(st.booleans()):
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    else:
        data.insert(draw(st.integers(0, len(data))), draw(st.sampled_from(b" \n\t\x00\xff0")))
    parts[number] = _segment(bytes(data))
    return ".".join(parts)


_CHANGES = (
    *(_replaced, _flipped, _inserted, _cut, _shuffled),
    *(_padded, _in_standard_alphabet, _reencoded),
)
