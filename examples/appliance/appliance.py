"""An appliance on a customer's VM: it runs while the VM is licensed, and for a grace time while the verifier is down.

    GET /healthz  ->  200 {"state": "licensed" or "grace", "until": ...}, or 503 {"state": "stopped", "until": null}

The agent runs beside it: `imds-attest.pyz --token --watch --output TOKEN_FILE --status STATUS_FILE` and more options.

    pip install imds-verifier-relying-party
    VERIFIER_JWKS=https://verifier.example.com/.well-known/jwks.json TOKEN_ISSUER=https://verifier.example.com \
    TOKEN_AUDIENCE=contoso TENANT=contoso POLICY=appliance APPLIANCE_GRACE_SECONDS=86400 \
    TOKEN_FILE=/run/imds-attest/token STATUS_FILE=/run/imds-attest/status STATE_FILE=/var/lib/appliance/state \
    python appliance.py

README.md says what this protects, and what it cannot protect on a machine that the vendor does not own.
"""

import json
import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from verifier.relying_party import MemoryReplayStore, NotVerified, ResultVerifier, VerifiedMachine

#: The customer can edit the environment, so the vendor bounds the grace time here.
MAX_GRACE_SECONDS = 7 * 24 * 3600
#: Refusals of the license. Other refusals may come from a rotation of Azure's CAs: they count as an outage.
DENIALS = frozenset({"policy-denied"})
#: Not the start of the epoch: a clock that shows 1970 must not be within a grace time.
NEVER = datetime.min.replace(tzinfo=UTC)
TICK_SECONDS = 5.0
MAX_FILE_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Hold what the appliance remembers over restarts.

    `licensed_until` is the end of the last token that was verified, `latest` is the latest time seen, and `denied`
    tells whether the verifier denies the license.
    """

    vm_id: str
    licensed_until: datetime = NEVER
    latest: datetime = NEVER
    denied: bool = False


class License:
    """Decide whether the appliance may run. It reads no clock and no file."""

    def __init__(self, *, vm_id: str, grace_seconds: int, record: Record | None = None) -> None:
        if not 0 <= grace_seconds <= MAX_GRACE_SECONDS:
            raise ValueError(f"The grace time must be 0 to {MAX_GRACE_SECONDS} seconds.")
        self._grace = timedelta(seconds=grace_seconds)
        # The disk may be a copy of another VM's. The record of that VM grants no license here.
        self.record = record if record and record.vm_id == vm_id.lower() else Record(vm_id=vm_id.lower())

    def accept(self, machine: VerifiedMachine) -> bool:
        """Extend the license to the end of a verified token. Return False if the token is of another VM."""
        if machine.vm_id.lower() != self.record.vm_id:
            return False
        self.record = replace(self.record, licensed_until=max(self.record.licensed_until, machine.token_expires_at))
        return True

    def observe(self, now: datetime, *, denied: bool | None) -> None:
        """Record the time, and whether the verifier denies the license. None means that it is unavailable."""
        before = self.record
        denied = before.denied if denied is None else denied
        self.record = replace(before, latest=max(before.latest, now), denied=denied)

    def decide(self, now: datetime) -> tuple[str, datetime | None]:
        """Return the state and its end: `licensed`, `grace`, or `stopped` without an end."""
        end = self.record.licensed_until
        if now < end:
            return "licensed", end
        # A denial leaves the token valid until its end, and takes the grace after it.
        end += timedelta(0) if self.record.denied else self._grace
        return ("grace", end) if now < end else ("stopped", None)


class Clock:
    """Return a time that never goes back, also over restarts: it starts at `latest`. Threads may share it.

    If the wall clock is set back, the monotonic clock counts on from the latest time.
    """

    def __init__(
        self,
        latest: datetime,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._latest, self._read_at, self._wall, self._monotonic = latest.timestamp(), monotonic(), wall, monotonic
        self._lock = threading.Lock()

    def now(self) -> datetime:
        with self._lock:
            monotonic = self._monotonic()
            self._latest = max(self._wall(), self._latest + monotonic - self._read_at)
            self._read_at = monotonic
            return datetime.fromtimestamp(self._latest, UTC)


def read_text(file: Path) -> str:
    """Return the start of a file. Raises OSError."""
    # A named pipe in place of the file must not block.
    with open(file, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as stream:
        return (stream.read(MAX_FILE_BYTES) or b"").decode("ascii", "replace").strip()


def read_denied(file: Path) -> bool | None:
    """Return whether the agent's last attempt was denied, or None if it failed for another reason."""
    with suppress(OSError, ValueError, RecursionError):
        match json.loads(read_text(file)):
            case {"exitCode": 0}:
                return False
            case {"code": str(code)} if code in DENIALS:
                return True
    return None


def read_record(file: Path) -> Record | None:
    """Return the record, or None if there is no file. Raises ValueError and OSError."""
    try:
        fields = json.loads(read_text(file))
        return Record(
            vm_id=fields["vm_id"],
            licensed_until=datetime.fromisoformat(fields["licensed_until"]).astimezone(UTC),
            latest=datetime.fromisoformat(fields["latest"]).astimezone(UTC),
            denied=fields["denied"] is not False,
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise ValueError(f"{file} is corrupt. Remove it: there is no grace before the next valid token.") from error


def write_record(file: Path, record: Record) -> None:
    """Replace the file atomically. Raises OSError: an appliance that cannot remember its end must not run."""
    part = file.with_name(f".{file.name}.new")
    with open(part, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
        json.dump(asdict(record), stream, default=datetime.isoformat)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)


def read_vm_id(imds: str) -> str:
    """Return the vmId of this VM. Raises OSError. IMDS must not be asked through a proxy."""
    url = f"{imds}/metadata/instance/compute/vmId?api-version=2020-09-01&format=text"
    request = urllib.request.Request(url, headers={"Metadata": "true"})  # noqa: S310 - an address of the vendor
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            # `read` takes all that follows a chunk of a negative size.
            return str(answer.read1(64).decode("ascii", "replace").strip())
    except (OSError, HTTPException, ValueError) as error:
        raise OSError(f"IMDS at {imds} does not return the vmId: {error}") from error


class Appliance:
    """Follow the files of the agent, and log each change of the state."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        files = (Path(settings[name]) for name in ("TOKEN_FILE", "STATUS_FILE", "STATE_FILE"))
        self._token, self._status, self._state = files
        grace = settings["APPLIANCE_GRACE_SECONDS"]
        if not grace.isdecimal():
            raise ValueError(f"APPLIANCE_GRACE_SECONDS is {grace!r}. It must be a number of seconds.")
        record = read_record(self._state)
        self._license = License(
            vm_id=read_vm_id(settings.get("IMDS", "http://169.254.169.254")),
            grace_seconds=int(grace),
            record=record,
        )
        self._clock = Clock(record.latest if record else NEVER)
        self._results = ResultVerifier(
            issuer=settings["TOKEN_ISSUER"],
            audience=settings["TOKEN_AUDIENCE"],
            tenant=settings["TENANT"],
            policies=[settings["POLICY"]],
            jwks=settings["VERIFIER_JWKS"],
            replay_store=MemoryReplayStore(),
            clock=self._clock.now,
        )
        self._accepted: str | None = None
        self._problem = self._logged = ""
        self._lock = threading.Lock()

    def decide(self) -> tuple[str, datetime | None]:
        """Decide anew for each request, so that no answer outlives the license. Log each change."""
        with self._lock:
            state, until = self._license.decide(self._clock.now())
            reason = f": {self._problem}" if self._problem else ""
            if state + reason != self._logged:
                log(f"{state} until {until:%Y-%m-%dT%H:%M:%SZ}{reason}" if until else state + reason)
                self._logged = state + reason
        return state, until

    def tick(self) -> None:
        """Read the files of the agent and write the state file. Raises OSError if that cannot be written."""
        problem = self._read_token()
        self._license.observe(self._clock.now(), denied=read_denied(self._status))
        write_record(self._state, self._license.record)
        self._problem = "the verifier denies the license" if self._license.record.denied else problem
        self.decide()

    def _read_token(self) -> str:
        """Verify the token, once: later it does not matter whether its key is available. Return the problem, if any."""
        try:
            token = read_text(self._token)
            if token == self._accepted:
                return ""
            if not self._license.accept(self._results.verify(token)):
                return "the token is of another VM"
        except OSError as error:
            return f"there is no token: {error.strerror}"
        except NotVerified as error:
            return f"{error} ({error.code})"
        self._accepted = token
        return ""


def make_server(appliance: Appliance, address: tuple[str, int]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            state, until = appliance.decide()  # the work of your appliance asks for this, too
            self.send_response(503 if state == "stopped" else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps({"state": state, "until": until and until.isoformat()}).encode())

        def log_message(self, *_: object) -> None:
            """Log nothing of a request."""

    return ThreadingHTTPServer(address, Handler)


def log(message: str) -> None:
    sys.stdout.write(f"appliance: {message}\n")
    sys.stdout.flush()


def main() -> None:
    # As the first process of a container, it would ignore SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        appliance = Appliance(os.environ)
        server = make_server(appliance, (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8088"))))
        appliance.tick()
        log(f"listening on http://{server.server_address[0]!s}:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        while True:
            time.sleep(TICK_SECONDS)
            appliance.tick()
    except (OSError, KeyError, ValueError, OverflowError) as error:
        log(f"stopped: the setting {error} is missing" if isinstance(error, KeyError) else f"stopped: {error}")
        # A restart may help if IMDS or the disk failed. It does not correct a setting or the state file.
        sys.exit(1 if isinstance(error, OSError) else 2)


if __name__ == "__main__":
    main()
