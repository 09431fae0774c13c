"""The file of `authgate policy test`: requests, and the decisions that are expected."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path as FilesystemPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from authgate.config.format import shape_of
from authgate.config.models.fields import ConfigModel, Label, Many, Matching, Text, as_tuple
from authgate.config.models.files import FilePath, input_name, read_input
from authgate.config.problems import ConfigError, Problem, dotted
from authgate.config.reading.yaml_file import parse_yaml
from authgate.config.validation import validate
from authgate.errors import REASONS
from authgate.vocabulary import DEFAULT_POLICY

_ServiceAccount = Annotated[
    Text, Matching(r"[a-z0-9-]{1,63}/[a-z0-9.-]{1,253}", 'must be "namespace/name", such as "prod/web"')
]
_STATUS = {reason.value: info.status for reason, info in REASONS.items()}


def _expectation(text: str) -> str:
    if text not in {"allow", "deny", *_STATUS}:
        raise ValueError("must be allow, deny or a reason code, such as not_allowed")
    return text


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a date and time, such as 2026-01-31T12:00:00Z") from None
    return text


def _as_json(value: object) -> object:
    """Return parsed YAML with lists instead of tuples, as JSON has them."""
    match value:
        case dict():
            return {name: _as_json(member) for name, member in value.items()}
        case tuple() | list():
            return [_as_json(item) for item in value]
        case _:
            return value


class AskingIdentity(ConfigModel):
    """A verified identity that sends a request."""

    user: Text | None = Field(
        default=None, description="The full user name. Set either this or serviceAccount."
    )
    service_account: _ServiceAccount | None = Field(
        default=None,
        description='A ServiceAccount as "namespace/name", with the groups of every ServiceAccount.',
    )
    groups: Many[Text] = Field(default=(), description="Additional groups, in full.")
    issuer: Label | None = Field(
        default=None,
        description="The name of a jwt issuer or of a cluster; null: the only one, or the first cluster.",
    )
    audiences: Many[Text] | None = Field(
        default=None, description="The audiences of the token, of those that are accepted; null: all."
    )

    @model_validator(mode="after")
    def _has_one_kind_of_identity(self) -> AskingIdentity:
        if (self.user is None) == (self.service_account is None):
            raise ValueError("needs either user or serviceAccount")
        return self


class AskedRequest(ConfigModel):
    """What the client sends to the proxy."""

    method: Text | None = Field(default="GET", description="The method; null: the proxy does not send it.")
    host: Text | None = Field(
        default="app.example", description="The host; null: the proxy does not send it."
    )
    path: Text | None = Field(
        default="/", description="The path with its query, undecoded; null: the proxy does not send it."
    )


class PolicyTest(ConfigModel):
    """A request and the expected decision; without identity and claims the request has no token."""

    name: Text = Field(description="A short description of the test.")
    policy: Text = Field(default=DEFAULT_POLICY, description="The policy that decides.")
    identity: AskingIdentity | None = Field(default=None, description="The verified identity.")
    claims: Annotated[dict[str, Any], BeforeValidator(_as_json)] | None = Field(
        default=None,
        description="The claims of the token, with iss, instead of an identity; mappings and rules are applied.",
    )
    request: AskedRequest = Field(default_factory=AskedRequest, description="The original request.")
    now: Annotated[Text, AfterValidator(_moment)] | None = Field(
        default=None, description="The time of the request, with the offset from UTC; null: now."
    )
    access_review: Literal["allow", "deny"] | None = Field(
        default=None,
        description="The decision of the cluster's access review; null: there must be no review.",
    )
    expect: Annotated[Text, AfterValidator(_expectation)] = Field(
        description="allow, deny, or the reason code of the decision."
    )

    @model_validator(mode="after")
    def _has_identity_or_claims(self) -> PolicyTest:
        if self.identity is not None and self.claims is not None:
            raise ValueError("needs either identity or claims, or neither for a request without a token")
        return self

    def at(self) -> float | None:
        """Return when the request is sent, in POSIX seconds; without an offset the time is UTC."""
        if self.now is None:
            return None
        moment = datetime.fromisoformat(self.now)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

    def is_met_by(self, reason: str) -> bool:
        """Return whether a decision with this reason code is as expected; a 503 is neither allow nor deny."""
        if self.expect in _STATUS:
            return reason == self.expect
        status = _STATUS[reason]
        return status == 200 if self.expect == "allow" else 400 <= status < 500


class PolicyTests(ConfigModel):
    """A table of requests and decisions."""

    config: FilePath | None = Field(
        default=None,
        description="The configuration, relative to this file; null: that of --config.",
    )
    tests: Annotated[
        tuple[PolicyTest, ...], Field(min_length=1, max_length=10_000), BeforeValidator(as_tuple)
    ] = Field(description="The requests with the expected decisions.")


def load_policy_tests(path: FilesystemPath) -> PolicyTests:
    """Load a table from a file, or from standard input for `-`; raises ConfigError with every problem at once."""
    name = input_name(path)
    try:
        document = parse_yaml(read_input(path))
    except ValueError as error:
        raise ConfigError([Problem(name, str(error))]) from None
    if isinstance(document, Problem):
        raise ConfigError([Problem(name, document.message, document.value, line=document.line)])
    outcome = validate(document.value, PolicyTests, shape_of(PolicyTests))
    if isinstance(outcome, PolicyTests) and not document.problems:
        return outcome
    found = [*document.problems]
    for finding in () if isinstance(outcome, PolicyTests) else outcome:
        ends = (finding.path[:end] for end in range(len(finding.path), -1, -1))
        line = next((document.lines[end] for end in ends if end in document.lines), None)
        place = dotted(finding.path) or name
        found.append(Problem(place, finding.message, finding.value, finding.suggestion, line=line))
    raise ConfigError(found)
