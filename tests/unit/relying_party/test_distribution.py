"""The distribution imds-verifier-relying-party: what it brings, and that it shares no file with imds-verifier."""

import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from datetime import timedelta
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
import redis
from support.javascript_client import CLIENT, ROOT
from support.page_blocks import blocks_of
from support.relying_party_cases import EXPECTED, KEY_SET, NOW, TOKEN

from verifier.relying_party import RefusalCode, ReplayStoreError, __version__

PAGE = (ROOT / "docs" / "integrate" / "relying-party.md").read_text("utf-8")
RUNS_BLOCKS = {"docs/integrate/relying-party.md": {"Tokens that are bound to a key": 1}}
PACKAGES = ["cffi", "cryptography", "imds-verifier-relying-party", "pycparser", "pyjwt"]
UV = ROOT / ".tools" / "bin" / "uv"


def test_the_distributions_share_no_file_and_have_one_version() -> None:
    service, part = distribution("imds-verifier"), distribution("imds-verifier-relying-party")
    assert {str(file) for file in service.files or ()}.isdisjoint(str(file) for file in part.files or ())
    names = {str(file) for file in part.files or () if file.suffix == ".py"}
    assert {Path(name).parent.as_posix() for name in names} == {"verifier/relying_party"}
    assert len(names) == len(list((ROOT / "verifier" / "relying_party").glob("*.py")))
    package = json.loads((CLIENT / "package.json").read_text("utf-8"))
    assert {service.version, part.version, __version__, package["version"]} == {version("imds-verifier")}


def test_a_fresh_environment_has_five_packages_and_verifies_a_token(tmp_path: Path) -> None:
    """Built, and installed with the versions of the lock, as a licensing backend does it with pip."""
    wheels, environment = tmp_path / "wheels", tmp_path / "environment"
    source = tmp_path / "source"
    run(sys.executable, ROOT / "tools" / "relying_party_source.py", source)
    run(UV, "build", "--quiet", "--out-dir", wheels, source)
    run(UV, "venv", "--quiet", "--python", sys.executable, environment)
    [wheel] = wheels.glob("imds_verifier_relying_party-*-py3-none-any.whl")
    assert list(wheels.glob("imds_verifier_relying_party-*.tar.gz"))
    python = environment / "bin" / "python"
    run(UV, "pip", "install", "--quiet", "--python", python, "--constraint", locked_versions(tmp_path), wheel)
    listed = json.loads(run(UV, "pip", "list", "--python", python, "--format", "json"))
    names = sorted(package["name"] for package in listed)
    sys.stdout.write(f"imds-verifier-relying-party brings: {', '.join(names)}\n")
    assert names == PACKAGES
    program = (
        "import json, sys\n"
        "from datetime import datetime\n"
        "from verifier.relying_party import MemoryReplayStore, ResultVerifier\n"
        "asked = json.load(sys.stdin)\n"
        "verifier = ResultVerifier(**asked['expected'], jwks=asked['keySet'], replay_store=MemoryReplayStore(),\n"
        "    clock=lambda: datetime.fromisoformat(asked['now']))\n"
        "print(verifier.verify(asked['token']).vm_id)\n"
    )
    asked = {"expected": EXPECTED, "keySet": KEY_SET, "token": TOKEN, "now": NOW.isoformat()}
    assert run(python, "-I", "-c", program, stdin=json.dumps(asked)).strip() == "02aab8a4-74ef-476e-8182-f6d2ba4166a6"


def locked_versions(directory: Path) -> Path:
    """The versions of uv.lock, as constraints: no test installs what was not reviewed."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    file = directory / "constraints.txt"
    file.write_text("".join(f"{one['name']}=={one['version']}\n" for one in packages if one["name"] in PACKAGES))
    return file


def run(*command: object, stdin: str = "") -> str:
    environment = {name: value for name, value in os.environ.items() if name not in {"UV_PYTHON", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [str(word) for word in command],
        input=stdin,
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_pyjwt_and_cryptography_alone() -> None:
    probe = (
        "import sys\n"
        "before = set(sys.modules)\n"  # a system may import a module of its own at the start
        "import verifier.relying_party\n"
        "foreign = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print(sorted(name for name in foreign if not name.startswith('_')))"
    )
    assert run(sys.executable, "-P", "-c", probe).strip() == "['cryptography', 'jwt', 'verifier']"


def test_the_page_of_codes_is_generated_and_explains_each() -> None:
    page = (ROOT / "docs" / "integrate" / "relying-party-codes.md").read_text("utf-8")
    assert page == runpy.run_path(str(ROOT / "tools" / "generate_relying_party_codes.py"))["generate"]()
    assert re.findall(r"^\| `([a-z-]+)` \| ", page, re.MULTILINE) == [*RefusalCode]


def test_the_redis_store_of_the_page_remembers_once(redis_url: str, tmp_path: Path) -> None:
    file = tmp_path / "store.py"
    [block] = blocks_of("docs/integrate/relying-party.md", "Tokens that are bound to a key", "python")
    file.write_text(block.text, encoding="utf-8")
    store_class = runpy.run_path(str(file))["RedisReplayStore"]
    with redis.Redis.from_url(redis_url) as client:
        scope = os.urandom(8).hex()
        asked = {"now": NOW, "until": NOW + timedelta(seconds=120)}
        assert [store_class(client).remember(scope, "a", **asked) for _ in range(2)] == [True, False]
        assert 119_000 < int(str(client.pttl(f"replay:{scope}:a"))) <= 120_001
    with redis.Redis(port=1) as dead, pytest.raises(ReplayStoreError):
        store_class(dead).remember(scope, "a", **asked)
