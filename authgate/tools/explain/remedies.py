"""What would change a decision, where the usual remedy of its reason does not fit."""

from __future__ import annotations

from typing import Final

from authgate.errors import REASONS, Reason
from authgate.verify.claims import GROUPS_OMITTED
from authgate.verify.compact import FOR_MICROSOFT_GRAPH

_DOCTOR: Final = "run 'authgate doctor' with the same configuration: it shows what fails and why"
REMEDIES: Final = {
    Reason.KEYS_UNAVAILABLE: _DOCTOR,
    Reason.KEY_PENDING: "run this command again in a few seconds: the issuer is rotating keys, or the token is forged",
    Reason.REVIEW_UNAVAILABLE: _DOCTOR,
    Reason.INTROSPECTION_UNAVAILABLE: _DOCTOR,
    Reason.ACCESS_REVIEW_UNAVAILABLE: _DOCTOR,
    Reason.ACCESS_DENIED: "bind a Role or ClusterRole that grants this access to the user or one of its groups",
    Reason.EXPRESSION_FAILED: "use has() or .? for fields that may be missing",
    Reason.REQUEST_UNKNOWN: (
        "give --path, --method and --host; for a running gate, configure the proxy to send them in the headers of"
        " server.proxy"
    ),
}
"""Remedies that apply to this command; the usual ones refer to a running gate and its log."""


REMEDIES_BY_DETAIL: Final = {
    FOR_MICROSOFT_GRAPH: (
        "request a token for your own API, for example with the scope api://CLIENT-ID/.default; only Microsoft Graph"
        " can verify this one"
    ),
    GROUPS_OMITTED: (
        "map app roles instead (claimMappings.groups.claim: roles), or let the issuer send only the groups that are"
        " assigned to the application"
    ),
}
"""Remedies for tokens that would be denied again if they were requested in the same way."""


IN_RULE: Final = {
    Reason.NOT_ALLOWED: "add the identity to the allow list that applies to this request",
    Reason.DENIED: "remove the identity from the deny list that applies to this request",
}
"""Remedies if a rule of the policy matches the request."""


def remedy_for_record(reason: Reason, detail: str, *, in_rule: bool) -> str:
    """Return the remedy for a decision of a running gate, whose audit line was given."""
    for known, remedy in REMEDIES_BY_DETAIL.items():
        if known in detail:
            return remedy
    if in_rule and reason in IN_RULE:
        return IN_RULE[reason]
    from_line = reason in (
        Reason.ACCESS_DENIED,
        Reason.EXPRESSION_FAILED,
    )  # the usual remedies refer to the log
    return REMEDIES[reason] if from_line else REASONS[reason].remedy
