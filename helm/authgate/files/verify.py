"""The program of `helm test`: python verify.py URL TOKEN_FILE CA_FILE; an empty argument means no file.

authgate must reject a request without a credential. It must accept a new token, although its policy may deny the
token's account. While authgate is unreachable or unavailable, the program retries for 30 s.
"""

import http.client
import pathlib
import ssl
import sys
import time
from urllib.parse import urlsplit


def ask(url: str, token: str | None, ca_file: str) -> tuple[int, str]:
    """Return the status and the reason of a response."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "https":
        trust = ssl.create_default_context(cafile=ca_file or None)
        trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=5, context=trust
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", parts.path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.headers.get("X-Auth-Reason", "")
    finally:
        connection.close()


def final_answer(url: str, token: str | None, ca_file: str, patience: float = 30.0) -> tuple[int, str]:
    """Retry while authgate is unreachable or answers 503, and return the last answer."""
    end = time.monotonic() + patience
    while True:
        try:
            status, reason = ask(url, token, ca_file)
        except (OSError, http.client.HTTPException) as error:
            status, reason = 0, str(error)
        if status not in (0, 503) or time.monotonic() > end:
            return status, reason
        time.sleep(1)


def main() -> None:
    """Send a request without and one with a token, print the answers, and exit with 1 if one is wrong."""
    url, token_file, ca_file = sys.argv[1:]
    asked: list[tuple[str, str | None, set[tuple[int, str]]]] = [("no token", None, {(401, "no_credential")})]
    if token_file:
        token = pathlib.Path(token_file).read_text(encoding="ascii").strip()
        asked.append(("a token for authgate", token, {(200, ""), (403, "not_allowed"), (403, "denied")}))
    right = True
    for what, sent, expected in asked:
        status, reason = final_answer(url, sent, ca_file)
        good = (status, reason) in expected
        right &= good
        line = f"{'ok' if good else 'WRONG'}: {what}: {status or 'no answer'} {reason}"
        sys.stdout.write(f"{line.rstrip()}\n")
    if not right:
        sys.exit(f"{url} did not answer as expected: see its log, and /readyz?verbose on its admin port")


main()
