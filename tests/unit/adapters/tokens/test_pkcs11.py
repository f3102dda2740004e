"""Keys in a token of SoftHSM2: how they sign, what they are held against, and what happens when the token is lost."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.processes import await_that
from support.softhsm import PIN, TOKEN, SoftHsm, create_softhsm

from verifier.adapters.http.jobs import NativeThreads
from verifier.adapters.stores.blocking import run_inline
from verifier.adapters.tokens.pkcs11_library import PinRefusedError, Pkcs11Error, Pkcs11Library
from verifier.adapters.tokens.pkcs11_sessions import Pkcs11Options, Pkcs11Sessions, _Session
from verifier.adapters.tokens.pkcs11_signer import CONFIRMED, PAUSE, Pkcs11Signing
from verifier.adapters.tokens.pkcs11_uri import parse_uri
from verifier.adapters.tokens.signers import Pkcs11Key
from verifier.ports.stores import Unavailable
from verifier.ports.telemetry import Event, SigningKeyChanged, StoreCallMeasured

DATA = b"eyJhbGciOiJFUzI1NiJ9.e30"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    hsm = create_softhsm(tmp_path_factory.mktemp("softhsm"))
    hsm.generate("es256", key_id="01")
    hsm.generate("ed25519", kind="EC:edwards25519", key_id="02")
    return hsm


@pytest.fixture
def hsm(made: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    monkeypatch.setenv("SOFTHSM2_CONF", made.environment["SOFTHSM2_CONF"])
    return made


def options_of(hsm: SoftHsm, *, pin: str | None = PIN, sessions: int = 8) -> Pkcs11Options:
    return Pkcs11Options(module=Path(hsm.module), pin=pin, sessions=sessions)


@pytest.fixture
def sessions(hsm: SoftHsm) -> Iterator[Pkcs11Sessions]:
    opened = Pkcs11Sessions(options_of(hsm))
    yield opened
    opened.close()


@pytest.fixture
def key(sessions: Pkcs11Sessions) -> Pkcs11Key:
    return sessions.read_key(parse_uri(f"pkcs11:token={TOKEN};object=es256"))


def idle(sessions: Pkcs11Sessions) -> list[_Session]:
    """Sessions are no part of what the pool does, but the token has only so many."""
    return sessions._idle  # noqa: SLF001 - as above


# --- Signatures


@pytest.mark.parametrize("part", ["object=es256", "id=%01", "object=es256;id=%01;type=private"])
def test_a_key_signs_with_es256(sessions: Pkcs11Sessions, part: str) -> None:
    key = sessions.read_key(parse_uri(f"pkcs11:token={TOKEN};{part}"))
    signature = sessions.sign(key, DATA)
    assert len(signature) == 64
    assert key.verifies(signature, DATA)
    assert not key.verifies(signature, DATA + b"x")
    assert not key.verifies(signature[:-1], DATA)


def test_a_key_signs_with_eddsa(sessions: Pkcs11Sessions) -> None:
    key = sessions.read_key(parse_uri(f"pkcs11:token={TOKEN};object=ed25519"))
    assert isinstance(key.public_key, Ed25519PublicKey)
    key.public_key.verify(sessions.sign(key, DATA), DATA)


def test_many_threads_sign_at_once_and_the_pool_keeps_few_sessions(hsm: SoftHsm) -> None:
    """SoftHSM crashes here if the library is not initialized for threads."""
    sessions = Pkcs11Sessions(options_of(hsm, sessions=2))
    key = sessions.read_key(parse_uri(f"pkcs11:token={TOKEN};object=es256"))
    wrong: list[object] = []

    def sign(number: int) -> None:
        for turn in range(30):
            data = f"{number}.{turn}".encode()
            try:
                if not key.verifies(sessions.sign(key, data), data):
                    wrong.append(data)
            except Pkcs11Error as error:
                wrong.append(error)

    threads = [threading.Thread(target=sign, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(idle(sessions)) == 2
    sessions.close()


def test_sessions_are_for_the_key_that_signs_now(sessions: Pkcs11Sessions, key: Pkcs11Key) -> None:
    other = sessions.read_key(parse_uri(f"pkcs11:token={TOKEN};object=ed25519"))
    for each in (key, other, other, key):
        assert each.verifies(sessions.sign(each, DATA), DATA)
    assert [session.key for session in idle(sessions)] == [key]


# --- What is refused


def test_another_public_key_is_refused_before_a_token_is_signed(sessions: Pkcs11Sessions, key: Pkcs11Key) -> None:
    strange = Pkcs11Key(uri=key.uri, public_key=generate_private_key(SECP256R1()).public_key())
    with pytest.raises(Pkcs11Error, match="does not belong to the private key of pkcs11:token=results;object=es256"):
        sessions.sign(strange, DATA)
    assert idle(sessions) == []


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        (f"pkcs11:token={TOKEN};object=absent", "the token has no public key with this object and id"),
        (f"pkcs11:token={TOKEN};object=es256;id=%09", "the token has no public key with this object and id"),
        ("pkcs11:token=absent;object=es256", "no token matches pkcs11:token=absent;object=es256"),
        (f"pkcs11:token={TOKEN};serial=0;object=es256", "no token matches"),
    ],
)
def test_a_key_that_is_not_there_is_refused(sessions: Pkcs11Sessions, uri: str, said: str) -> None:
    with pytest.raises(Pkcs11Error, match=said):
        sessions.read_key(parse_uri(uri))


def test_names_that_match_several_keys_or_tokens_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hsm = create_softhsm(tmp_path)
    monkeypatch.setenv("SOFTHSM2_CONF", hsm.environment["SOFTHSM2_CONF"])
    hsm.generate("twice", key_id="01")
    hsm.generate("twice", key_id="02")
    hsm.generate("p384", kind="EC:secp384r1", key_id="03")
    sessions = Pkcs11Sessions(options_of(hsm))
    with pytest.raises(Pkcs11Error, match="the token has more than one public key with this object and id"):
        sessions.read_key(parse_uri(f"pkcs11:token={TOKEN};object=twice"))
    assert sessions.read_key(parse_uri(f"pkcs11:token={TOKEN};object=twice;id=%02")).uri.id == b"\x02"
    with pytest.raises(Pkcs11Error, match="neither a P-256 key"):
        sessions.read_key(parse_uri(f"pkcs11:token={TOKEN};object=p384"))
    sessions.close()
    hsm.add_token(TOKEN)
    with pytest.raises(Pkcs11Error, match="several tokens match"):
        sessions.read_key(parse_uri(f"pkcs11:token={TOKEN};object=p384"))
    sessions.close()


def test_a_file_that_is_no_pkcs11_library_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "library.so"
    file.write_bytes(b"text")
    with pytest.raises(Pkcs11Error, match=r"library\.so: not a PKCS#11 library that this system can load"):
        Pkcs11Library(file)


# --- The PIN


def test_a_refused_pin_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first attempt, the token gets this PIN. Only sessions that try the PIN again would notice."""
    hsm = create_softhsm(tmp_path)
    monkeypatch.setenv("SOFTHSM2_CONF", hsm.environment["SOFTHSM2_CONF"])
    uri = parse_uri(hsm.generate("es256"))
    options = options_of(hsm, pin="not-this-one")
    sessions = Pkcs11Sessions(options)
    said = r"the token refused the PIN \(CKR_PIN_INCORRECT\); correct VERIFIER_PKCS11_PIN and restart"
    with pytest.raises(PinRefusedError, match=said) as refused:
        sessions.read_key(uri)
    assert "not-this-one" not in f"{refused.value!r}{options!r}{sessions!r}"
    sessions.close()

    hsm.run(
        *("pkcs11-tool", "--module", hsm.module, "--token-label", TOKEN, "--login", "--pin", PIN),
        *("--change-pin", "--new-pin", "not-this-one"),
    )
    with pytest.raises(PinRefusedError, match=said):
        sessions.read_key(uri)
    sessions.close()
    restarted = Pkcs11Sessions(options)
    assert restarted.read_key(uri).uri == uri
    restarted.close()


def test_without_a_pin_a_private_key_is_not_found(hsm: SoftHsm, key: Pkcs11Key) -> None:
    """`key` was read with the PIN. Its session ends first, because a login counts for the whole process."""
    with suppress(Pkcs11Error):
        Pkcs11Library(Path(hsm.module)).finalize()
    sessions = Pkcs11Sessions(options_of(hsm, pin=None))
    with pytest.raises(Pkcs11Error, match="no private key"):
        sessions.sign(key, DATA)
    sessions.close()


# --- Loss and return


def test_a_session_that_was_closed_behind_its_back_is_replaced_without_a_failure(
    hsm: SoftHsm, sessions: Pkcs11Sessions, key: Pkcs11Key
) -> None:
    sessions.sign(key, DATA)
    [before] = idle(sessions)
    Pkcs11Library(Path(hsm.module)).close_session(before.session)
    assert key.verifies(sessions.sign(key, DATA), DATA)
    [after] = idle(sessions)
    assert after is not before


def test_a_library_that_was_finalized_signs_after_it_is_initialized_again(
    hsm: SoftHsm, sessions: Pkcs11Sessions, key: Pkcs11Key
) -> None:
    sessions.sign(key, DATA)
    Pkcs11Library(Path(hsm.module)).finalize()
    with pytest.raises(Pkcs11Error, match="CKR_CRYPTOKI_NOT_INITIALIZED"):
        sessions.sign(key, DATA)
    sessions.reconnect(key)
    assert key.verifies(sessions.sign(key, DATA), DATA)


@dataclass(slots=True)
class Records:
    changes: list[str] = field(default_factory=list)
    calls: list[tuple[str, bool]] = field(default_factory=list)

    def record(self, event: Event) -> None:
        match event:
            case SigningKeyChanged():
                self.changes.append(event.detail)
            case StoreCallMeasured():
                assert event.store == "hsm"
                self.calls.append((event.operation, event.failed))


@dataclass(slots=True)
class Seconds:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_lost_token_is_unavailable_at_once_and_available_by_itself(
    hsm: SoftHsm, sessions: Pkcs11Sessions, key: Pkcs11Key
) -> None:
    records, seconds = Records(), Seconds()
    signing = Pkcs11Signing(sessions, run_inline, records, clock=seconds)
    signing.check(key)
    assert records.calls == [("sign", False)]
    hsm.lose()
    try:
        with pytest.raises(Unavailable, match="no token matches") as lost:
            signing.sign(key, DATA)
        assert lost.value.retry_after == PAUSE
        assert records.changes == [lost.value.detail]
        del records.calls[:]
        # No call is made during the pause.
        for _ in range(3):
            with pytest.raises(Unavailable, match="no token matches"):
                signing.check(key)
        assert records.calls == []
        # After the pause, one probe is.
        seconds.now += PAUSE.total_seconds()
        with pytest.raises(Unavailable, match="no token matches"):
            signing.check(key)
        assert records.calls == [("reconnect", True)]
    finally:
        hsm.restore()
    with pytest.raises(Unavailable):
        signing.check(key)
    seconds.now += PAUSE.total_seconds()
    signing.check(key)
    assert records.calls == [("reconnect", True), ("reconnect", False)]
    assert records.changes == [lost.value.detail, ""]
    assert key.verifies(signing.sign(key, DATA), DATA)


def test_an_idle_service_finds_a_lost_token_before_it_signs(
    hsm: SoftHsm, sessions: Pkcs11Sessions, key: Pkcs11Key
) -> None:
    seconds = Seconds()
    signing = Pkcs11Signing(sessions, run_inline, Records(), clock=seconds)
    signing.check(key)
    hsm.lose()
    try:
        signing.check(key)
        seconds.now += CONFIRMED.total_seconds() + 1
        with pytest.raises(Unavailable, match="no token matches"):
            signing.check(key)
    finally:
        hsm.restore()


def test_a_token_that_does_not_answer_in_time_is_unavailable(sessions: Pkcs11Sessions, key: Pkcs11Key) -> None:
    """The first session takes milliseconds: it opens, logs in, and signs twice."""
    records = Records()
    run = NativeThreads(timedelta(seconds=5), timedelta(seconds=0.0001))
    signing = Pkcs11Signing(sessions, run, records)
    with pytest.raises(Unavailable, match="did not answer within 5 s"):
        signing.sign(key, DATA)
    assert len(records.changes) == 1
    # The call goes on in its thread. The next test may initialize the library only after it.
    await_that(lambda: idle(sessions) != [] and sessions._calls == 0)  # noqa: SLF001 - as above


def test_a_key_file_of_a_strange_public_key_is_told(sessions: Pkcs11Sessions, key: Pkcs11Key) -> None:
    strange = Pkcs11Key(uri=key.uri, public_key=generate_private_key(SECP256R1()).public_key())
    signing = Pkcs11Signing(sessions, run_inline, Records())
    with pytest.raises(Unavailable, match="does not belong to the private key") as told:
        signing.check(strange)
    pem = strange.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert pem not in told.value.detail
