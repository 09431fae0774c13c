"""Recognize tokens that differ from an earlier, accepted one only in values that cannot change their meaning. Pure.

The tokens of an issuer have few shapes: the same members in the same order, with other values. A template is made from
the payload of a token that was parsed strictly and accepted. A payload matches if strict parsing would return the same
object with other strings and integers in the template's places, so it needs no JSON parser. Its sender is known if all
values that the identity depends on are those of an accepted token. Key, times and signature are checked as always.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from authgate.json_pointer import claim_pointer
from authgate.model import PERSONAL_MARK, Sender, value
from authgate.verify.claims import RegisteredClaims
from authgate.verify.compact import decode_segment
from authgate.verify.weight import weight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from authgate.model import Authenticated, Identity, JSONValue
    from authgate.verify.compact import JOSEHeader, UnverifiedToken

_Path = tuple[str, ...]

_MAX_PAYLOAD: Final = 2048  # bytes of a payload that becomes a template
_MAX_SEGMENT: Final = 2 * _MAX_PAYLOAD  # characters; decoding a longer one would only cost time
_MAX_PLACES: Final = 64
_MAX_TEMPLATES: Final = 8  # for the same header
_MAX_ATTEMPTS: Final = 16  # to make one, for the same header
_MAX_HEADERS: Final = 32
_MAX_SENDERS: Final = 2048
_WINDOW: Final = 256  # new senders after which the benefit is judged
_PAUSE: Final = 8192  # tokens
_MAX_DIGITS: Final = 18
# Strings without escapes, and integers that every parser reads alike. Nothing is tried twice: the time is linear.
_TEXT: Final = rb"[ !#-\[\]-~]*+"
_TEXTS: Final = rb'(?:"' + _TEXT + rb'"(?:,"' + _TEXT + rb'")*+)?+'
_NUMBER: Final = rb"(?:0|[1-9][0-9]{0,%d}+)" % (_MAX_DIGITS - 1)
_WORD: Final = rb"[!#-\[\]-~]{%d,256}+"
_TIMES: Final = (("exp",), ("nbf",), ("iat",))
_ISSUER: Final = ("iss",)
_ALWAYS_SHARED: Final = (_ISSUER, ("aud",), ("_claim_names",), ("_claim_sources",))
_END_OF_TIME: Final = 253402300800  # as in `read_registered`


@dataclass(frozen=True, slots=True)
class IdentityClaims:
    """The claims that an issuer's identities depend on.

    Tokens with the same values under the paths in `shared` have the same sender. The strings at the paths in `personal`
    belong to one token, and must not be empty if `filled`. `rebuild` returns an identity of the sender with other
    personal values, "" for absent ones. Answers show at most the first one.
    """

    shared: tuple[_Path, ...]
    personal: tuple[_Path, ...]
    rebuild: Callable[[Identity, tuple[str, ...]], Identity]
    filled: bool = False

    def with_audiences(self, claims: Iterable[str]) -> IdentityClaims:
        """Return the claims together with those that name the audience."""
        audiences = tuple((claim_pointer(claim).member,) for claim in claims)
        return replace(self, shared=(*_ALWAYS_SHARED, *audiences, *self.shared))


@value
class RecognizedToken:
    """A token of a known sender, neither verified nor checked for its times. Times are POSIX seconds."""

    sender: Sender
    header: JOSEHeader
    personal: bytes
    """The token's personal values, separated by spaces."""
    expires_at: int
    not_before: int | None
    issued_at: int | None
    signing_input: bytes
    signature: bytes
    claims: IdentityClaims
    """Those of the verifier that accepted the sender's tokens. Another verifier must not use this."""

    def registered(self) -> RegisteredClaims:
        """Return the registered claims, without the audiences."""
        begin, issued = self.not_before, self.issued_at
        return RegisteredClaims(
            self.sender.issuer,
            (),
            float(self.expires_at),
            None if begin is None else float(begin),
            None if issued is None else float(issued),
        )


class Recognizer:
    """Learns templates and senders from accepted tokens. All numbers and sizes are limited."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Known] = {}
        """By the text of the header, which names the key."""
        self._senders = 0

    def find(self, token: bytes) -> RecognizedToken | None:
        """Return the token if its sender is known. Any bytes are allowed."""
        first = token.find(b".")
        known = self._known.get(token[:first])
        if known is None or known.pauses():
            return None
        second = token.find(b".", first + 1)
        if second < 0 or second - first > _MAX_SEGMENT:
            return None
        payload = decode_segment(token[first + 1 : second])
        if payload is None:
            return None
        for template in known.templates:
            match = template.match(payload)
            if match is not None:
                signature = decode_segment(token[second + 1 :])
                if not signature:
                    return None
                found = template.recognize(match.groups(b""), token[:second], signature)
                known.found += found is not None
                return found
        return None

    def learn(self, token: UnverifiedToken, verdict: Authenticated, claims: IdentityClaims) -> None:
        """Remember the template and the sender of an accepted token."""
        signed = token.signing_input
        header = signed[: signed.find(b".")]
        known = self._known.get(header)
        if known is not None and known.paused:
            return
        payload = decode_segment(signed[len(header) + 1 :])
        if payload is None or len(payload) > _MAX_PAYLOAD:
            return
        if known is None:
            known = self._known_for(header)
        template = known.template_for(payload, token, claims)
        match = None if template is None else template.match(payload)
        if template is None or match is None:
            return
        if self._senders >= _MAX_SENDERS:
            self._senders = 0
            for each in self._known.values():
                each.forget_senders()
        self._senders += 1
        known.learned_one()
        template.senders[template.shared(match.groups(b""))] = Sender(
            token.registered.issuer,
            verdict.identity,
            claims.rebuild,
            template.marks,
            weight_of(verdict),
        )

    def _known_for(self, header: bytes) -> _Known:
        if len(self._known) >= _MAX_HEADERS:
            del self._known[next(iter(self._known))]  # the oldest
        known = self._known[header] = _Known()
        return known


class _Known:
    """What was learned from the tokens with one header.

    If most of them come from new senders, looking for a known one is a waste of time, and it pauses.
    """

    __slots__ = ("_attempts", "_learned", "found", "paused", "templates")

    def __init__(self) -> None:
        self.templates: list[_Template] = []
        self.found = 0
        self.paused = 0
        self._attempts = 0
        self._learned = 0

    def pauses(self) -> bool:
        """Return whether to skip the search for a known sender of this token, and count one token of the pause."""
        if not self.paused:
            return False
        self.paused -= 1
        return True

    def learned_one(self) -> None:
        """Count a new sender, and start a pause if too few tokens come from known ones."""
        self._learned += 1
        if self._learned < _WINDOW:
            return
        if self.found < _WINDOW // 2:
            self.paused = _PAUSE
            self.forget_senders()
        self._learned = self.found = 0

    def forget_senders(self) -> None:
        """Forget all senders, but not the templates."""
        for template in self.templates:
            template.senders.clear()

    def template_for(
        self, payload: bytes, token: UnverifiedToken, claims: IdentityClaims
    ) -> _Template | None:
        """Return the template of an accepted token, a new one if necessary; None if the token is unusual.

        Making one takes a millisecond, so the number of attempts is limited, too.
        """
        for template in self.templates:
            if template.match(payload) is not None:
                return template if template.claims is claims else None
        if self._attempts >= _MAX_ATTEMPTS or len(self.templates) >= _MAX_TEMPLATES:
            return None
        self._attempts += 1
        made = _template_of(payload, token, claims)
        if made is not None and made.match(payload) is not None:
            self.templates.append(made)
            return made
        return None


class _Template:
    """The shape of a payload. Places are indexes of its captured values."""

    __slots__ = ("_header", "_personal", "_times", "claims", "marks", "match", "senders", "shared")

    def __init__(
        self,
        pattern: bytes,
        header: JOSEHeader,
        claims: IdentityClaims,
        *,
        shared: list[int],
        personal: list[int],
        times: tuple[int, int | None, int | None],
        marks: tuple[str, ...],
    ) -> None:
        self.match = re.compile(pattern).fullmatch
        self.claims = claims
        self.marks = marks
        """Personal values of no token, "" for those that none of the tokens has."""
        self.shared = itemgetter(*shared)
        self._personal = personal
        self._times = times
        self._header = header
        self.senders: dict[Any, Sender] = {}

    def recognize(
        self, values: tuple[bytes, ...], signing_input: bytes, signature: bytes
    ) -> RecognizedToken | None:
        sender = self.senders.get(self.shared(values))
        if sender is None:
            return None
        end, begin, issued = self._times
        expires_at = int(values[end])
        not_before = None if begin is None else int(values[begin])
        issued_at = None if issued is None else int(values[issued])
        if (
            expires_at >= _END_OF_TIME
            or (not_before or 0) >= _END_OF_TIME
            or (issued_at or 0) >= _END_OF_TIME
        ):
            return None
        personal = b" ".join([values[place] for place in self._personal])
        return RecognizedToken(
            sender,
            self._header,
            personal,
            expires_at,
            not_before,
            issued_at,
            signing_input,
            signature,
            self.claims,
        )


class _Writer:
    """Writes the pattern of a payload, and notes the place of each captured value."""

    def __init__(self, claims: IdentityClaims) -> None:
        self._claims = claims
        self.places: dict[_Path, int] = {}
        self.shared: list[int] = []

    def pattern(self, path: _Path, value: JSONValue) -> bytes:
        """Return the pattern of a value at a path."""
        if isinstance(value, dict):
            members = [
                re.escape(_dump(name)) + b":" + self.pattern((*path, name), member)
                for name, member in value.items()
            ]
            return rb"\{" + b",".join(members) + rb"\}"
        if isinstance(value, str):
            if path in self._claims.personal:
                return b'"' + self._capture(path, _WORD % self._claims.filled) + b'"'
            if path == _ISSUER:  # issuers read different claims, so each has its own templates
                return b'"' + self._capture(path, re.escape(_dump(value)[1:-1])) + b'"'
            return b'"' + self._capture(path, _TEXT) + b'"'
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return rb"\[" + self._capture(path, _TEXTS) + rb"\]"
        if type(value) is int and 0 <= value < 10**_MAX_DIGITS:
            return self._capture(path, _NUMBER)
        return re.escape(_dump(value))  # the same in every token of the template

    def _capture(self, path: _Path, pattern: bytes) -> bytes:
        is_shared = any(path[: len(prefix)] == prefix for prefix in self._claims.shared)
        if not is_shared and path not in self._claims.personal and path not in _TIMES:
            return pattern
        if is_shared:
            self.shared.append(len(self.places))
        self.places[path] = len(self.places)
        return b"(" + pattern + b")"


def _template_of(payload: bytes, token: UnverifiedToken, claims: IdentityClaims) -> _Template | None:
    """Return the template of an accepted token, or None if its payload is unusual."""
    members = dict(token.claims.members)
    if _dump(members) != payload:  # other white space, escapes or number formats
        return None
    writer = _Writer(claims)
    pattern = writer.pattern((), members)
    places = writer.places
    if ("exp",) not in places or not writer.shared or len(places) > _MAX_PLACES:
        return None
    for path in _TIMES[1:]:
        if path not in places and path[0] in members:
            return None
    absent = len(places)  # one more captured value, which is always empty
    personal = [places.get(path, absent) for path in claims.personal]
    times = places["exp",], places.get(("nbf",)), places.get(("iat",))
    marks = [PERSONAL_MARK, *["-"] * (len(personal) - 1)]
    known = tuple("" if place == absent else mark for place, mark in zip(personal, marks, strict=True))
    return _Template(
        pattern + b"()",
        token.header,
        claims,
        shared=writer.shared,
        personal=personal,
        times=times,
        marks=known,
    )


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
