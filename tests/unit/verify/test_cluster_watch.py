"""The verdicts of a cluster whose objects are watched: when TokenReview is asked, and what ends a verdict."""

from __future__ import annotations

import pytest

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.cluster.watch import Scope
from authgate.dev.keys import SigningKey
from authgate.errors import Reason
from authgate.model import Authenticated, BearerToken, Rejected, Unavailable
from authgate.verify.cluster import ReviewMode
from authgate.verify.revocation import Revocation, RevocationRules
from authgate.verify.router import IssuerRouter
from tests.support.clock import FakeClock
from tests.support.cluster_scene import API_SERVER, Cluster, summary
from tests.support.tokens import POD_BOUND, service_account_claims
from tests.support.verifiers import Cached

KEY = SigningKey.generate("ES256")
TOKEN = KEY.sign(service_account_claims())
OF_SECRET = KEY.sign(
    service_account_claims(
        **{
            "kubernetes.io": {
                "namespace": "prod",
                "serviceaccount": POD_BOUND["serviceaccount"],
                "secret": {"name": "anchor", "uid": "uid-of-anchor"},
            }
        }
    )
)


class Watched:
    """A cluster whose pods and accounts are watched, with the web-0 of the tokens there from the start."""

    def __init__(
        self, mode: ReviewMode = "fallback", legacy: tuple[str, ...] = (), *, listed: bool = True
    ) -> None:
        self.clock = FakeClock()
        self.store = Revocation((Scope("serviceaccounts"), Scope("pods")), self.clock, RevocationRules())
        self.accounts, self.pods = self.store.views
        if listed:
            self.accounts.replace_all({"uid-of-web": None})
            self.pods.replace_all({"uid-of-web-0": None})
        self.cluster = Cluster(KEY, self.clock, mode, legacy=legacy, revocation=self.store)

    async def summary(self, text: str = TOKEN) -> str:
        """What decided on a token, or why not."""
        return summary(await self.cluster.verdict(text))

    async def keys(self) -> None:
        """Fetches the cluster's keys."""
        await self.cluster.keys.resolve(None, "")

    def break_off(self) -> None:
        """Lets the watches be broken for too long."""
        for view in self.store.views:
            view.mark_interrupted("unreachable", "no way")
        self.clock.advance(91)


async def test_a_token_whose_objects_are_there_is_not_reviewed() -> None:
    """Local keys decide, and the verdict has no age of its own."""
    watched = Watched()
    verdict = await watched.cluster.verdict(TOKEN)
    assert isinstance(verdict, Authenticated)
    assert (verdict.evidence.source, verdict.max_age, len(verdict.object_handles)) == ("jwks", None, 2)
    assert watched.cluster.reviews == 0


@pytest.mark.parametrize("mode", ["fallback", "always"])
@pytest.mark.parametrize(("which", "uid"), [("pods", "uid-of-web-0"), ("accounts", "uid-of-web")])
async def test_a_token_whose_object_is_gone_is_not_reviewed(mode: ReviewMode, which: str, uid: str) -> None:
    """A deletion that was seen refuses in every mode, and nobody is asked."""
    watched = Watched(mode)
    await watched.keys()
    getattr(watched, which).delete(uid)
    verdict = await watched.cluster.verdict(TOKEN)
    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.detail) == (
        Reason.OBJECT_DELETED,
        "the pod" if which == "pods" else "the account",
    )
    assert watched.cluster.reviews == 0


async def test_mode_always_reviews_what_is_there_all_the_same() -> None:
    """The watch adds to mode always and takes nothing from it."""
    watched = Watched("always")
    verdict = await watched.cluster.verdict(TOKEN)
    assert isinstance(verdict, Authenticated)
    assert (verdict.evidence.source, verdict.max_age, len(verdict.object_handles)) == ("tokenreview", 30, 2)


async def test_an_unknown_pod_is_reviewed_once_and_then_known() -> None:
    """A token may be newer than the watch: TokenReview decides, until the watch tells of the pod."""
    watched = Watched()
    watched.pods.replace_all({})
    watched.store._deleted.clear()
    verdict = await watched.cluster.verdict(TOKEN)
    assert isinstance(verdict, Authenticated)
    assert (verdict.evidence.source, verdict.max_age) == ("tokenreview", 30)
    watched.pods.upsert("uid-of-web-0", None)
    assert await watched.summary() == "jwks"
    assert watched.cluster.reviews == 1


async def test_a_pod_that_goes_while_it_is_asked_about_is_gone() -> None:
    """A yes that was given before the deletion counts no more."""
    watched = Watched(listed=False)
    watched.cluster.api.meanwhile = lambda: watched.pods.delete("uid-of-web-0")
    assert await watched.summary() == "object_deleted"


async def test_a_blind_watch_leaves_verdicts_to_token_review() -> None:
    """What was there long ago may be gone: verdicts are reviewed and age."""
    watched = Watched()
    await watched.keys()
    watched.break_off()
    verdict = await watched.cluster.verdict(TOKEN)
    assert isinstance(verdict, Authenticated)
    assert (verdict.evidence.source, verdict.max_age) == ("tokenreview", 30)


async def test_a_blind_watch_and_no_reviews_cannot_tell() -> None:
    """Nothing passes unseen: 503, not 200 and not 401."""
    watched = Watched(listed=False)
    watched.cluster.api.otherwise = ApiError(ApiErrorKind.UNREACHABLE, "no way")
    assert isinstance(await watched.cluster.verdict(TOKEN), Unavailable)


async def test_a_token_bound_to_what_is_not_watched_goes_by_its_age() -> None:
    """Without a watch of Secrets the API server is asked about their tokens; the account is watched all the same."""
    watched = Watched()
    verdict = await watched.cluster.verdict(OF_SECRET)
    assert isinstance(verdict, Authenticated)
    assert (verdict.evidence.source, verdict.max_age, len(verdict.object_handles)) == ("tokenreview", 30, 1)


async def test_a_legacy_token_goes_by_its_age() -> None:
    """Whatever only TokenReview can know is asked again after `maxAge`."""
    watched = Watched(legacy=(API_SERVER,))
    verdict = watched.cluster.verifier.try_verify_opaque(BearerToken("static"))
    assert not isinstance(verdict, Authenticated | Rejected | Unavailable)
    finished = await verdict.finish()
    assert isinstance(finished, Authenticated)
    assert finished.max_age == 30


async def test_a_forged_token_of_a_deleted_pod_is_a_forged_one() -> None:
    """Signature, time and audience come first, as without a watch."""
    watched = Watched()
    await watched.keys()
    watched.pods.delete("uid-of-web-0")
    assert await watched.summary(TOKEN[:-8] + "AAAAAAAA") == "signature_invalid"


async def test_a_remembered_verdict_ends_with_its_pod() -> None:
    """The cache forgets in the moment of the deletion, and other pods' verdicts stay."""
    watched = Watched()
    await watched.keys()
    other = service_account_claims(
        jti="token-2", **{"kubernetes.io": {**POD_BOUND, "pod": {"name": "web-1", "uid": "uid-of-web-1"}}}
    )
    watched.pods.upsert("uid-of-web-1", None)
    cached = Cached(IssuerRouter({}, [watched.cluster.verifier]), watched.clock)
    texts = [TOKEN, KEY.sign(other)]
    for text in texts:
        await cached.ask(text)
    watched.pods.delete("uid-of-web-0")
    remembered = [cached.cache.lookup(cached.cache.digest(text.encode())) for text in texts]
    assert remembered[0] is None
    assert isinstance(remembered[1], Authenticated)
    assert summary(await cached.ask(TOKEN)) == "object_deleted"


async def test_readiness_tells_how_far_behind_the_watch_is() -> None:
    """While it sees, keys are enough; while it is blind, TokenReview has to answer."""
    watched = Watched()
    await watched.keys()
    state = watched.cluster.verifier.status()
    assert state.usable
    assert "watch of serviceaccounts: 1, last event 0 s ago; pods: 1, last event 0 s ago" in state.detail
    watched.break_off()
    state = watched.cluster.verifier.status()
    assert not state.usable
    assert "last event 91 s ago, blind, disconnected for 91 s, no way" in state.detail
    await watched.cluster.verifier.probe()
    assert watched.cluster.verifier.status().usable
