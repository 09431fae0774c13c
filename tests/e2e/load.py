"""Runs inside the client's pod: python load.py URL keep|fresh, with a valid token as the first line of its input.

Sends about 200 requests a second on a few connections, alternately with the valid token and with a forged one, until
its input ends. Then it writes the number of answers as JSON: {"good 200": 1000, "forged 401": 1000}. A 503 of a proxy
that cannot reach authgate, and a broken connection, count like other answers.
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
"""Seconds after which it stops by itself."""


class Asker(threading.Thread):
    """The requests of one connection, and the counts of their answers."""

    def __init__(self, url: str, tokens: dict[str, str], stop: threading.Event, *, keep: bool) -> None:
        super().__init__(daemon=True)
        self._url = urlsplit(url)
        self._tokens = tokens
        self._stop_asking = stop
        self._keep = keep
        self.counts: collections.Counter[str] = collections.Counter()

    def run(self) -> None:
        """Send requests until `stop` is set."""
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
    """Start, report the start, wait for the end of the input, and write the counts."""
    url, how = sys.argv[1:]
    good = sys.stdin.readline().strip()
    head, body, signature = good.split(".")
    # Change the first character. The last character of a signature has bits without meaning.
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
