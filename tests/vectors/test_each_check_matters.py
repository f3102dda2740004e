"""Remove each check of the pipeline in turn: the answer to a vector changes, so `conformance` fails.

`support.check_removals` finds the checks in the source, and detectors.toml names a vector for each. A new check
without a vector fails the suite: add a vector, and run `make vectors`.
"""

import argparse
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest
from support.check_removals import OUTSIDE, Removal, functions, removals, removed, without_caches
from support.vectors import VECTORS, conformance_service, find_vector, load_vectors, read_detectors, read_equivalent

from verifier.cli.commands import ExitStatus
from verifier.cli.conformance import Targets, conformance_command, differences
from verifier.cli.conformance_cases import TRUST
from verifier.core import pipeline
from verifier.core.model import (
    AuthenticContent,
    DecodedClaims,
    Envelope,
    NamedContent,
    Redeemed,
    SignedContent,
    UnverifiedClaims,
    Verified,
)
from verifier.core.nonces import NonceRecord
from verifier.core.policy import Policies
from verifier.core.reasons import Check
from verifier.core.trust.clouds import Cloud
from verifier.usecases.appraise import Verifier
from verifier.wiring.conformance import ConformanceService, open_own, open_remote, policies_of

# cryptography warns of what a removed check would refuse. The service does not turn warnings into errors.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number", "ignore:Attribute's length must be")

REMOVALS = {removal.name: removal for removal in removals()}
DETECTED = read_detectors("detected")
BACKED_UP = read_detectors("backed_up")
EQUIVALENT = read_equivalent()
#: How many cases of a check run without it.
CASES_OF_A_CHECK = 6


@pytest.fixture(scope="module")
def service() -> Iterator[ConformanceService]:
    with without_caches(), conformance_service() as opened:
        yield opened


@cache
def usual_detail(name: str) -> object:
    with conformance_service() as fresh:
        return fresh.respond(find_vector(name)).body.get("detail")


def test_every_check_has_a_vector_or_a_reason() -> None:
    assert len(REMOVALS) > 250
    listed = [*DETECTED, *BACKED_UP, *EQUIVALENT]
    assert sorted(listed) == sorted(REMOVALS)
    assert all(EQUIVALENT.values())


def test_every_function_that_is_left_out_exists() -> None:
    assert OUTSIDE.keys() - functions() == set()
    assert all(OUTSIDE.values())


@pytest.mark.parametrize("name", DETECTED)
def test_a_vector_detects_the_removal_of(name: str, service: ConformanceService) -> None:
    case = find_vector(DETECTED[name])
    with removed(REMOVALS[name]):
        answer = service.respond(case)

    assert differences(case, answer) != {}


@pytest.mark.parametrize("name", BACKED_UP)
def test_another_check_refuses_the_same_document_after_the_removal_of(name: str, service: ConformanceService) -> None:
    """The code is the same, and only the sentence shows that it is another check."""
    case = find_vector(BACKED_UP[name])
    with removed(REMOVALS[name]):
        answer = service.respond(case)

    assert differences(case, answer) == {}
    assert answer.body["detail"] != usual_detail(case.name)


def verify_no_signature(envelope: Envelope) -> SignedContent:
    return SignedContent(
        sha256=envelope.sha256,
        content=envelope.unverified_content,
        signer=envelope.signer,
        unverified_candidates=envelope.unverified_candidates,
    )


def take_any_name(signed: SignedContent) -> NamedContent:
    return NamedContent(signed=signed, cloud=Cloud.PUBLIC, names=(), server_name="metadata.azure.com")


def take_any_time(decoded: DecodedClaims, **_: object) -> UnverifiedClaims:
    return UnverifiedClaims(decoded=decoded)


def build_no_chain(_: Verifier, claims: UnverifiedClaims, **__: object) -> AuthenticContent:
    return AuthenticContent(decoded=claims.decoded, chain=(), trust_generation="0")


def redeem_nothing(_: Verifier, content: AuthenticContent, *, now: datetime, **__: object) -> Redeemed:
    return Redeemed(content=content, record=NonceRecord(issued_at=now, expires_at=now))


def apply_no_policy(_: Policies, fresh: Redeemed, names: tuple[str, ...], **__: object) -> Verified[Redeemed]:
    return Verified(fresh=fresh, policies=names)


#: Each check that can be removed as a whole. `format` and `claims` also read what the others need, so only their parts
#: can be removed.
WHOLE: dict[Check, tuple[object, str, Callable[..., object]]] = {
    Check.SIGNATURE: (pipeline, "verify_signature", verify_no_signature),
    Check.SIGNER_NAME: (pipeline, "identify_cloud", take_any_name),
    Check.VALIDITY_WINDOW: (pipeline, "check_window", take_any_time),
    Check.CHAIN: (Verifier, "_build_chain", build_no_chain),
    Check.NONCE: (Verifier, "_use_once", redeem_nothing),
    Check.POLICY: (Policies, "apply", apply_no_policy),
}


def run_command(directory: Path) -> int:
    command = conformance_command(Targets(own=open_own, remote=open_remote, check_policies=policies_of))
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args([str(directory)]))


@pytest.mark.parametrize("check", WHOLE)
def test_the_command_fails_without(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(VECTORS / "vectors.toml", tmp_path)
    (tmp_path / TRUST).symlink_to(VECTORS / TRUST)
    names = [case.name for case in load_vectors() if case.expected.failing_check is check][:CASES_OF_A_CHECK]
    for name in names:
        shutil.copytree(VECTORS / name, tmp_path / name)
    assert run_command(tmp_path) == ExitStatus.DONE
    assert capsys.readouterr().out == ""

    monkeypatch.setattr(*WHOLE[check])

    assert run_command(tmp_path) == ExitStatus.REFUSED
    assert [line.partition(": ")[0] for line in capsys.readouterr().out.splitlines()] == names


def test_removals_are_undone() -> None:
    removal: Removal = REMOVALS["core.names._check_usage: if `signer.is_ca`: refuse"]
    case = find_vector("signer-name-mismatch/authority")
    with without_caches(), conformance_service() as opened:
        with removed(removal):
            assert differences(case, opened.respond(case)) != {}
        assert differences(case, opened.respond(case)) == {}
