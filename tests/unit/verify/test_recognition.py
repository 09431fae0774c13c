"""A token of a known sender gets the verdict that strict parsing would give it, or none."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from authgate.dev.compact import OMIT, JsonObject, changed, json_bytes, segment
from authgate.errors import Reason
from authgate.keys.key_set import StaticKeySet
from authgate.model import Authenticated, BearerToken, Pending, Rejected, SenderVerdict, present
from authgate.verify.claims import TimeRules
from authgate.verify.cluster_issuers import ClusterIssuers
from authgate.verify.identity import CLUSTER_CLAIMS, cluster_identity
from authgate.verify.jwt import IssuerRules, JWTVerifier
from authgate.verify.mapped import ClaimRules, PrefixedClaim, RequiredClaim, claims_of, mapped_identity
from authgate.verify.revocation import Revocation, RevocationRules
from authgate.verify.router import IssuerRouter
from tests.conformance.tokens import claim_changes, json_texts, json_values, mutations
from tests.conformance.trusted import AUDIENCE, ISSUER, NOW, StoppedClock, published
from tests.support.clock import START
from tests.support.cluster_scene import MODES, Cluster
from tests.support.key_pool import KeyPool
from tests.support.tokens import ISSUER as TOKEN_ISSUER
from tests.support.tokens import service_account_claims
from tests.support.verifiers import finished

if TYPE_CHECKING:
    from authgate.dev.keys import SigningKey
    from authgate.model import Verdict
    from authgate.verify.cluster import ReviewMode
    from authgate.verify.jwt import Identify
    from authgate.verify.recognition import IdentityClaims
    from tests.support.clock import FakeClock

HYPOTHESIS = settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

POD = {
    "aud": [AUDIENCE],
    "exp": NOW + 600,
    "iat": NOW,
    "iss": ISSUER,
    "jti": "id-1",
    "kubernetes.io": {
        "namespace": "shop",
        "node": {"name": "node-1", "uid": "n-1"},
        "pod": {"name": "web-1", "uid": "p-1"},
        "serviceaccount": {"name": "web", "uid": "s-1"},
        "warnafter": NOW + 300,
    },
    "nbf": NOW,
    "sub": "system:serviceaccount:shop:web",
}
PERSON = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "exp": NOW + 600,
    "iat": NOW,
    "sub": "jane",
    "jti": "id-1",
    "groups": ["staff", "admins"],
    "email": "jane@corp.example",
    "email_verified": True,
    "name": "Jane Doe",
    "level": 1.5,
    "roles": [{"name": "reader"}],
}
MAPPINGS = {
    "cluster": None,
    "subject": ClaimRules(PrefixedClaim("sub")),
    "groups": ClaimRules(PrefixedClaim("sub", "corp:"), groups=PrefixedClaim("groups", "corp:"), uid="jti"),
    "address": ClaimRules(PrefixedClaim("email"), uid="sub", required=(RequiredClaim("name", "Jane Doe"),)),
    "pointer": ClaimRules(PrefixedClaim("/kubernetes.io/namespace"), groups=PrefixedClaim("sub")),
}
CASES = [
    (mapping, claims)
    for mapping in MAPPINGS
    for claims in (POD, PERSON)
    if (claims is POD or mapping not in {"cluster", "pointer"}) and (claims is PERSON or mapping != "address")
]
IDS = [f"{mapping}-{'pod' if claims is POD else 'person'}" for mapping, claims in CASES]
every_case = pytest.mark.parametrize(("mapping", "claims"), CASES, ids=IDS)


@dataclass(slots=True)
class Scene:
    """Two verifiers with the same configuration. Only one of them has seen tokens before."""

    key: SigningKey
    mapping: str = "cluster"
    rules: IssuerRules = field(
        default_factory=lambda: IssuerRules(
            name="home",
            audiences=frozenset({AUDIENCE, "other"}),
            algorithms=frozenset({"ES256"}),
            types=frozenset({"jwt", "at+jwt"}),
            time=TimeRules(leeway=60),
        )
    )
    experienced: IssuerRouter = field(init=False)
    fresh: IssuerRouter = field(init=False)

    def __post_init__(self) -> None:
        self.keys = published(self.key.jwk())
        self.experienced, self.fresh = self.router(), self.router()

    keys: StaticKeySet = field(init=False)

    def router(self) -> IssuerRouter:
        """Return a verifier of the issuer's tokens."""
        mapping = MAPPINGS[self.mapping]
        if mapping is None:
            identify: Identify = partial(cluster_identity, cluster="home")
            claims: IdentityClaims | None = CLUSTER_CLAIMS
        else:
            identify = partial(mapped_identity, rules=mapping, issuer_name="home")
            claims = claims_of(mapping)
            assert claims is not None
        return IssuerRouter(
            {ISSUER: JWTVerifier(self.rules, self.keys, identify, StoppedClock(), identity_claims=claims)}
        )

    def learn(self, *tokens: str) -> None:
        """Have one of the verifiers accept tokens."""
        for token in tokens:
            assert isinstance(self.experienced.try_verify(BearerToken(token)), Authenticated)

    def recognized(self, token: str) -> Verdict | None:
        """Return the verdict on a token of a known sender, which must be the one of strict parsing."""
        verdict = self.experienced.recognize(
            token.encode("utf-8", "surrogatepass"), b"", present(StoppedClock())
        )
        if verdict is None:
            return None
        expected = self.fresh.try_verify(BearerToken(token))
        assert not isinstance(expected, Pending)
        assert shown(verdict) == shown(expected)
        return verdict

    def signed(self, claims: JsonObject) -> str:
        """Return a token."""
        return self.key.sign(claims)


def shown(verdict: Verdict) -> tuple[object, ...]:
    """Return everything about a verdict. Handles are compared as objects."""
    if isinstance(verdict, Authenticated):
        names = (
            "identity",
            "expires_at",
            "evidence",
            "handle",
            "max_age",
            "object_handles",
            "claims",
            "until",
        )
        return ("allowed", *(getattr(verdict, name) for name in names), verdict.identity.omits_groups)
    assert isinstance(verdict, Rejected)
    return (verdict, verdict.handle, verdict.until, verdict.private, verdict.remember_for)


@pytest.fixture(scope="module")
def key() -> SigningKey:
    """The issuer's key."""
    return KeyPool().key("ES256", kid="key-1")


@every_case
def test_another_token_of_a_sender_is_recognized(key: SigningKey, mapping: str, claims: JsonObject) -> None:
    """Its id and times differ."""
    scene = Scene(key, mapping)
    scene.learn(scene.signed(claims))

    verdict = scene.recognized(scene.signed({**claims, "jti": "id-2", "exp": NOW + 700, "iat": NOW - 5}))

    assert isinstance(verdict, SenderVerdict)
    assert "id-2" in str(verdict.identity)
    assert verdict.expires_at == NOW + 700


def test_another_pod_of_an_account_is_recognized(key: SigningKey) -> None:
    """Its verdict has the names of its own pod and node."""
    scene = Scene(key)
    scene.learn(scene.signed(POD))
    private = {**POD["kubernetes.io"], "pod": {"name": "web-2", "uid": "p-2"}}  # type: ignore[dict-item]

    verdict = scene.recognized(scene.signed({**POD, "jti": "id-2", "kubernetes.io": private}))

    assert isinstance(verdict, SenderVerdict)
    assert dict(verdict.identity.extra)["authentication.kubernetes.io/pod-name"] == ("web-2",)


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "groups", "email", "jti"])
def test_tokens_of_another_sender_are_not_recognized(key: SigningKey, name: str) -> None:
    """Every claim that the identity depends on counts."""
    scene = Scene(key, "groups")
    scene.learn(scene.signed(PERSON))
    value: object = ["admins"] if name == "groups" else "other"

    verdict = scene.recognized(scene.signed({**PERSON, name: value}))

    assert (verdict is None) == (name != "jti")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": NOW}, Reason.TOKEN_EXPIRED),
        ({"exp": NOW - 100}, Reason.TOKEN_EXPIRED),
        ({"iat": NOW + 61}, Reason.TOKEN_NOT_YET_VALID),
    ],
)
def test_times_are_checked(key: SigningKey, changes: JsonObject, reason: Reason) -> None:
    """The rejection is that of strict parsing."""
    scene = Scene(key, "groups")
    scene.learn(scene.signed(PERSON))

    verdict = scene.recognized(scene.signed({**PERSON, **changes}))

    assert isinstance(verdict, Rejected)
    assert verdict.reason is reason


@pytest.mark.parametrize("issued", [NOW, OMIT])
def test_a_maximum_lifetime_is_checked(key: SigningKey, issued: object) -> None:
    """So is a token without `iat`."""
    scene = Scene(key, "groups")
    time = TimeRules(leeway=60, max_lifetime=600)
    scene.rules = replace(scene.rules, time=time)
    scene.experienced, scene.fresh = scene.router(), scene.router()
    scene.learn(scene.signed(PERSON))

    assert isinstance(scene.recognized(scene.signed({**PERSON, "jti": "id-2"})), SenderVerdict)
    longer = changed(PERSON, {"exp": NOW + 601, "iat": issued})
    verdict = scene.recognized(scene.signed(longer))
    assert verdict is None if issued is OMIT else isinstance(verdict, Rejected)


def test_a_forged_signature_is_rejected(key: SigningKey) -> None:
    """A token of another key gets the rejection of strict parsing, and so does a changed payload."""
    scene = Scene(key)
    good = scene.signed(POD)
    scene.learn(good)
    stranger = KeyPool().key("ES256", 1, kid="key-1")
    header, _, signature = good.split(".")
    changed_payload = segment(json_bytes({**POD, "jti": "id-2"}))

    for forged in (stranger.sign(POD), f"{header}.{changed_payload}.{signature}"):
        verdict = scene.recognized(forged)
        assert isinstance(verdict, Rejected)
        assert verdict.reason is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps({**POD, "jti": "id-2"}).encode(),
        json_bytes({**POD, "jti": "id-2"}).replace(b'"jti"', b'"jti":"id-0","jti"'),
        json_bytes({**POD, "jti": "id-2"}).replace(b'"id-2"', b'"\\u0069d-2"'),
        json_bytes({**POD, "jti": "id-2"}).replace(b'"id-2"', '"ïd-2"'.encode()),
        json_bytes({**POD, "jti": "id 2"}),
        json_bytes({**POD, "jti": " id-2"}),
        json_bytes({**POD, "jti": "x" * 257}),
        json_bytes({**POD, "jti": ""}),
        json_bytes({**POD, "jti": "id-2\x7f"}),
        json_bytes({**POD, "exp": str(NOW + 600)}),
        json_bytes({**POD, "exp": NOW + 600.5}),
        json_bytes({**POD, "exp": 10**18}),
        json_bytes({**POD, "exp": 10**17}),
        json_bytes({**POD, "exp": -1}),
        json_bytes(POD).replace(b'"exp":', b'"exp":0'),
        json_bytes(POD).replace(b'"iat":', b'"iat":1e'),
        json_bytes({**POD, "cnf": {"jkt": "x"}}),
        json_bytes(changed(POD, {"jti": OMIT})),
        b"\xef\xbb\xbf" + json_bytes(POD),
        json_bytes(POD) + b"}",
        json_bytes(POD)[:-1],
        b"",
    ],
)
def test_unusual_payloads_are_left_to_strict_parsing(key: SigningKey, payload: bytes) -> None:
    """None of them is recognized, whatever strict parsing makes of it."""
    scene = Scene(key)
    scene.learn(scene.signed(POD))
    header = json_bytes({"alg": "ES256", "kid": key.kid})
    plain = key.sign_raw(header, json_bytes({**POD, "jti": "id-3"}))
    scene.learn(plain)
    assert isinstance(
        scene.recognized(key.sign_raw(header, json_bytes({**POD, "jti": "id-4"}))), SenderVerdict
    )

    assert scene.recognized(key.sign_raw(header, payload)) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Jane Doe", b"Jane \\q"),
        (b"Jane Doe", b"Jane \\u0020"),
        (b"Jane Doe", b"Jane\n"),
        (b"Jane Doe", b"Jane\x7f"),
        (b"Jane Doe", b"Jane\xff"),
        (b"Jane Doe", "Janë".encode()),
        (b"Jane Doe", b'Jane","name":"Joe'),
        (b"1.5", b"01.5"),
        (b"1.5", b"2.5"),
        (b"true", b"false"),
        (b'[{"name"', b'[{"name":"x","name"'),
    ],
)
def test_claims_that_nothing_reads_are_parsed_strictly_too(key: SigningKey, old: bytes, new: bytes) -> None:
    """A token with such a claim is rejected, or left to strict parsing."""
    scene = Scene(key, "groups")
    header = json_bytes({"alg": "ES256", "kid": key.kid})
    payload = json_bytes(PERSON)
    scene.learn(key.sign_raw(header, payload))
    assert scene.recognized(key.sign_raw(header, payload.replace(b"Jane Doe", b"Joe Bloggs")))

    assert scene.recognized(key.sign_raw(header, payload.replace(old, new))) is None


@pytest.mark.parametrize("text", ["", ".", "..", "...", "a.b", "a.b.c.d", "é", "header.payload.signature"])
def test_other_texts_are_not_recognized(key: SigningKey, text: str) -> None:
    """That includes those with parts of a recognized token."""
    scene = Scene(key)
    token = scene.signed(POD)
    scene.learn(token)
    header, payload, signature = token.split(".")

    for unusual in (text, f"{header}.{text}", f"{header}.{payload}.", f"{header}.{payload}", f"{token}."):
        assert scene.recognized(unusual) is None
    for unusual in (f"{header}..{signature}", f"{header}.{payload}=.{signature}", f" {token}", f"{token}="):
        assert scene.recognized(unusual) is None


def test_a_token_of_a_removed_key_is_not_recognized(key: SigningKey) -> None:
    """Keys are looked up for each token."""
    scene = Scene(key)
    scene.learn(scene.signed(POD))
    scene.keys._index = published(KeyPool().key("ES256", 2, kid="key-2").jwk())._index

    assert scene.recognized(scene.signed({**POD, "jti": "id-2"})) is None


@pytest.mark.parametrize("first", [0, 1])
def test_issuers_whose_tokens_have_the_same_header_and_members_share_nothing(
    key: SigningKey, first: int
) -> None:
    """Tokens without a key id often have the same header. Each issuer reads other claims of them."""
    mappings = [ClaimRules(PrefixedClaim("sub")), ClaimRules(PrefixedClaim("name"), uid="sub")]
    claims = [{**PERSON, "iss": f"https://issuer-{number}.example"} for number in range(2)]
    scene = Scene(key)

    def router() -> IssuerRouter:
        return IssuerRouter(
            {
                str(claims[number]["iss"]): JWTVerifier(
                    scene.rules,
                    scene.keys,
                    partial(mapped_identity, rules=mappings[number], issuer_name=f"{number}"),
                    StoppedClock(),
                    identity_claims=claims_of(mappings[number]),
                )
                for number in range(2)
            }
        )

    scene.experienced, scene.fresh = router(), router()
    scene.learn(*(scene.signed(claims[number]) for number in (first, 1 - first)))

    for one in claims:
        for changes in ({"jti": "id-2"}, {"name": "Joe"}, {"sub": "joe"}, {"name": "Joe", "sub": "joe"}):
            scene.recognized(scene.signed({**one, **changes}))
        assert isinstance(scene.recognized(scene.signed({**one, "jti": "id-2"})), SenderVerdict)


class Rechecked(StaticKeySet):
    """Keys that the issuer may have replaced, from some time on."""

    at: float = NOW

    def recheck_at(self) -> float:
        return self.at


@pytest.mark.parametrize("at", [NOW - 1, NOW, NOW + 30])
def test_a_forged_signature_can_start_a_fetch_of_keys(key: SigningKey, at: float) -> None:
    """If it may, the token is not recognized; else, the rejection lasts until it may."""
    scene = Scene(key)
    scene.keys = Rechecked(scene.keys._index.keys)
    scene.keys.at = at
    scene.experienced, scene.fresh = scene.router(), scene.router()
    scene.learn(scene.signed(POD))
    forged = KeyPool().key("ES256", 1, kid="key-1").sign(POD)

    verdict = scene.recognized(forged)

    assert (verdict is None) == (at <= NOW)
    assert isinstance(scene.fresh.try_verify(BearerToken(forged)), Pending) == (at <= NOW)


def test_senders_of_nested_uids_are_never_known() -> None:
    """Only a top-level claim can be a token's own value."""
    assert claims_of(ClaimRules(PrefixedClaim("sub"), uid="/nested/uid")) is None


_WHOLE: JsonObject = {"iat": int(START), "nbf": int(START), "exp": int(START) + 600}
"""Times as kube-apiserver writes them."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("watched", [False, True])
async def test_a_cluster_recognizes_only_what_its_keys_decide_alone(
    key: SigningKey, clock: FakeClock, mode: ReviewMode, watched: bool
) -> None:
    """A token that is also reviewed, or whose objects are watched, is verified as if it were the first."""
    revocation = Revocation([], clock, RevocationRules()) if watched else None
    cluster = Cluster(key, clock, mode, revocation=revocation)
    await cluster.keys.refresh()
    router = IssuerRouter({}, [cluster.verifier])
    first, second = (key.sign(service_account_claims(**_WHOLE, jti=f"id-{number}")) for number in range(2))
    verdict = await finished(router.try_verify(BearerToken(first)))
    assert isinstance(verdict, Authenticated)

    known = router.recognize(second.encode(), b"", present(clock))

    assert (known is not None) == (mode != "always" and not watched)


async def test_a_token_is_not_recognized_after_its_key_or_issuer_was_removed(
    key: SigningKey, clock: FakeClock
) -> None:
    """Both are looked up for each token."""
    cluster = Cluster(key, clock)
    await cluster.keys.refresh()
    router = IssuerRouter({}, [cluster.verifier])
    token = key.sign(service_account_claims(**_WHOLE))
    assert isinstance(router.try_verify(BearerToken(token)), Authenticated)
    assert isinstance(router.recognize(token.encode(), b"", present(clock)), SenderVerdict)

    issuers, cluster.verifier.issuers = cluster.verifier.issuers, ClusterIssuers(["https://other"], "home")
    assert router.recognize(token.encode(), b"", present(clock)) is None
    cluster.verifier.issuers = issuers
    assert router.recognize(token.encode(), b"", present(clock)) is not None
    cluster.source.keys = (KeyPool().key("ES256", 1, kid="key-2"),)
    await cluster.keys.refresh()
    assert router.recognize(token.encode(), b"", present(clock)) is None


async def test_a_replaced_key_is_noticed_although_time_has_passed_since_the_batch_began(
    key: SigningKey, clock: FakeClock
) -> None:
    """Until the first such fetch, keys can be fetched again from the present moment on, which is always later."""
    cluster = Cluster(key, clock)
    await cluster.keys.refresh()
    router = IssuerRouter({}, [cluster.verifier])
    router.try_verify(BearerToken(key.sign(service_account_claims(**_WHOLE))))
    began = present(clock)
    clock.advance(0.001)
    other = KeyPool().key("ES256", 1, kid=key.kid).sign(service_account_claims(**_WHOLE))

    assert router.recognize(other.encode(), b"", began) is None


def test_large_payloads_are_not_looked_at(key: SigningKey) -> None:
    """They are neither learned nor recognized."""
    scene = Scene(key, "subject")
    scene.learn(scene.signed({**PERSON, "name": "x" * 2048}), scene.signed(PERSON))

    assert scene.recognized(scene.signed({**PERSON, "name": "x" * 2500}))
    assert scene.recognized(scene.signed({**PERSON, "name": "x" * 3000})) is None


async def test_a_token_is_not_recognized_for_another_cluster_with_the_same_issuer_and_key(
    key: SigningKey, clock: FakeClock
) -> None:
    """The identity names the cluster, and the issuer belongs to the first cluster that has it."""
    among: list[ClusterIssuers] = []
    clusters = [
        Cluster(key, clock, name=name, issuers=ClusterIssuers([], name, among)) for name in ("east", "west")
    ]
    for one in clusters:
        await one.keys.refresh()
    east, west = (one.verifier for one in clusters)
    router = IssuerRouter({}, [east, west])
    token = key.sign(service_account_claims(**_WHOLE))
    west.issuers.learn(TOKEN_ISSUER)
    router.try_verify(BearerToken(token))
    known = router.recognize(token.encode(), b"", present(clock))
    assert isinstance(known, SenderVerdict)
    assert known.identity.cluster == "west"

    east.issuers.learn(TOKEN_ISSUER)
    for _ in range(2):
        verdict = router.try_verify(BearerToken(token))
        assert isinstance(verdict, Authenticated)
        assert verdict.identity.cluster == "east"
        assert router.recognize(token.encode(), b"", present(clock)) is None


def test_the_numbers_of_templates_and_senders_are_limited(key: SigningKey) -> None:
    """Beyond the limits, tokens are parsed as before."""
    scene = Scene(key, "subject")
    for number in range(20):
        scene.learn(scene.signed({**PERSON, f"claim-{number}": "x"}))
    recognized = [
        scene.recognized(scene.signed({**PERSON, f"claim-{number}": "y", "jti": "id-2"})) is not None
        for number in range(20)
    ]
    assert recognized == [True] * 8 + [False] * 12

    many = Scene(key, "subject")
    for number in range(40):
        many.learn(many.key.sign(PERSON, {"x": number}))
    again = [
        many.recognized(many.key.sign({**PERSON, "jti": "id-2"}, {"x": number})) is not None
        for number in range(40)
    ]
    assert again == [False] * 8 + [True] * 32


def test_recognition_pauses_while_most_tokens_come_from_new_senders(key: SigningKey) -> None:
    """Looking for a known sender would only cost time. It is tried again later."""
    scene = Scene(key, "subject")
    friend = scene.signed({**PERSON, "jti": "id-2"})
    strangers = [scene.signed({**PERSON, "sub": f"user-{number}"}) for number in range(256)]
    recognized = []
    for number in range(3):
        scene.learn(scene.signed(PERSON))
        recognized.append(scene.recognized(friend) is not None)
        if number == 0:
            scene.learn(*strangers)
        elif number == 1:
            for _ in range(8192):
                scene.experienced.recognize(friend.encode(), b"", present(StoppedClock()))
    assert recognized == [True, False, True]


def test_recognition_continues_while_enough_tokens_come_from_known_senders(key: SigningKey) -> None:
    """Then it saves more time than it costs."""
    scene = Scene(key, "subject")
    friend = scene.signed({**PERSON, "jti": "id-2"})
    scene.learn(scene.signed(PERSON))
    for number in range(300):
        assert scene.recognized(friend)
        scene.learn(scene.signed({**PERSON, "sub": f"user-{number}"}))


@every_case
@HYPOTHESIS
@given(data=st.data())
def test_recognition_never_differs_from_strict_parsing(
    key: SigningKey, mapping: str, claims: JsonObject, data: st.DataObject
) -> None:
    """Whatever changes between two tokens of an issuer: claims, nested members, the text, or the signature."""
    scene = Scene(key, mapping)
    for learned in data.draw(st.lists(claim_changes(NOW), max_size=2)):
        scene.experienced.try_verify(BearerToken(scene.signed(changed(claims, learned))))
    scene.learn(scene.signed(claims))
    changes = data.draw(claim_changes(NOW))
    if claims is POD and data.draw(st.booleans()):
        changes["kubernetes.io"] = changed(POD["kubernetes.io"], data.draw(_private))  # type: ignore[arg-type]
    token = scene.signed(changed(claims, changes))
    if data.draw(st.booleans()):
        token = data.draw(mutations(token))
    scene.recognized(token)


_names = st.sampled_from(["web-2", "", " ", "a b", "ü", "x" * 300])
_objects = st.fixed_dictionaries({}, optional={"name": _names | json_values, "uid": _names | json_values})
_private = st.fixed_dictionaries(
    {},
    optional={
        "namespace": _names | json_values,
        "pod": _objects | st.just(OMIT) | json_values,
        "node": _objects | st.just(OMIT) | json_values,
        "serviceaccount": _objects | json_values,
        "secret": _objects,
        "warnafter": json_values,
    },
)


@HYPOTHESIS
@given(pieces=st.lists(st.integers(0, 400) | json_texts, min_size=1, max_size=4), cut=st.integers(0, 3))
@example(pieces=[0], cut=0)
def test_changed_payload_bytes_are_read_as_strict_parsing_reads_them(
    key: SigningKey, pieces: list[int | bytes], cut: int
) -> None:
    """Bytes are cut out of a signed payload, or inserted into it."""
    scene = Scene(key)
    header = json_bytes({"alg": "ES256", "kid": key.kid})
    payload = json_bytes(POD)
    scene.learn(key.sign_raw(header, payload))
    at = 0
    for piece in pieces:
        if isinstance(piece, int):
            at = min(piece, len(payload))
            payload = payload[:at] + payload[at + cut :]
        else:
            payload = payload[:at] + piece[:6] + payload[at:]
    scene.recognized(key.sign_raw(header, payload))
