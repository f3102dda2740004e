"""One customer that sends requests at a fixed rate: a process of its own, which this file also runs as.

It uses the standard library alone, so that it starts at once.
"""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from urllib.parse import urlsplit

_THREADS = 8
_SECONDS = 30
_NONCES, _ATTESTATIONS = "/v1/nonces", "/v1/attestations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """Describe the flood. Each request has the next headers of `spoofed`, in turn."""

    url: str
    address: str
    key: str
    seconds: float
    rate: int = 100
    #: Names and values. A name may occur twice.
    spoofed: Sequence[Sequence[tuple[str, str]]] = ((),)
    #: The paths of a background-check backend instead of those of the verifier.
    is_for_backend: bool = False


@dataclass(slots=True, kw_only=True)
class Flooded:
    """How many answers of each path had each status and code, and how long the flood took."""

    seconds: float = 0.0
    answers: Counter[tuple[str, int, str]] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        return self.answers.total() / self.seconds

    def codes(self, path: str) -> Counter[tuple[int, str]]:
        return Counter({key[1:]: number for key, number in self.answers.items() if key[0] == path})


@contextmanager
def flooding(flood: Flood) -> Iterator[Flooded]:
    """Start the process. Its counts are complete after the context, which ends with the process."""
    process = subprocess.Popen(
        [sys.executable, "-I", __file__, json.dumps(asdict(flood))], stdout=subprocess.PIPE, text=True
    )
    result = Flooded()
    try:
        yield result
        out, _ = process.communicate(timeout=flood.seconds + _SECONDS)
    finally:
        process.kill()
        process.wait(_SECONDS)
        if process.stdout is not None:
            process.stdout.close()
    told = json.loads(out)
    assert (process.returncode, told["broken"]) == (0, [])
    result.seconds = told["seconds"]
    result.answers.update({(path, status, code): number for path, status, code, number in told["answers"]})


class _Sender:
    """Send every request whose number is the thread's, when it is due."""

    def __init__(self, flood: Mapping[str, object], started: float) -> None:
        self._flood = flood
        self._started = started
        self._spoofed: list[list[list[str]]] = list(flood["spoofed"])  # type: ignore[call-overload]  # a list in JSON
        self._session: object = ""
        self.answers: Counter[tuple[str, int, str]] = Counter()
        self.broken: list[str] = []

    def run(self, first: int) -> None:
        rate, seconds = float(str(self._flood["rate"])), float(str(self._flood["seconds"]))
        parts = urlsplit(str(self._flood["url"]))
        source = (str(self._flood["address"]), 0)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_SECONDS, source_address=source)
        number = first
        try:
            while (due := number / rate) < seconds:
                time.sleep(max(0.0, self._started + due - time.monotonic()))  # which keeps the rate
                self._send(connection, number // _THREADS, number)
                number += _THREADS
        except Exception as error:  # noqa: BLE001 - of any kind: the test looks at them
            self.broken.append(repr(error))
        finally:
            connection.close()

    def _send(self, connection: HTTPConnection, turn: int, number: int) -> None:
        path, body = self._next(turn)
        data = json.dumps(body).encode()
        connection.putrequest("POST", path)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(data)))
        if self._flood["key"]:
            connection.putheader("Authorization", f"Bearer {self._flood['key']}")
        for name, value in self._spoofed[number % len(self._spoofed)]:
            connection.putheader(name, value)
        connection.endheaders(data)
        response = connection.getresponse()
        answer = json.loads(response.read())
        self._session = answer.get("session", self._session)
        self.answers[path, response.status, str(answer.get("code", ""))] += 1

    def _next(self, turn: int) -> tuple[str, Mapping[str, object]]:
        is_first = turn % 2 == 0
        if self._flood["is_for_backend"]:
            evidence = {"session": self._session, "encoding": "pkcs7", "signature": "AAAA"}
            return ("/challenges", {}) if is_first else ("/licenses", evidence)
        return (_NONCES, {}) if is_first else (_ATTESTATIONS, {"encoding": "pkcs7", "signature": "AAAA"})


def _main(flood: Mapping[str, object]) -> None:
    started = time.monotonic()
    senders = [_Sender(flood, started) for _ in range(_THREADS)]
    threads = [threading.Thread(target=sender.run, args=(number,)) for number, sender in enumerate(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = sum((sender.answers for sender in senders), Counter())
    told = {
        "seconds": time.monotonic() - started,
        "answers": [[*key, number] for key, number in answers.items()],
        "broken": [fault for sender in senders for fault in sender.broken],
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
