"""What runs on Windows and macOS: without modules and functions of Linux, and without packages of the service."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support import documents
from support.command_line import Ended, run
from support.other_systems import MODULES, NAMES, bare_environment
from support.services import RunningServer, running_server, running_service

import verifier

SAMPLE = str(documents.SAMPLES / "public-eastus-2026-07-28.json")
AT = "2026-07-28T13:24:00Z"
#: It is a client of redis-py, which this process does not have.
NEEDS_REDIS = "RedisNonceStore"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    return bare_environment(tmp_path_factory.mktemp("bare"))


def python(code: str, *arguments: str, environment: Mapping[str, str]) -> Ended:
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )
    return Ended(status=done.returncode, out=done.stdout, err=done.stderr)


def test_the_process_lacks_what_it_is_to_lack(bare: Mapping[str, str]) -> None:
    for name in MODULES:
        assert python(f"import {name}", environment=bare).status == 1
    assert python(f"import os; print([hasattr(os, n) for n in {NAMES}])", environment=bare).out.count("True") == 0


def test_every_name_of_the_library_is_importable(bare: Mapping[str, str]) -> None:
    names = [name for name in verifier.__all__ if name != NEEDS_REDIS]
    code = f"import verifier, verifier.agent\nfor name in {names!r}: getattr(verifier, name)"
    assert python(code, environment=bare) == Ended(status=0, out="", err="")
    missing = python(f"import verifier; verifier.{NEEDS_REDIS}", environment=bare)
    assert missing.err.rstrip().endswith("import of redis halted; None in sys.modules")


def test_the_library_appraises_with_a_store_in_sqlite(bare: Mapping[str, str], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom contextlib import closing\nfrom pathlib import Path\n"
        "from verifier import Refused, SqliteNonceStore, SystemClock, TrustDirectory, Verifier, from_file\n"
        "with closing(SqliteNonceStore(Path(sys.argv[1]))) as nonces:\n"
        "    verifier = Verifier(trust=TrustDirectory(), nonces=nonces, clock=SystemClock())\n"
        "    print(len(verifier.issue_nonce().nonce))\n"
        "    try:\n        verifier.appraise(from_file(Path(sys.argv[2]).read_bytes()))\n"
        "    except Refused as refused:\n        print(refused.code)\n"
    )
    ended = python(code, str(tmp_path / "nonces.sqlite3"), SAMPLE, environment=bare)
    assert (ended.status, ended.out.split()) == (0, ["10", "document-expired"]), ended.err


def test_verify_inspect_and_policy_run(tmp_path: Path, bare: Mapping[str, str]) -> None:
    one = run("verify", SAMPLE, "--at", AT, environment=bare)
    assert (one.status, one.err) == (0, "")
    file = tmp_path / "policies.toml"
    file.write_text('[policies.public]\nclouds = ["AzurePublicCloud"]\n')
    policy = run("policy", "test", str(file), "--document", SAMPLE, "--at", AT, environment=bare)
    assert (policy.status, policy.err) == (0, "")
    many = run("verify", str(documents.SAMPLES), "--at", AT, "--json", environment=bare)
    assert "verified" in {json.loads(line).get("verdict") for line in many.out.splitlines()}
    inspected = run("inspect", SAMPLE, environment=bare)
    assert (inspected.status, inspected.err) == (0, "")
    assert run("api-key", environment=bare).status == 0


@pytest.fixture(scope="module")
def loopback(
    bare: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningServer, RunningServer]]:
    """The emulator in such a process, and the service in a full one."""
    directory = tmp_path_factory.mktemp("loopback")
    trust_dir = directory / "trust"
    with (
        running_server("emulator", "--port", "0", "--trust-dir", str(trust_dir), environment=bare) as imds,
        running_service(nonce_store=f"sqlite://{directory}/nonces.sqlite3", trust_dir=trust_dir, workers=1) as service,
    ):
        yield imds, service


def test_attest_runs_against_a_service_and_the_emulator(
    bare: Mapping[str, str], loopback: tuple[RunningServer, RunningServer], tmp_path: Path
) -> None:
    imds, service = loopback
    urls = ("--verifier", service.url, "--imds", imds.url)
    attested = run("attest", *urls, "--json", "--output", str(tmp_path / "result"), environment=bare)
    assert (attested.status, attested.err) == (0, "")
    assert json.loads((tmp_path / "result").read_bytes())["verdict"] == "verified"
    agent = python(
        "import runpy, sys; sys.argv[0] = 'attest'; runpy.run_module('verifier.agent', run_name='__main__')",
        *urls,
        environment=bare,
    )
    assert (agent.status, agent.err) == (0, "")
    assert "vmId: " in agent.out


def test_the_trust_commands_run_with_a_store_in_sqlite(tmp_path: Path) -> None:
    """They import redis-py, which runs on every system."""
    directory = tmp_path / "bare"
    directory.mkdir()
    environment = bare_environment(directory, *(name for name in MODULES if name != "redis"))
    environment |= {"VERIFIER_NONCE_STORE": f"sqlite://{tmp_path}/nonces.sqlite3"}
    assert run("trust", "list", "--create", environment=environment).status == 0
    keys = run("keys", "generate", "--dir", str(tmp_path / "keys"), environment=environment)
    assert (keys.status, keys.out) == (2, "")
    assert "cannot check who can read a key" in keys.err


@pytest.mark.parametrize("command", ["serve", "trust"])
def test_a_command_names_the_module_that_is_missing(bare: Mapping[str, str], command: str) -> None:
    arguments = () if command == "serve" else ("list",)
    ended = run(command, *arguments, environment=bare)
    assert (ended.status, ended.out) == (3, "")
    assert ended.err.startswith("imds-verifier: the module '")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "packages"),
    [
        (("--version",), set()),
        (("--help",), set()),
        (("api-key",), set()),
        (("attest", "--help"), set()),
        (("document", "--help"), set()),
        (
            ("verify", SAMPLE, "--at", AT),
            {"asn1crypto", "cryptography", "pyhanko_certvalidator", "pydantic", "pydantic_settings"},
        ),
    ],
)
def test_a_command_imports_only_what_it_needs(arguments: tuple[str, ...], packages: set[str]) -> None:
    """The start of a process is most of the time of a short command."""
    service_only = {"flask", "werkzeug", "gevent", "gunicorn", "redis", "prometheus_client", "jwt"}
    assert service_only.isdisjoint(packages)
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('IMPORTED', *{name.partition('.')[0] for name in sys.modules}))\n"
        "from verifier.__main__ import main\nsys.argv[0] = 'imds-verifier'\nsys.exit(main())\n"
    )
    ended = python(code, *arguments, environment={})
    assert ended.status == 0, ended.err
    imported = set(ended.out.splitlines()[-1].split()[1:]) - set(sys.stdlib_module_names)
    known = service_only | {"asn1crypto", "cryptography", "pyhanko_certvalidator", "pydantic", "pydantic_settings"}
    assert imported & known == packages
