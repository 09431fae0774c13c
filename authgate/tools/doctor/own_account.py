"""Check the gate's own token and clock in a cluster."""

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
    # Other names would need quoting, which differs between shells.
    return f"{command} --user={subject if _PLAIN.fullmatch(subject) else 'THE-GATES-USER'}"


def clock_finding(subject: str, date: str, asked_at: float, took: float) -> Finding:
    """Compare the server's `Date` (whole seconds) with the time of the request, which took `took` seconds."""
    try:
        server_time = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return warning(
            subject,
            "the API server's response has no valid Date header",
            "compare the clocks manually with date -u",
        )
    ahead = asked_at + took / 2 - (server_time + 0.5)
    unsure = 0.5 + took / 2
    off = max(0.0, abs(ahead) - unsure)
    which = "ahead of" if ahead > 0 else "behind"
    sentence = f"this machine's clock is {span(abs(ahead))} {which} the API server's"
    remedy = "synchronize both clocks with NTP (chrony or systemd-timesyncd)"
    if off > CLUSTER_LEEWAY:
        return bad(subject, f"{sentence}: valid tokens are denied as expired or not yet valid", remedy)
    if off > CLUSTER_LEEWAY / 2:
        return warning(subject, f"{sentence}; {CLUSTER_LEEWAY:g} s are allowed for", remedy)
    return good(subject, f"this machine's clock is within {abs(ahead) + unsure:.1f} s of the API server's")


def own_token_findings(subject: str, api: ClusterClient, now: float, *, needed: bool) -> list[Finding]:
    """Return the findings about the gate's own credential; `needed` means that it reviews tokens."""
    own, connection = api.own_token(), api.connection
    if own is None:
        if connection.client_certificate is not None or connection.credential is not None:
            return [good(subject, f"not used: {connection.origin} has another kind of credential")]
        sentence = f"{connection.origin} has no credential, so the gate is anonymous to the API server"
        if not needed:
            return [good(subject, sentence)]
        return [
            warning(subject, sentence, "add a ServiceAccount's token to it, or set tokenReview.mode to never")
        ]
    if own.expires is None:
        return [good(subject, "the token has no expiry time")]
    left = own.expires - now
    if left <= 0:
        remedy = f"renew the token of {connection.origin}; the kubelet renews projected tokens"
        return [bad(subject, f"the token expired {span(-left)} ago", remedy)]
    audiences = ", ".join(own.audiences) or "no audience"
    found = [good(subject, f"{_name(own)}, for {audiences}, expires in {span(left)}")]
    if isinstance(connection.credential, Authorization):
        found.append(
            warning(
                subject,
                f"the token is in {connection.origin} itself, so nothing renews it before it expires",
                "use tokenFile or an exec plugin there instead",
            )
        )
    elif left < _SOON:
        found.append(
            warning(subject, "it should have been renewed by now", "check what writes the token file")
        )
    return found


def _name(own: OwnToken) -> str:
    return (
        own.subject
        if own.subject.isprintable() and len(own.subject) <= 512
        else json.dumps(own.subject[:512])
    )
