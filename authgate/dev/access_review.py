"""SubjectAccessReview as a kube-apiserver answers it, over permissions that are granted one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from authgate.dev.api_body import members, strings, text
from authgate.dev.compact import JsonObject
from authgate.dev.kube import MASTERS, KubeState

ACCESS_REVIEWS_PATH: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_KINDS: Final = ("nonResourceAttributes", "resourceAttributes")


def review_access(state: KubeState, spec: Mapping[str, object]) -> JsonObject:
    """The status of a review; raises BadBodyError for a spec of another shape.

    A permission is for the very attributes that it was granted with: there are no rules with wildcards.
    """
    groups = strings(spec, "groups")
    asked = {name: str(value) for kind in _KINDS for name, value in members(spec, kind).items() if value}
    who = (text(spec, "user"), *groups)
    if MASTERS in groups or any(state.is_granted(name, asked) for name in who):
        return {"allowed": True, "reason": f"granted to {who[0]} or a group"}
    return {"allowed": False, "reason": f"no permission of {who[0]} fits"}
