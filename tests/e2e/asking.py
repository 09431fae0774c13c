"""Runs inside the client's pod: reads requests as JSON from standard input, and writes the answers as JSON.

A request is {"url", "token", "headers"}. An answer is {"status", "headers", "body"}; its status is 0 if the request
failed.
"""

import http.client
import json
import sys
from urllib.parse import urlsplit


def ask(url: str, token: str | None, headers: dict[str, str]) -> dict[str, object]:
    """Return the answer to a GET."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request(
            "GET",
            parts.path or "/",
            headers=headers | ({"Authorization": f"Bearer {token}"} if token else {}),
        )
        answer = connection.getresponse()
        body = answer.read().decode("utf-8", "replace")
        return {
            "status": answer.status,
            "headers": {name.lower(): value for name, value in answer.getheaders()},
            "body": body,
        }
    except (OSError, http.client.HTTPException) as error:
        return {"status": 0, "headers": {}, "body": repr(error)}
    finally:
        connection.close()


if __name__ == "__main__":
    requests = json.load(sys.stdin)
    json.dump([ask(r["url"], r["token"], r["headers"]) for r in requests], sys.stdout)
