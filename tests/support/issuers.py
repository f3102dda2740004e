"""The internet that issuers' certificates are fetched from, on 127.0.0.1: names, addresses, servers, and a record of
every name that was asked for and every address that was connected to."""

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from support.documents import around, shared_pki
from support.local_servers import serving_in_thread

from verifier.adapters.aia.addresses import PublicAddress
from verifier.adapters.aia.fetcher import AiaFetcher
from verifier.emulator import pki

#: A public address, which a connection of a test never leaves for.
PUBLIC = "93.184.216.34"
OTHER_PUBLIC = "2606:2800:220:1:248:1893:25c8:1946"
HOST = "cacerts.digicert.com"
URL = f"http://{HOST}/issuer.crt"

#: What a server does with the connection on which it was asked for a path.
Play = Callable[["Conversation"], None]


class Conversation:
    """A connection on which a request was read. `is_over` is set when the server is to stop."""

    def __init__(self, connection: socket.socket, is_over: threading.Event) -> None:
        self._connection = connection
        self._is_over = is_over
        self.sent = 0

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)
        self.sent += len(data)

    def trickle(self, data: bytes) -> None:
        """One byte after the other, for ever, until the other end has enough."""
        while True:
            for byte in data:
                self.send(bytes([byte]))
                if self._is_over.wait(0.01):
                    return

    def wait(self) -> None:
        """Says nothing until the other end goes."""
        while not self._is_over.is_set():
            with suppress(TimeoutError):
                if not self._connection.recv(1):
                    return


def answer(
    body: bytes = b"", *, status: int = 200, headers: Mapping[str, str] | None = None, length: int | None = None
) -> bytes:
    """The bytes of a response; `length` is what Content-Length says instead of the truth."""
    fields = {"Content-Length": str(len(body) if length is None else length), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode("latin-1") + body


def redirect(location: str, status: int = 302) -> bytes:
    return answer(status=status, headers={"Location": location})


class Internet:
    """A fetcher's resolver and connector.

    `names` gives what each lookup of a host answers, in turn, the last one for ever; `plays` what each path does.
    """

    def __init__(self) -> None:
        self.names: dict[str, list[Sequence[str]]] = {}
        self.plays: dict[str, bytes | Play] = {}
        self.lookups: list[str] = []
        self.connections: list[tuple[str, int]] = []
        self.requests: list[str] = []
        self.heads: list[bytes] = []
        self.conversations: list[Conversation] = []
        #: What the fetcher allowed for each lookup and connection.
        self.allowed: list[float] = []
        #: Addresses that take no connection.
        self.unreachable: set[str] = set()
        self.ports: dict[int, int] = {}
        self._is_over = threading.Event()

    def resolve(self, host: str, seconds: float) -> Sequence[str]:
        self.lookups.append(host)
        self.allowed.append(seconds)
        answers = self.names.get(host, [[PUBLIC]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def connect(self, address: PublicAddress, port: int, seconds: float) -> socket.socket:
        self.connections.append((address.text, port))
        self.allowed.append(seconds)
        if address.text in self.unreachable:
            raise ConnectionRefusedError(address.text)
        return socket.create_connection(("127.0.0.1", self.ports[port]), timeout=seconds)

    def fetcher(self) -> AiaFetcher:
        return AiaFetcher(resolve=self.resolve, connect=self.connect)

    def converse(self, connection: socket.socket) -> None:
        """One request, and what its path's play makes of it."""
        connection.settimeout(20)
        head = b""
        with suppress(OSError):
            while b"\r\n\r\n" not in head:
                data = connection.recv(4096)
                if not data:
                    return
                head += data
            path = head.split(b" ")[1].decode("ascii")
            self.heads.append(head)
            self.requests.append(path)
            conversation = Conversation(connection, self._is_over)
            self.conversations.append(conversation)
            play = self.plays.get(path, answer(status=404))
            if isinstance(play, bytes):
                conversation.send(play)
            else:
                play(conversation)

    def stop(self) -> None:
        self._is_over.set()


@contextmanager
def internet(tls: ssl.SSLContext | None = None) -> Iterator[Internet]:
    """Serves on two ports: one for port 80, and one for port 443, over TLS where `tls` is given."""
    made = Internet()
    with _serving(made, None) as plain, _serving(made, tls) as secure:
        made.ports = {80: plain, 443: secure}
        try:
            yield made
        finally:
            made.stop()


@contextmanager
def _serving(made: Internet, tls: ssl.SSLContext | None) -> Iterator[int]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if tls is None:
                made.converse(self.request)
                return
            with suppress(OSError), tls.wrap_socket(self.request, server_side=True) as secured:
                made.converse(secured)

    class Server(socketserver.ThreadingTCPServer):
        # Handlers end with their connections, and are waited for.
        daemon_threads = False

    with Server(("127.0.0.1", 0), Handler) as server, serving_in_thread(server):
        try:
            yield int(server.server_address[1])
        finally:
            made.stop()


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def degenerate(*certificates: x509.Certificate) -> bytes:
    """A SignedData of certificates alone (RFC 5652 5.1)."""
    return pkcs7.serialize_certificates(list(certificates), serialization.Encoding.DER)


def make_tls_server(directory: Path, *, host: str = HOST) -> tuple[ssl.SSLContext, Path]:
    """A server that shows a certificate for `host`, and the file of the authority to trust for it."""
    made = shared_pki()
    certificate = pki.issue(
        subject=pki.make_name("a server"),
        public_key=made.signer.key.public_key(),
        issuer_name=made.root.certificate.subject,
        issuer_key=made.root.key,
        validity=around(days=36500),
        extensions=pki.signer_extensions(
            names=(host,),
            public_key=made.signer.key.public_key(),
            issuer_public_key=made.root.key.public_key(),
            issuer_urls=(),
        ),
        signing_hash=hashes.SHA256(),
    )
    chain, key, roots = directory / "server.pem", directory / "server.key", directory / "roots.pem"
    chain.write_bytes(pem(certificate))
    key.write_bytes(
        made.signer.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    roots.write_bytes(pem(made.root.certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context, roots
