"""A kube-apiserver and the gate accept the same tokens: times, headers, keys, JSON and encoding."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from authgate.dev.compact import OMIT, json_bytes, segment
from authgate.dev.keys import Shape, SigningKey
from tests.support.parity import Case, Difference, Stricter, Subject, Wider, cases, put_to_work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.dev.issuer import Issuer
    from tests.support.oracle import Oracle
    from tests.support.parity import Token

KINDS: tuple[object, ...] = ("text", "", None, 1, True, ["text"], {})
KUBERNETES = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]

pytestmark = pytest.mark.asyncio(loop_scope="session")

BY_NAME = {
    "claimMappings": {
        "username": {"claim": "name", "prefix": ""},
        "groups": {"claim": "groups", "prefix": ""},
    }
}


def _usual(issuer: Issuer, changes: Mapping[str, object] | None = None) -> dict[str, object]:
    now = int(time.time())
    usual: dict[str, object] = {"iss": issuer.url, "aud": "my-audience", "exp": now + 3600, "name": "jane"}
    return {name: value for name, value in {**usual, **(changes or {})}.items() if value is not OMIT}


def claims(**changes: object) -> Token:
    """A token from a correct issuer, with other claims."""
    return lambda issuer: issuer.key.sign(_usual(issuer, changes))


def times(**offsets: float) -> Token:
    """A token whose times are given in seconds from now."""
    return lambda issuer: issuer.key.sign(
        _usual(issuer, {name: int(time.time()) + offset for name, offset in offsets.items()})
    )


def header(**changes: object) -> Token:
    """A token with another header."""
    return lambda issuer: issuer.key.sign(_usual(issuer), changes)


def payload(change: Callable[[bytes], bytes]) -> Token:
    """A token whose payload's bytes are changed before it is signed."""

    def make(issuer: Issuer) -> str:
        head = json_bytes({"alg": issuer.key.algorithm, "kid": issuer.key.kid})
        return issuer.key.sign_raw(head, change(json_bytes(_usual(issuer))))

    return make


def member(text: str) -> Token:
    """A token whose payload begins with this member, written literally."""
    return payload(lambda data: b"{" + text.encode("utf-8", "surrogatepass") + b"," + data[1:])


def encoded(change: Callable[[str], str]) -> Token:
    """A token whose text is changed after it was signed."""
    return lambda issuer: change(issuer.key.sign(_usual(issuer)))


def signed_by(algorithm: str) -> Token:
    """A token that the issuer's private key signs with another algorithm than the one in its JWK."""

    def make(issuer: Issuer) -> str:
        key = SigningKey.of(
            issuer.key.private, algorithm=algorithm, shape=issuer.key.shape, kid=issuer.key.kid
        )
        return key.sign(_usual(issuer))

    return make


def _unsigned(issuer: Issuer) -> str:
    return f"{segment(json_bytes({'alg': 'none'}))}.{segment(json_bytes(_usual(issuer)))}."


def _spare_bits(text: str) -> str:
    """The same token with the unused bits of its last character set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) | 1]


_TYPE = Difference.ANY_TYPE
_FOLDED = Difference.FOLDED_NAMES
_TEXT = Difference.TEXT_TIMES

TABLE = (
    Subject(
        "times",
        BY_NAME,
        {
            "good": claims(),
            "expired": times(exp=-5),
            "expired long ago": claims(exp=1),
            "exp 0": claims(exp=0),
            "exp missing": claims(exp=OMIT),
            "exp null": claims(exp=None),
            "exp true": claims(exp=True),
            "exp a list": claims(exp=[4102444800]),
            "exp with a fraction": times(exp=100.5),
            "exp with an exponent": payload(lambda data: re.sub(rb'"exp":[0-9]+', b'"exp":41024448e2', data)),
            "exp a text of digits": Stricter(_TEXT, claims(exp="4102444800")),
            "exp another text": claims(exp="tomorrow"),
            "exp negative": claims(exp=-1),
            "not yet, within a minute": times(nbf=30),
            "not yet": times(nbf=600),
            "nbf null": claims(nbf=None),
            "nbf a list": claims(nbf=[]),
            "nbf a text of digits": Stricter(_TEXT, claims(nbf="1")),
            "iat past": times(iat=-86400 * 365),
            "iat within a minute": times(iat=30),
            "iat in the future": Stricter(Difference.FUTURE_IAT, times(iat=600)),
            "iat null": claims(iat=None),
            "iat true": claims(iat=True),
            "iat a text of digits": Stricter(_TEXT, claims(iat="1")),
        },
    ),
    Subject(
        "claims that nobody uses",
        BY_NAME,
        {
            **{
                f"{name}: {json.dumps(value)}": claims(**{name: value})
                for name in ("sub", "nonce", "at_hash")
                for value in KINDS
            },
            **{
                f"cnf: {json.dumps(value)}": Stricter(Difference.CONFIRMATION, claims(cnf=value))
                for value in ({"jkt": "x"}, {"x5t#S256": "x"}, {}, None)
            },
            "others of any kind": claims(a=1, b=None, c=[{"d": [[]]}], e=1e300, f=-0.0, g=2**80),
            "claim names": claims(
                _claim_names={"x": "s"}, _claim_sources={"s": {"endpoint": "https://e.example"}}
            ),
            "claim names without sources": claims(_claim_names={"x": "s"}),
            "claim names, no such source": claims(_claim_names={"x": "s"}, _claim_sources={"t": {}}),
            "claim names, an unnamed source": claims(_claim_names={"x": ""}, _claim_sources={"": {}}),
            "claim names, a list": claims(_claim_names=[]),
            "claim names, a text": claims(_claim_names="x"),
            "claim names, of a number": claims(_claim_names={"x": 1}),
            "claim sources, a list": claims(_claim_sources=[]),
            "claim sources, a text": claims(_claim_sources={"s": "https://e.example"}),
            "claim sources, a number for an endpoint": claims(_claim_sources={"s": {"endpoint": 1}}),
        },
    ),
    Subject(
        "headers",
        BY_NAME,
        {
            "typ JWT": header(typ="JWT"),
            "typ jwt": header(typ="jwt"),
            "typ at+jwt": header(typ="at+jwt"),
            "typ of RFC 9068 in full": header(typ="application/at+jwt"),
            "typ dpop+jwt": Stricter(_TYPE, header(typ="dpop+jwt")),
            "typ logout+jwt": Stricter(_TYPE, header(typ="logout+jwt")),
            "typ empty": Stricter(_TYPE, header(typ="")),
            "kid missing": header(kid=OMIT),
            "kid unknown": header(kid="nobody's"),
            "kid a number": header(kid=1),
            "kid empty": Stricter(Difference.EMPTY_KID, header(kid="")),
            "crit": header(crit=["exp"], exp=1),
            "crit, an unknown one": header(crit=["x"], x=1),
            "alg missing": header(alg=OMIT),
            "alg none, not signed": _unsigned,
            "alg none, signed": header(alg="none"),
            "alg in lower case": header(alg="es256"),
            "alg of another curve": header(alg="ES384"),
            "alg of another kind": header(alg="RS256"),
            "alg HS256": header(alg="HS256"),
            "a key's URL": header(jku="https://elsewhere.example/jwks"),
            "unknown members": header(cty="x", y=[1]),
            "another party's key beside it": lambda issuer: SigningKey.generate("ES256").sign(
                _usual(issuer), {"kid": issuer.key.kid}
            ),
        },
    ),
    Subject(
        "JSON",
        BY_NAME,
        {
            "a name twice, the same": Stricter(_FOLDED, member('"name":"jane"')),
            "a name twice": Stricter(_FOLDED, member('"name":"other"')),
            "the audience twice": Stricter(_FOLDED, member('"aud":"other"')),
            "a registered name in another case": Stricter(
                _FOLDED, claims(exp=OMIT, EXP=int(time.time()) + 3600)
            ),
            "another name in another case": claims(name=OMIT, Name="jane"),
            "broken UTF-8": Stricter(
                Difference.BROKEN_UTF8, payload(lambda data: data.replace(b"jane", b"jan\xff"))
            ),
            "broken UTF-8 where nobody looks": Stricter(
                Difference.BROKEN_UTF8, payload(lambda data: b'{"x":"\xff",' + data[1:])
            ),
            "a lone surrogate where nobody looks": claims(x="\ud800"),
            "spaces": payload(lambda data: b" \n\t" + data.replace(b",", b" ,\r\n ") + b" \n"),
            "a byte order mark": payload(lambda data: b"\xef\xbb\xbf" + data),
            "more after it": payload(lambda data: data + b"{}"),
            "a comma too many": payload(lambda data: data[:-1] + b",}"),
            "NaN": member('"x":NaN'),
            "Infinity": member('"x":Infinity'),
            "a huge number": Stricter(Difference.HUGE_NUMBER, member('"x":1e400')),
            "a number with a leading zero": member('"x":01'),
            "a list": payload(lambda data: b"[" + data + b"]"),
            "null": payload(lambda data: b"null"),
            "empty": payload(lambda data: b""),
            "a tab in a text": member('"x":"\t"'),
            "a wrong escape": member(r'"x":"\x41"'),
            "escapes in a name": member(r'"\u0078":1'),
        },
    ),
    Subject(
        "encoding",
        BY_NAME,
        {
            "padded": encoded(lambda text: text + "=="),
            "spare bits set": Stricter(Difference.LOOSE_BASE64, encoded(_spare_bits)),
            "of the other alphabet": encoded(lambda text: text.replace("-", "+").replace("_", "/") + "+"),
            "a fourth part": encoded(lambda text: f"{text}.e30"),
            "two parts": encoded(lambda text: text.rpartition(".")[0]),
            "no signature": encoded(lambda text: text.rpartition(".")[0] + "."),
            "one character less": encoded(lambda text: text[:-4]),
        },
    ),
    Subject(
        "an RSA key",
        BY_NAME,
        {
            "its algorithm": claims(),
            "another algorithm than the JWK's": Stricter(Difference.KEY_ALGORITHM, signed_by("PS256")),
        },
        keys=lambda: (SigningKey.generate("RS256"),),
    ),
    Subject(
        "a small RSA key",
        BY_NAME,
        {"good otherwise": Stricter(Difference.SMALL_RSA, claims())},
        keys=lambda: (SigningKey.generate("RS256", shape=Shape.RSA_1024), SigningKey.generate("ES256")),
    ),
    Subject("ES384", BY_NAME, {"good": claims()}, keys=lambda: (SigningKey.generate("ES384"),)),
    Subject("ES512", BY_NAME, {"good": claims()}, keys=lambda: (SigningKey.generate("ES512"),)),
    Subject("PS512", BY_NAME, {"good": claims()}, keys=lambda: (SigningKey.generate("PS512"),)),
    Subject(
        "EdDSA",
        BY_NAME,
        {"good": Wider(Difference.EDDSA, claims())},
        keys=lambda: (SigningKey.generate("EdDSA"), SigningKey.generate("ES256")),
    ),
    Subject(
        "EdDSA, not among the algorithms",
        {**BY_NAME, "gate": {"algorithms": KUBERNETES}},
        {"good": claims()},
        keys=lambda: (SigningKey.generate("EdDSA"),),
    ),
    Subject(
        "a key without a kid",
        BY_NAME,
        {"a token without one": claims(), "a token with one": header(kid="x")},
        keys=lambda: (SigningKey.generate("ES256").without_kid(),),
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _at_work(oracle: Oracle) -> None:
    await put_to_work(oracle, TABLE)


@pytest.mark.parametrize("case", cases(TABLE))
async def test_server_and_gate_accept_the_same_tokens(oracle: Oracle, case: Case) -> None:
    """The server and the gate accept a token with the same identity, or both reject it."""
    await case.holds(oracle)
