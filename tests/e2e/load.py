"""Runs inside the client's pod: python load.py URL keep|fresh, with a good token as its input's first line.

Asks with the good token and with a forged one by turns, on a few connections, some 200 times a second, until its
input ends. Then it writes how often each was answered how, as JSON: {"good 200": 1000, "forged 401": 1000}. A proxy
that loses the gate answers 503, which is counted like any other answer; so is a connection that breaks.
"""

import collections
import http.client
import json
import sys
import threading
import time
from urllib.parse import urlsplit

CONNECTIONS = 4
PAUSE = 0.02
LIMIT = 180.0
"""Seconds after which it ends by itself."""


class Asker(threading.Thread):
    """One connection's worth of requests, and the counts of their answers."""

    def __init__(self, url: str, tokens: dict[str, str], stop: threading.Event, *, keep: bool) -> None:
        super().__init__(daemon=True)
        self._url = urlsplit(url)
        self._tokens = tokens
        self._stop_asking = stop
        self._keep = keep
        self.counts: collections.Counter[str] = collections.Counter()

    def run(self) -> None:
        """Send requests until `stop` is called."""
        connection = self._connection()
        while not self._stop_asking.is_set():
            for kind, token in self._tokens.items():
                try:
                    connection.request(
                        "GET", self._url.path or "/", headers={"Authorization": f"Bearer {token}"}
                    )
                    answer = connection.getresponse()
                    answer.read()
                    seen = str(answer.status)
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    seen = type(error).__name__
                self.counts[f"{kind} {seen}"] += 1
                if not self._keep:
                    connection.close()
                time.sleep(PAUSE)
        connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._url.hostname or "", self._url.port, timeout=10)


def main() -> None:
    """Start, say so, wait for the end of the input, and write the counts."""
    url, how = sys.argv[1:]
    good = sys.stdin.readline().strip()
    head, body, signature = good.split(".")
    # Another first character: the last one of a signature has bits that mean nothing.
    forged = f"{head}.{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    stop = threading.Event()
    timer = threading.Timer(LIMIT, stop.set)
    timer.daemon = True
    timer.start()
    askers = [
        Asker(url, {"good": good, "forged": forged}, stop, keep=how == "keep") for _ in range(CONNECTIONS)
    ]
    for asker in askers:
        asker.start()
    sys.stdout.write("started\n")
    sys.stdout.flush()
    sys.stdin.read()
    stop.set()
    total: collections.Counter[str] = collections.Counter()
    for asker in askers:
        asker.join(15)
        total += asker.counts
    json.dump(total, sys.stdout)


if __name__ == "__main__":
    main()
