"""Examining the gate's own place in a cluster: its token, its clock, and how its account is bound to a role."""

from __future__ import annotations

import json
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from authgate.cluster.connection import Authorization
from authgate.tools.doctor.findings import Finding, bad, good, warning
from authgate.tools.explain.decode import span
from authgate.vocabulary import CLUSTER_LEEWAY, SERVICE_ACCOUNT_USER

if TYPE_CHECKING:
    from authgate.cluster.client import ClusterClient
    from authgate.cluster.own_token import OwnToken

_SOON: Final = 60.0
_PLAIN: Final = re.compile(r"[A-Za-z0-9@._:/+-]{1,253}")


def bind_command(role: str, own: OwnToken | None) -> str:
    """Return the command that binds a ClusterRole to the owner of a token."""
    subject = own.subject if own is not None else ""
    command = (
        f"kubectl create clusterrolebinding authgate-{role.removeprefix('system:')} --clusterrole={role}"
    )
    account = SERVICE_ACCOUNT_USER.fullmatch(subject)
    if account is not None:
        return f"{command} --serviceaccount={account[1]}:{account[2]}"
    # What is not plain would have to be quoted for a shell, of which there are too many.
    return f"{command} --user={subject if _PLAIN.fullmatch(subject) else 'THE-GATES-USER'}"


def clock_finding(subject: str, date: str, asked_at: float, took: float) -> Finding:
    """Compare the server's `Date`, whole seconds, with the time when it was asked; `took` seconds to answer."""
    try:
        told = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return warning(
            subject, "the API server's answer has no readable Date", "compare the clocks by hand: date -u"
        )
    ahead = asked_at + took / 2 - (told + 0.5)
    unsure = 0.5 + took / 2
    off = max(0.0, abs(ahead) - unsure)
    which = "ahead of" if ahead > 0 else "behind"
    sentence = f"this clock is {span(abs(ahead))} {which} the API server's"
    remedy = "set both clocks by NTP (chrony or systemd-timesyncd)"
    if off > CLUSTER_LEEWAY:
        return bad(subject, f"{sentence}: tokens are taken for expired, or for not yet valid", remedy)
    if off > CLUSTER_LEEWAY / 2:
        return warning(subject, f"{sentence}; {CLUSTER_LEEWAY:g} s are allowed for", remedy)
    return good(subject, f"it agrees with the API server's to {abs(ahead) + unsure:.1f} s")


def own_token_findings(subject: str, api: ClusterClient, now: float, *, needed: bool) -> list[Finding]:
    """Return what the gate's own credential says; `needed` tells that more than public documents is asked for."""
    own, connection = api.own_token(), api.connection
    if own is None:
        if connection.client_certificate is not None or connection.credential is not None:
            return [good(subject, f"none: {connection.origin} shows another kind of credential")]
        sentence = f"{connection.origin} has no credential: the API server sees an anonymous caller"
        if not needed:
            return [good(subject, sentence)]
        return [
            warning(subject, sentence, "give it a ServiceAccount's token, or set tokenReview.mode to never")
        ]
    if own.expires is None:
        return [good(subject, "it was read; it does not say until when it is good")]
    left = own.expires - now
    if left <= 0:
        remedy = f"have {connection.origin} renewed: a projected token is written anew by the kubelet"
        return [bad(subject, f"it expired {span(-left)} ago", remedy)]
    audiences = ", ".join(own.audiences) or "no audience"
    found = [good(subject, f"{_name(own)}, for {audiences}, expires in {span(left)}")]
    if isinstance(connection.credential, Authorization):
        found.append(
            warning(
                subject,
                f"it stands in {connection.origin} itself, so nothing renews it before it expires",
                "name a tokenFile or an exec plugin there",
            )
        )
    elif left < _SOON:
        found.append(warning(subject, "it should have been renewed by now", "check what writes its file"))
    return found


def _name(own: OwnToken) -> str:
    return (
        own.subject
        if own.subject.isprintable() and len(own.subject) <= 512
        else json.dumps(own.subject[:512])
    )
