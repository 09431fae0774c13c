"""`authgate explain`."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from authgate.cli.explain_record import explain_line
from authgate.cli.settings import ConfigOption, OutputOption, TokenArgument, load_or_fail
from authgate.cli.terminal import (
    DENIED,
    FAILED,
    USAGE,
    Output,
    complain,
    console,
    did_you_mean,
    fail,
    print_data,
    print_rows,
)
from authgate.cli.token_source import read_token
from authgate.text import visible
from authgate.vocabulary import DEFAULT_POLICY

if TYPE_CHECKING:
    from authgate.compose import Generation
    from authgate.config import (
        AccessReviewConfig,
        ClaimsConfig,
        Config,
        EntryConfig,
        PolicyConfig,
        RuleConfig,
    )
    from authgate.model import OriginalRequest
    from authgate.tools.explain import Explanation, KnownIssuer, KnownPolicy

_STYLES: Final = {"pass": "green", "fail": "bold red", "unavailable": "bold yellow"}
_OUTCOMES: Final = {
    0: ("allow", "bold green"),
    DENIED: ("deny", "bold red"),
    FAILED: ("unavailable", "bold yellow"),
}


def explain(
    file: TokenArgument = None,
    config: ConfigOption = None,
    *,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Explain the decision about a request without a token.")
    ] = False,
    record: Annotated[
        str | None,
        typer.Option(
            metavar="LINE|-",
            help="Explain an audit line instead of a token; with -, the one on standard input.",
            show_default=False,
        ),
    ] = None,
    policy: Annotated[str, typer.Option(metavar="NAME", help="The policy that decides.")] = DEFAULT_POLICY,
    path: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="The path of the client's request to the proxy.", show_default=False
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD", help="The method of that request; GET by default.", show_default=False
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="The host of that request.", show_default=False),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show how the gate decides about a token, step by step.

    The decision is the one that /verify would return; a hint shows what would change it. Exit status: 0 allow, 3 deny,
    1 unavailable.

    With --record it explains a line of the audit log, and whether the configuration would decide otherwise now.
    """
    import asyncio

    from authgate.model import OriginalRequest
    from authgate.observability.log import configure
    from authgate.service import CompositionError

    if record is not None:
        if (
            file is not None
            or no_token
            or policy != DEFAULT_POLICY
            or (path, method, host) != (None, None, None)
        ):
            fail("--record needs no FILE, --no-token, --policy, --path, --method or --host", USAGE)
        explain_line(record, config, output)
    if no_token and file is not None:
        fail("give FILE or --no-token, not both", USAGE)
    if str(config) == "-" and file in {None, "-"} and not no_token:
        fail(
            "the token and the configuration cannot both be standard input: name a FILE for one of them",
            USAGE,
        )
    loaded = load_or_fail(config)
    if policy not in loaded.config.policies:
        known = ", ".join(loaded.config.policies)
        hint = did_you_mean(policy, loaded.config.policies)
        fail(f"no policy '{policy}' is configured; choose one of {known}{hint}", USAGE)
    request = OriginalRequest()
    if path is not None:
        if not path.startswith("/"):
            fail(f"--path must begin with a slash, but is {path!r}", USAGE)
        if not _reads_requests(loaded.config.policies[policy]):
            complain(
                f"--path has no effect: policy '{policy}' decides without the request's method, host and path"
            )
        path, _, query = path.partition("?")
        request = OriginalRequest(method or "GET", path, host, query)
    elif method is not None or host is not None:
        fail("--method and --host need --path", USAGE)
    token = None if no_token else read_token(file)
    configure("error", "text")
    try:
        explanation = asyncio.run(explained(loaded.config, token, policy, request))
    except CompositionError as error:
        fail(str(error))
    status = exit_status(explanation)
    if output is not Output.TEXT:
        print_data(_as_json(explanation, _OUTCOMES[status][0]), output)
    else:
        _print(explanation, *_OUTCOMES[status])
    raise typer.Exit(status)


async def explained(
    config: Config, token: str | None, policy: str, request: OriginalRequest | None = None
) -> Explanation:
    """Explain the response of `/verify` to a token, or to no token; raises `CompositionError`.

    `request` is the client's request as the proxy describes it, None if it does not. The gate is the one of `serve`,
    but without a cache, so that every step is taken. Keys are fetched first, as in a gate that has just started.
    """
    import asyncio

    from authgate.compose import Dependencies, compose
    from authgate.credential.sources import padded_credential
    from authgate.model import OriginalRequest
    from authgate.observability.metrics import Metrics
    from authgate.service import SystemClock
    from authgate.tools.explain import explain as explain_decision

    request = request or OriginalRequest()
    clock = SystemClock()
    deps = Dependencies(clock=clock, metrics=Metrics(), environ=os.environ, verify_expired=True)
    generation = await compose(config, deps, cached=False)
    try:
        await asyncio.gather(*(keys.refresh() for keys in generation.key_sets))
        gate = generation.gate
        credentials = [] if token is None else [f"Bearer {token}".encode()]
        if token is not None and any(source.padded for source in config.credential.sources):
            credentials = [padded_credential(token.encode()) or credentials[0]]
        decision = await gate.decide(credentials, policy, request)
        rule = gate.policies[policy].clause_for(request)[0].rule
        known = _known_policy(config, policy, rule)
        return explain_decision(decision, token or "", clock.now(), _known_issuers(config, generation), known)
    finally:
        await generation.close()


def exit_status(explanation: Explanation) -> int:
    """Return 0 for allow, 3 for deny, 1 for unavailable."""
    from authgate.model import Allow, Deny, Unavailable

    match explanation.decision:
        case Allow():
            return 0
        case Deny():
            return DENIED
        case Unavailable():
            return FAILED


def _reads_requests(policy: PolicyConfig) -> bool:
    entries = (*(policy.allow or ()), *(policy.deny or ()))
    return bool(
        policy.rules
        or policy.anonymous
        or policy.access_review
        or any(entry.expression is not None for entry in entries)
    )


def _known_issuers(config: Config, generation: Generation) -> list[KnownIssuer]:
    from authgate.tools.explain import KnownIssuer

    known = []
    for item in config.jwt:
        rules = _required_claims(item)
        known.append(
            KnownIssuer(
                name=item.name,
                urls=item.issuer_names,
                audiences=item.issuer.audiences,
                algorithms=item.gate.algorithms,
                types=item.types,
                claim_rules=rules,
                expressions=tuple(item.expressions()),
                audience_claims=item.gate.audience_claims,
                by_load_balancer=item.gate.alb is not None,
                kids=tuple(sorted(generation.issuers[item.name].kids)),
                claims=tuple((f"claimMappings.{name}.claim", claim) for name, claim in item.mapped_claims()),
            )
        )
    known += [
        KnownIssuer(
            name=server.name,
            urls=() if server.issuer is None else (server.issuer,),
            audiences=server.audiences,
            claim_rules=_required_claims(server),
            expressions=tuple(server.expressions()),
            audience_claims=server.audience_claims,
        )
        for server in config.introspection
    ]
    for cluster in config.clusters:
        api = generation.clusters.apis.get(cluster.name)  # with static keys there is no API
        own = api.own_issuer() if api is not None else None
        urls = dict.fromkeys((*cluster.issuers, *((own,) if own else ())))
        kids = tuple(sorted(generation.clusters.verifiers[cluster.name].kids))
        known.append(
            KnownIssuer(
                name=cluster.name,
                urls=tuple(urls),
                audiences=cluster.audiences,
                is_cluster=api is not None,
                kids=kids,
            )
        )
    return known


def _required_claims(item: ClaimsConfig) -> tuple[str, ...]:
    return tuple(
        f"{rule.claim} = {rule.required_value!r}"
        for rule in item.claim_validation_rules
        if rule.claim is not None
    )


def _known_policy(config: Config, name: str, number: int | None) -> KnownPolicy:
    """Return the lists that decide about a request that matches a rule; `number` is None if no rule matches."""
    from authgate.tools.explain import KnownPolicy

    item = config.policies[name]
    allow, deny, review, rule = item.allow, item.deny, item.access_review, None
    if number is not None:
        decider = item.rules[number]
        rule = f"rules[{number}]: {_line(decider)}"
        deny = deny if decider.deny is None else decider.deny
        if decider.allow is not None or decider.deny is None:
            allow, review = decider.allow, decider.access_review
    return KnownPolicy(
        name=name,
        audiences=item.audiences,
        allow=None if allow is None else tuple(map(_line, allow)),
        deny=tuple(map(_line, deny or ())),
        access_review=None if review is None else _line(review),
        rule=rule,
        headers=(
            *((header.name, header.claim or "") for header in config.headers.set),
            *((header, claim) for claim, header in (item.role.claim_mappings if item.role else {}).items()),
        ),
    )


def _line(model: EntryConfig | RuleConfig | AccessReviewConfig) -> str:
    return model.model_dump_json(by_alias=True, exclude_defaults=True)


def _print(explanation: Explanation, outcome: str, style: str) -> None:
    from rich.text import Text

    out = console()
    for step in explanation.steps:
        shown = step.outcome.value
        line = Text.assemble(
            f"{step.step.value:<12}", (f"{shown:<13}", _STYLES.get(shown, "dim")), visible(step.detail)
        )
        line.rstrip()
        out.print(line)
    out.print()
    out.print(Text.assemble((outcome, style), f": {explanation.status} {explanation.reason}"))
    out.print(f"  {visible(explanation.meaning)}")
    if explanation.facts:
        out.print()
        print_rows(out, ((fact.name, ", ".join(fact.values) or "(none)") for fact in explanation.facts))
    if explanation.remedy:
        out.print()
        out.print(f"to change this: {explanation.remedy}", style="bold")
    out.print()
    out.print(f"for a ticket: {visible(explanation.summary)}")


def _as_json(explanation: Explanation, outcome: str) -> dict[str, Any]:
    evidence = explanation.decision.evidence
    return {
        "verdict": outcome,
        "status": explanation.status,
        "reason": explanation.reason.value,
        "meaning": explanation.meaning,
        "detail": explanation.detail,
        "remedy": explanation.remedy,
        "summary": explanation.summary,
        "steps": [
            {"step": step.step.value, "outcome": step.outcome.value, "detail": step.detail}
            for step in explanation.steps
        ],
        "source": evidence.source,
        "issuer": evidence.issuer_name,
        "key": asdict(evidence.key) if evidence.key else None,
        "facts": {fact.name: list(fact.values) for fact in explanation.facts},
    }
