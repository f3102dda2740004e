"""Clients that attest while token keys change, and the command that changes them."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import jwt
from support.command_line import call
from support.documents import imds_answer
from support.live_documents import current_document
from support.services import Answer, RunningServer
from support.token_checks import Expectations, check_with_pyjwt

KEYS = "/.well-known/jwks.json"


def keys(directory: Path, action: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    ended = call("keys", action, "--dir", str(directory), *arguments, environment=environment)
    assert (ended.status, ended.err) == (0, "")
    return ended.out.strip()


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


class TokenLoad:
    """Senders that attest one document after the other until they are told to stop, each checking its own tokens
    with the key set that it fetches after."""

    def __init__(self, service: RunningServer) -> None:
        self._service = service
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self.failures: list[Answer] = []
        self.unverifiable: list[str] = []
        self.kids: list[str] = []

    def send(self, _: int) -> None:
        while not self._stop.is_set():
            nonce = self._service.post_json("/v1/nonces")
            answer = nonce
            if nonce.status == 201:
                document = current_document(str(nonce.json["nonce"]))
                answer = self._service.post_json("/v1/attestations", imds_answer(document))
            if answer.status != 200:
                self.failures.append(answer)
                self._stop.set()
                continue
            token = str(answer.json["token"])
            published = self._service.request("GET", KEYS)
            expected = Expectations(key_set=published.json, now=datetime.now(UTC))
            if published.status != 200 or check_with_pyjwt([token], expected) == [None]:
                self.unverifiable.append(kid_of(token))
            with self._changed:
                self.kids.append(kid_of(token))
                self._changed.notify_all()

    def stop(self) -> None:
        self._stop.set()

    def wait_for_more(self, *, times: int) -> None:
        with self._changed:
            enough = len(self.kids) + times
            assert self._changed.wait_for(lambda: len(self.kids) >= enough or self.failures, timeout=180)

    def wait_until_signed_by(self, kid: str, *, times: int) -> None:
        """So many tokens in a row: every worker signs with it."""
        with self._changed:
            signed = self._changed.wait_for(lambda: self.kids[-times:] == [kid] * times or self.failures, timeout=180)
        assert signed, (kid, self.kids[-times:])
