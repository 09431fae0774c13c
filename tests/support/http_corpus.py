"""Requests of every sort, plain and odd, for comparing two gates byte by byte."""

from __future__ import annotations

from typing import Final

_HOST: Final = "Host: gate\r\n"
_GOOD: Final = "Authorization: Bearer <good>\r\n"


def _get(*fields: str, line: str = "GET /verify HTTP/1.1") -> bytes:
    return (line + "\r\n" + "".join(fields) + "\r\n").encode("latin-1")


def requests(tokens: dict[str, str]) -> dict[str, bytes]:
    """Return the corpus by name, with these tokens: "good", "expired", "forged" and "denied"."""
    found = {}
    for name, template in _CORPUS.items():
        found[name] = template
        for kind, token in tokens.items():
            found[name] = found[name].replace(f"<{kind}>".encode(), token.encode())
    return found


def _forwarded(uri: str, method: str = "GET", host: str = "app.example") -> tuple[str, str, str]:
    return (
        f"X-Original-URI: {uri}\r\n",
        f"X-Original-Method: {method}\r\n",
        f"X-Original-Host: {host}\r\n",
    )


_PREFLIGHT: Final = ("Origin: https://pages.example\r\n", "Access-Control-Request-Method: PUT\r\n")
_RULED: Final = {
    "anonymous": _forwarded("/public/x"),
    "nothing forwarded": (_GOOD,),
    "nothing forwarded, no token": (),
    "staff": (*_forwarded("/staff/a"), _GOOD),
    "staff, a query": (*_forwarded("/staff/a?b=c"), _GOOD),
    "staff, an escape": (*_forwarded("/st%61ff/a"), _GOOD),
    "staff, another method": (*_forwarded("/staff/a", "POST"), _GOOD),
    "staff, an odd method": (*_forwarded("/staff/a", "get"), _GOOD),
    "staff, another host": (*_forwarded("/staff/a", host="other.example"), _GOOD),
    "staff, a host with a port": (*_forwarded("/staff/a", host="APP.example:8443"), _GOOD),
    "staff, odd host": (*_forwarded("/staff/a", host="app,example"), _GOOD),
    "staff, no token": _forwarded("/staff/a"),
    "staff, denied": (*_forwarded("/staff/a"), "Authorization: Bearer <denied>\r\n"),
    "staff, expired": (*_forwarded("/staff/a"), "Authorization: Bearer <expired>\r\n"),
    "not allowed": (*_forwarded("/admin/a"), _GOOD),
    "no rule": (*_forwarded("/elsewhere"), _GOOD),
    "ambiguous": (*_forwarded("/staff/../admin"), _GOOD),
    "ambiguous, taken": (*_forwarded("/raw/a%2fb"), _GOOD),
    "expression on the request": (*_forwarded("/by/jane"), _GOOD),
    "expression on the request, false": (*_forwarded("/by/joe"), _GOOD),
    "expression on claims": (*_forwarded("/claims"), _GOOD),
    "expression fails": (*_forwarded("/fails"), _GOOD),
    "preflight": (*_forwarded("/staff/a", "OPTIONS"), *_PREFLIGHT),
    "incomplete preflight": (*_forwarded("/staff/a", "OPTIONS"), _PREFLIGHT[0]),
    "preflight of another method": (*_forwarded("/staff/a"), *_PREFLIGHT),
    "preflight with a token": (*_forwarded("/staff/a", "OPTIONS"), *_PREFLIGHT, _GOOD),
    "path twice": (*_forwarded("/staff/a"), "X-Original-URI: /staff/a\r\n", _GOOD),
    "method twice": (*_forwarded("/staff/a"), "x-original-method: GET\r\n", _GOOD),
    "host twice": (*_forwarded("/staff/a"), "X-ORIGINAL-HOST: app.example\r\n", _GOOD),
    "path of odd bytes": (*_forwarded("/staff/\xe9"), _GOOD),
    "path with a tab": (*_forwarded("/staff/a\tb"), _GOOD),
    "path with spaces around": (*_forwarded("  /staff/a \t"), _GOOD),
    "no path": (*_forwarded("*"), _GOOD),
    "empty path": (*_forwarded(""), _GOOD),
    "another proxy's fields": ("X-Forwarded-Uri: /staff/a\r\n", "X-Forwarded-Method: GET\r\n", _GOOD),
    "the client's path beside": (*_forwarded("/admin/a"), "X-Forwarded-Uri: /staff/a\r\n", _GOOD),
}

_IDS: Final = {
    "other case": ("x-REQUEST-id:7F000001:8296_7F00001E:1F90_4F7B0A69\r\n",),
    "spaces around": ("X-Request-Id: \t Root=1-67891233-abcdef01 \t\r\n",),
    "longest": (f"X-Request-Id: {'i' * 128}\r\n",),
    "too long": (f"X-Request-Id: {'i' * 129}\r\n",),
    "empty": ("X-Request-Id:\r\n",),
    "twice": ("X-Request-Id: one\r\n", "x-request-id: two\r\n"),
    "a space inside": ("X-Request-Id: one two\r\n",),
    "a tag": ("X-Request-Id: <b>one</b>\r\n",),
    "a quote": ('X-Request-Id: one"\r\n',),
    "a list": ("X-Request-Id: one,two\r\n",),
    "twice, written alike": ("X-Request-Id: one\r\n", "X-Request-Id: two\r\n"),
    "like a credential": ("X-Request-Id: Authorization: Bearer <good>\r\n",),
    "odd bytes": ("X-Request-Id: on\xe9\r\n",),
    "like a JWT": ("X-Request-Id: eyJhbGciOiJFUzI1NiJ9.e30.c2ln\r\n",),
}

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_TARGETS: Final = (
    "/verify",
    "/verify/",
    "/verify/a/b?c=d&e=%20",
    "/verify/%2e%2e/x;y=z,@:!$'()*+~",
    "/policies/default/verify",
    "/policies/open/verify/x?y",
)
_PROXIES: Final = {
    "nginx": (
        "X-Original-URI: /app/page?x=1\r\n",
        "X-Original-Method: POST\r\n",
        "X-Original-Host: app.example\r\n",
        "X-Forwarded-For: 192.0.2.7\r\n",
        "User-Agent: curl/8.0\r\n",
        "Accept: */*\r\n",
    ),
    "traefik": (
        "X-Forwarded-Method: GET\r\n",
        "X-Forwarded-Proto: https\r\n",
        "X-Forwarded-Host: app.example\r\n",
        "X-Forwarded-Uri: /app\r\n",
        "X-Forwarded-For: 192.0.2.7\r\n",
        "Accept-Encoding: gzip, deflate, br\r\n",
        "Accept-Language: en-GB,en;q=0.9\r\n",
    ),
    "envoy": (
        "X-Request-Id: 7e0d2a4c-9b1f-4a8f-8f0a-0d7c1f3b2a11\r\n",
        "X-Envoy-Internal: true\r\n",
        "Content-Length: 0\r\n",
        "Content-Type: application/json; charset=utf-8\r\n",
    ),
    "tracing": (
        "X-Request-Id: 0123456789abcdef0123456789abcdef\r\n",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
    ),
    "browser": (
        'Sec-CH-UA: "Chromium";v="140", "Not)A;Brand";v="8"\r\n',
        "Cookie: session=abc; theme=dark\r\n",
        "Referer: https://app.example/a?b=c#d\r\n",
        'If-None-Match: "x"\r\n',
        "Cache-Control: max-age=0\r\n",
    ),
    "odd but plain": (
        "X-Empty:\r\n",
        "x-blanks:  \t a \t b \t\r\n",
        "X-Signs: !#$%&'*+-.^_`|~()<>@,;:\\\"/[]?={}\r\n",
        "X_Underscore: 1\r\n",
        "1: 2\r\n",
    ),
}
_ACCEPTED: Final = {
    **{
        f"{method} {target}": (f"{method} {target} HTTP/1.1", ())
        for method in _METHODS
        for target in _TARGETS
    },
    **{f"as {name} sends it": ("GET /verify HTTP/1.1", fields) for name, fields in _PROXIES.items()},
    **{
        f"{name} connection": ("GET /verify HTTP/1.1", (f"Connection: {name}\r\n",))
        for name in ("keep-alive", "Keep-Alive", "close", "keep-alive, close", "TE, keep-alive")
    },
}
_FORMS: Final = (
    "GET https://gate:1/policies/open/verify",
    "GET HTTP://gate/verify",
    "GET foo:http://x/verify/../admin",
    "GET foo:/verify",
    "GET //gate/verify",
    "GET *",
    "GET verify",
    "GET ?/verify",
    "CONNECT /verify",
    "CONNECT foo",
    "HEAD http://gate/verify",
)
_UNSENT: Final = {
    "length": ("Content-Length: 5\r\n",),
    "as long as the next request's beginning": ("Content-Length: 22\r\n",),
    "chunked": ("Transfer-Encoding: chunked\r\n",),
    "expect": ("Expect: 100-continue\r\n", "Content-Length: 5\r\n"),
    "huge": ("Content-Length: 99999999999\r\n",),
}

_CORPUS: Final = {
    **{
        f"accepted: {name}": _get(_HOST, *fields, _GOOD, line=line)
        for name, (line, fields) in _ACCEPTED.items()
    },
    **{f"form: {line}": _get(_HOST, _GOOD, line=f"{line} HTTP/1.1") for line in _FORMS},
    **{
        f"body not sent, {method}: {name}": _get(_HOST, *fields, _GOOD, line=f"{method} /verify HTTP/1.1")
        for name, fields in _UNSENT.items()
        for method in ("GET", "POST")
    },
    "good": _get(_HOST, _GOOD),
    "good, other case": _get("hOST: gate\r\n", _GOOD.replace("Authorization", "AUTHORIZATION")),
    "scheme in other case": _get(_HOST, _GOOD.replace("Bearer", "bEARER")),
    "more spaces": _get(_HOST, _GOOD.replace("Bearer ", "Bearer    ")),
    "space at the end": _get(_HOST, _GOOD.replace("\r\n", "  \t\r\n")),
    "no space after the colon": _get(_HOST, _GOOD.replace(": ", ":")),
    "space before the colon": _get(_HOST, _GOOD.replace(": ", " : ")),
    "expired": _get(_HOST, "Authorization: Bearer <expired>\r\n"),
    "forged": _get(_HOST, "Authorization: Bearer <forged>\r\n"),
    "denied": _get(_HOST, "Authorization: Bearer <denied>\r\n"),
    "garbage": _get(_HOST, "Authorization: Bearer x.y.z\r\n"),
    "opaque": _get(_HOST, "Authorization: Bearer abc\r\n"),
    "basic": _get(_HOST, "Authorization: Basic abc\r\n"),
    "empty": _get(_HOST, "Authorization:\r\n"),
    "none": _get(_HOST),
    "twice": _get(_HOST, _GOOD, _GOOD),
    "too long": _get(_HOST, f"Authorization: Bearer {'a' * 2049}\r\n"),
    "control byte": _get(_HOST, "Authorization: Bearer a\x01b\r\n"),
    "high byte": _get(_HOST, "Authorization: Bearer a\xffb\r\n"),
    "high byte elsewhere": _get(_HOST, _GOOD, "X-Name: \xe9\r\n"),
    "no host": _get(_GOOD),
    "two hosts": _get(_HOST, _HOST, _GOOD),
    "empty host": _get("Host:\r\n", _GOOD),
    "two user agents": _get(_HOST, "User-Agent: a\r\n", "User-Agent: b\r\n", _GOOD),
    "http/1.0": _get(_HOST, _GOOD, line="GET /verify HTTP/1.0"),
    "http/1.0 keep-alive": _get(_HOST, "Connection: keep-alive\r\n", _GOOD, line="GET /verify HTTP/1.0"),
    "http/1.2": _get(_HOST, _GOOD, line="GET /verify HTTP/1.2"),
    "http/2.0": _get(_HOST, _GOOD, line="GET /verify HTTP/2.0"),
    "close": _get(_HOST, "Connection: close\r\n", _GOOD),
    "keep-alive": _get(_HOST, "Connection: keep-alive\r\n", _GOOD),
    "connection of odd content": _get(_HOST, "Connection: x-name\r\n", _GOOD),
    "upgrade": _get(_HOST, "Connection: Upgrade\r\n", "Upgrade: websocket\r\n", _GOOD),
    "expect": _get(_HOST, "Expect: 100-continue\r\n", "Content-Length: 3\r\n", _GOOD) + b"abc",
    "length zero": _get(_HOST, "Content-Length: 0\r\n", _GOOD),
    "length twice": _get(_HOST, "Content-Length: 0\r\n", "Content-Length: 0\r\n", _GOOD),
    "length and body": _get(_HOST, "Content-Length: 3\r\n", _GOOD, line="POST /verify HTTP/1.1") + b"abc",
    "length without body": _get(_HOST, "Content-Length: 3\r\n", _GOOD, line="POST /verify HTTP/1.1"),
    "chunked": _get(_HOST, "Transfer-Encoding: chunked\r\n", _GOOD, line="POST /verify HTTP/1.1")
    + b"3\r\nabc\r\n0\r\n\r\n",
    "both framings": _get(_HOST, "Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\n", _GOOD)
    + b"0\r\n\r\n",
    "folded": _get(_HOST, "X-Name: a\r\n b\r\n", _GOOD),
    "bare line feeds": _get(_HOST, _GOOD).replace(b"\r\n", b"\n"),
    "bare carriage return": _get(_HOST, _GOOD, "X-Name: a\rb\r\n"),
    "carriage return in the token": _get(_HOST, "Authorization: Bearer <good>\rb\r\n"),
    "carriage return behind the token": _get(_HOST, "Authorization: Bearer <good>\r\r\n"),
    "line feed in the token": _get(_HOST, "Authorization: Bearer <good>\nb\r\n"),
    "control byte in the token": _get(_HOST, "Authorization: Bearer <good>\x01\r\n"),
    "token first": _get(_GOOD, _HOST),
    "token in lower case": _get(_HOST, "authorization: Bearer <good>\r\n"),
    "token in both cases": _get(_HOST, "authorization: Bearer <expired>\r\n", _GOOD),
    "token first and empty line first": b"\r\n" + _get(_GOOD, _HOST),
    "carriage return in the id": _get(_HOST, _GOOD, "X-Request-Id: one\rtwo\r\n"),
    "carriage return behind the id": _get(_HOST, _GOOD, "X-Request-Id: one\r\r\n"),
    "line feed in the id": _get(_HOST, _GOOD, "X-Request-Id: one\nX-Request-Id: two\r\n"),
    "id behind an empty line": _get(_HOST, _GOOD, "\r\nX-Request-Id: one\r\n"),
    "token behind an empty line": _get(_HOST, "\r\n", _GOOD),
    "empty line first": b"\r\n" + _get(_HOST, _GOOD),
    "absolute form": _get(_HOST, _GOOD, line="GET http://gate/verify HTTP/1.1"),
    "asterisk": _get(_HOST, _GOOD, line="OPTIONS * HTTP/1.1"),
    "connect": _get(_HOST, _GOOD, line="CONNECT gate:80 HTTP/1.1"),
    "unknown method": _get(_HOST, _GOOD, line="BREW /verify HTTP/1.1"),
    "lower-case method": _get(_HOST, _GOOD, line="get /verify HTTP/1.1"),
    "head": _get(_HOST, _GOOD, line="HEAD /verify HTTP/1.1"),
    "delete": _get(_HOST, _GOOD, line="DELETE /verify/a/b?c=d HTTP/1.1"),
    "fragment": _get(_HOST, _GOOD, line="GET /verify#x HTTP/1.1"),
    "escapes": _get(_HOST, _GOOD, line="GET /verify/%2e%2E/%zz HTTP/1.1"),
    "high byte in the path": _get(_HOST, _GOOD, line="GET /verify/\xe9 HTTP/1.1"),
    "two spaces": _get(_HOST, _GOOD, line="GET  /verify HTTP/1.1"),
    "unknown path": _get(_HOST, _GOOD, line="GET /verifyx HTTP/1.1"),
    "policy": _get(_HOST, _GOOD, line="GET /policies/open/verify HTTP/1.1"),
    "unknown policy": _get(_HOST, _GOOD, line="GET /policies/nope/verify HTTP/1.1"),
    "open path": _get(_HOST, "X-Original-URI: /healthz\r\n", line="GET /policies/open/verify HTTP/1.1"),
    "open path with a token": _get(
        _HOST, "X-Original-URI: /healthz\r\n", _GOOD, line="GET /policies/open/verify HTTP/1.1"
    ),
    **{
        f"rules: {name}": _get(_HOST, *fields, line="GET /policies/rules/verify HTTP/1.1")
        for name, fields in _RULED.items()
    },
    **{f"id: {name}": _get(_HOST, *fields, _GOOD) for name, fields in _IDS.items()},
    "id: denied": _get(_HOST, *_IDS["longest"], "Authorization: Bearer <denied>\r\n"),
    "id: expired": _get(_HOST, *_IDS["longest"], "Authorization: Bearer <expired>\r\n"),
    "id: rules": _get(
        _HOST, *_IDS["longest"], *_forwarded("/staff/a"), _GOOD, line="GET /policies/rules/verify HTTP/1.1"
    ),
    "id: unknown path": _get(_HOST, *_IDS["longest"], line="GET /verifyx HTTP/1.1"),
    "id: not a path": _get(_HOST, *_IDS["longest"], line="OPTIONS * HTTP/1.1"),
    "many fields": _get(_HOST, _GOOD, *(f"X-{number}: 1\r\n" for number in range(14))),
    "too many fields": _get(_HOST, _GOOD, *(f"X-{number}: 1\r\n" for number in range(15))),
    "just short enough": _get(_HOST, _GOOD, f"X-Fill: {'f' * 2500}\r\n"),
    "too large": _get(_HOST, _GOOD, f"X-Fill: {'f' * 4090}\r\n"),
    "bad name": _get(_HOST, _GOOD, "X Name: 1\r\n"),
    "no colon": _get(_HOST, _GOOD, "Name\r\n"),
    "empty name": _get(_HOST, _GOOD, ": 1\r\n"),
    "not complete": _get(_HOST, _GOOD)[:-2],
    "no http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
