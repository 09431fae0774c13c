"""Runs inside the client's pod: python refusing.py URL..., with a token as the first line of its input.

Sends requests with the token to every URL until each answers 401. Writes "started", and at the end, as JSON, the time
of the first 401 (POSIX seconds) and all statuses of each URL.
"""

import http.client
import json
import sys
import threading
import time
from urllib.parse import urlsplit

PAUSE = 0.005
LIMIT = 120.0
"""Seconds after which it stops by itself."""


def watch(url: str, token: str, seen: dict[str, dict[str, object]]) -> None:
    """Send requests until the answer is 401, and record the time."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    statuses: set[int] = set()
    refused = None
    ends = time.monotonic() + LIMIT
    while refused is None and time.monotonic() < ends:
        connection.request("GET", parts.path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        statuses.add(answer.status)
        if answer.status == http.client.UNAUTHORIZED:
            refused = time.time()
        else:
            time.sleep(PAUSE)
    connection.close()
    seen[url] = {"refused": refused, "statuses": sorted(statuses)}


def main() -> None:
    """Send requests to all URLs in parallel."""
    token = sys.stdin.readline().strip()
    seen: dict[str, dict[str, object]] = {}
    threads = [threading.Thread(target=watch, args=(url, token, seen)) for url in sys.argv[1:]]
    for thread in threads:
        thread.start()
    sys.stdout.write("started\n")
    sys.stdout.flush()
    for thread in threads:
        thread.join()
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
