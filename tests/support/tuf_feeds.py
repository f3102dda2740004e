"""Trust feeds in directories and on https servers, and what attackers make of them."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import socket
from threading import Thread
from typing import Any

from cryptography import x509
from securesystemslib.signer import CryptoSigner
from support.clocks import ManualClock
from support.redis_tls import Authority
from support.scripted_servers import Reply, Request, Script, serving
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from verifier.adapters.feed.client import TARGET, TufFeedClient, open_feed
from verifier.adapters.feed.keys import read_signer
from verifier.adapters.feed.publisher import TufPublisher

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
QUARTER = timedelta(days=90)
YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed of three maintainers, of whom two sign. The clock is the publisher's; followers have the real one."""

    directory: Path
    clock: ManualClock
    publisher: TufPublisher

    @classmethod
    def make(
        cls,
        directory: Path,
        *,
        ago: timedelta = timedelta(0),
        lasting: timedelta = YEAR,
        keys: int = 3,
        threshold: int = 2,
    ) -> "Feed":
        clock = ManualClock(datetime.now(UTC) - ago)
        publisher = TufPublisher(clock=clock)
        publisher.init(directory, keys=keys, threshold=threshold, lasting=lasting)
        return cls(directory, clock, publisher)

    @property
    def public(self) -> Path:
        return self.directory / "public"

    @property
    def first_root(self) -> bytes:
        return (self.public / "1.root.json").read_bytes()

    def key(self, name: str | int) -> Path:
        return self.directory / "keys" / (f"maintainer-{name}.pem" if isinstance(name, int) else f"{name}.pem")

    def signer(self, name: str | int) -> CryptoSigner:
        return read_signer(self.key(name))

    def publish(self, bundle: bytes, *, by: tuple[int, ...] = (1, 2), lasting: timedelta = QUARTER) -> None:
        self.publisher.propose(self.directory, bundle, lasting=lasting)
        self.sign(*by)

    def sign(self, *by: int) -> None:
        for number in by:
            self.publisher.sign(self.directory, self.key(number))
        assert self.publisher.complete(self.directory, online_key=None, lasting=WEEK)

    def renew(self, lasting: timedelta = WEEK) -> None:
        self.publisher.renew(self.directory, online_key=None, lasting=lasting)

    def client(self) -> TufFeedClient:
        return open_feed(str(self.public), root=self.first_root)

    def files(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in self.public.iterdir()}

    def put(self, files: dict[str, bytes]) -> None:
        """Replace all files that followers see."""
        for file in self.public.iterdir():
            file.unlink()
        for name, content in files.items():
            (self.public / name).write_bytes(content)

    def forge(
        self,
        *,
        targets: bytes | None = None,
        snapshot: Callable[[Snapshot], object] = lambda _: None,
        timestamp: Callable[[Timestamp], object] = lambda _: None,
        signer: CryptoSigner | None = None,
        timestamp_signer: CryptoSigner | None = None,
    ) -> None:
        """Publish changed snapshot and timestamp, signed by the online key or another one, as who has it can."""
        newest: Timestamp = self.load("timestamp.json").signed
        listed: Snapshot = self.load(f"{newest.snapshot_meta.version}.snapshot.json").signed
        listed.version += 1
        if targets is not None:
            listed.meta["targets.json"] = MetaFile.from_data(self.parse(targets).signed.version, targets, ["sha256"])
        snapshot(listed)
        made = Metadata(listed)
        made.sign(signer or self.signer("online"))
        content = made.to_bytes()
        newest.version += 1
        newest.snapshot_meta = MetaFile.from_data(listed.version, content, ["sha256"])
        timestamp(newest)
        last = Metadata(newest)
        last.sign(timestamp_signer or signer or self.signer("online"))
        (self.public / f"{listed.version}.snapshot.json").write_bytes(content)
        (self.public / "timestamp.json").write_bytes(last.to_bytes())

    def make_targets(self, bundle: bytes, version: int, *signers: CryptoSigner) -> bytes:
        """Make targets metadata outside the publisher."""
        targets = Targets(version=version, expires=datetime.now(UTC).replace(microsecond=0) + QUARTER)
        targets.targets[TARGET] = TargetFile.from_data(TARGET, bundle, ["sha256"])
        metadata = Metadata(targets)
        for signer in signers:
            metadata.sign(signer, append=True)
        content = metadata.to_bytes()
        (self.public / f"{version}.targets.json").write_bytes(content)
        digest = targets.targets[TARGET].hashes["sha256"]
        (self.public / f"{digest}.{TARGET}").write_bytes(bundle)
        return content

    def load(self, name: str) -> Metadata[Any]:
        return self.parse((self.public / name).read_bytes())

    @staticmethod
    def parse(content: bytes) -> Metadata[Any]:
        return Metadata.from_bytes(content)


@dataclass(frozen=True, slots=True)
class FeedServer:
    url: str
    ca_file: Path
    script: Script


def server_tls(directory: Path, name: str = "localhost") -> tuple[ssl.SSLContext, Path]:
    """Make the context of a server with this name, and the file of its authority."""
    authority = Authority(directory, "feed-authority")
    pair = authority.make("feed", x509.DNSName(name))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context, authority.file


@contextmanager
def serving_feed(
    feed: Feed, directory: Path, *, instead: Callable[[str], Reply | None] = lambda _: None, name: str = "localhost"
) -> Iterator[FeedServer]:
    """Serve the feed over https below /feed/. `instead` may give another reply to the name of a file."""
    context, ca_file = server_tls(directory, name)

    def play(request: Request) -> Reply:
        file = request.target.removeprefix("/feed/")
        path = feed.public / file
        own = instead(file)
        if own is not None:
            return own
        return Reply(body=path.read_bytes()) if path.is_file() else Reply(status=404)

    with serving(play, tls=context) as script:
        yield FeedServer(f"{script.url}/feed", ca_file, script)


@contextmanager
def raw_server(directory: Path, talk: Callable[[ssl.SSLSocket], None]) -> Iterator[tuple[str, Path]]:
    """Serve https where `talk` sends the answer as it likes, until the client closes."""
    context, ca_file = server_tls(directory)
    with socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def accept() -> None:
            while True:
                try:
                    opened, _ = listener.accept()
                except OSError:
                    return
                with opened:
                    opened.settimeout(30)
                    try:
                        with context.wrap_socket(opened, server_side=True) as secured:
                            secured.recv(65536)
                            talk(secured)
                    except OSError:
                        continue

        thread = Thread(target=accept)
        thread.start()
        try:
            yield f"https://localhost:{listener.getsockname()[1]}/feed", ca_file
        finally:
            listener.shutdown(2)
            thread.join()
