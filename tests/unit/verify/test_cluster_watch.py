"""The verdicts of a cluster with watched objects: when a TokenReview is sent, and what ends a verdict."""

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
    """A cluster with watched pods and accounts. The pod web-0 of the tokens exists from the start."""

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
        """Return what decided on a token, or the reason of its rejection."""
        return summary(await self.cluster.verdict(text))

    async def keys(self) -> None:
        """Fetch the cluster's keys."""
        await self.cluster.keys.resolve(None, "")

    def break_off(self) -> None:
        """Break the watches for longer than `max_stale`."""
        for view in self.store.views:
            view.mark_interrupted("unreachable", "no way")
        self.clock.advance(91)


async def test_a_token_whose_objects_exist_is_not_reviewed() -> None:
    """Local keys decide, and the verdict has no maximum age."""
    watched = Watched()
    verdict = await watched.cluster.verdict(TOKEN)
    assert isinstance(verdict, Authenticated)
    assert (verdict.evidence.source, verdict.max_age, len(verdict.object_handles)) == ("jwks", None, 2)
    assert watched.cluster.reviews == 0


@pytest.mark.parametrize("mode", ["fallback", "always"])
@pytest.mark.parametrize(("which", "uid"), [("pods", "uid-of-web-0"), ("accounts", "uid-of-web")])
async def test_a_token_of_a_deleted_object_is_rejected_without_a_review(
    mode: ReviewMode, which: str, uid: str
) -> None:
    """An observed deletion rejects its tokens in every mode."""
    watched = Watched(mode)
    await watched.keys()
    getattr(watched, which).delete(uid)
    verdict = await watched.cluster.verdict(TOKEN)
    assert isinstance(verdict, Rejected)
    user = "system:serviceaccount:prod:web"
    assert (verdict.reason, verdict.detail) == (
        Reason.OBJECT_DELETED,
        f"the pod web-0 of {user}" if which == "pods" else f"the account {user}",
    )
    assert watched.cluster.reviews == 0


async def test_mode_always_also_reviews_tokens_of_existing_objects() -> None:
    """With mode always, the watch adds rejections and replaces no review."""
    watched = Watched("always")
    verdict = await watched.cluster.verdict(TOKEN)
    assert isinstance(verdict, Authenticated)
    assert (verdict.evidence.source, verdict.max_age, len(verdict.object_handles)) == ("tokenreview", 30, 2)


async def test_the_token_of_an_unknown_pod_is_reviewed_until_the_watch_has_the_pod() -> None:
    """A token may be newer than the watch. TokenReview decides until the watch reports the pod."""
    watched = Watched()
    watched.pods.replace_all({})
    watched.store._deleted.clear()
    verdict = await watched.cluster.verdict(TOKEN)
    assert isinstance(verdict, Authenticated)
    assert (verdict.evidence.source, verdict.max_age) == ("tokenreview", 30)
    watched.pods.upsert("uid-of-web-0", None)
    assert await watched.summary() == "jwks"
    assert watched.cluster.reviews == 1


async def test_a_pod_that_is_deleted_during_its_review_is_rejected() -> None:
    """The review that accepted it is older than the deletion."""
    watched = Watched(listed=False)
    watched.cluster.api.meanwhile = lambda: watched.pods.delete("uid-of-web-0")
    assert await watched.summary() == "object_deleted"


async def test_while_the_watch_is_blind_token_review_decides() -> None:
    """Objects that existed long ago may be deleted, so verdicts are reviewed and have a maximum age."""
    watched = Watched()
    await watched.keys()
    watched.break_off()
    verdict = await watched.cluster.verdict(TOKEN)
    assert isinstance(verdict, Authenticated)
    assert (verdict.evidence.source, verdict.max_age) == ("tokenreview", 30)


async def test_with_a_blind_watch_and_without_reviews_the_verdict_is_unavailable() -> None:
    """The answer is 503, neither 200 nor 401."""
    watched = Watched(listed=False)
    watched.cluster.api.otherwise = ApiError(ApiErrorKind.UNREACHABLE, "no way")
    assert isinstance(await watched.cluster.verdict(TOKEN), Unavailable)


async def test_a_token_bound_to_an_unwatched_object_has_a_max_age() -> None:
    """Without a watch of Secrets the API server reviews their tokens. The account is still watched."""
    watched = Watched()
    verdict = await watched.cluster.verdict(OF_SECRET)
    assert isinstance(verdict, Authenticated)
    assert (verdict.evidence.source, verdict.max_age, len(verdict.object_handles)) == ("tokenreview", 30, 1)


async def test_a_legacy_token_has_a_max_age() -> None:
    """Facts that only TokenReview knows are reviewed again after `maxAge`."""
    watched = Watched(legacy=(API_SERVER,))
    verdict = watched.cluster.verifier.try_verify_opaque(BearerToken("static"))
    assert not isinstance(verdict, Authenticated | Rejected | Unavailable)
    finished = await verdict.finish()
    assert isinstance(finished, Authenticated)
    assert finished.max_age == 30


async def test_a_forged_token_of_a_deleted_pod_is_rejected_as_forged() -> None:
    """Signature, time and audience are checked first, as without a watch."""
    watched = Watched()
    await watched.keys()
    watched.pods.delete("uid-of-web-0")
    assert await watched.summary(TOKEN[:-8] + "AAAAAAAA") == "signature_invalid"


async def test_a_cached_verdict_is_removed_when_its_pod_is_deleted() -> None:
    """It is removed at once. The verdicts of other pods stay cached."""
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


async def test_readiness_shows_how_far_behind_the_watch_is() -> None:
    """While the watch works, keys are enough. While it is blind, TokenReview has to answer."""
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
