"""`imds-verifier config`: a file to start with that is never written over another, and what is wrong with one."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import call

from verifier.adapters.settings.starter import starter_text

SECRET = "s3cret-0123456789"  # noqa: S105 - a stand-in


def test_init_writes_to_standard_output() -> None:
    ended = call("config", "init")
    assert (ended.status, ended.out, ended.err) == (0, starter_text(), "")


def test_init_writes_a_new_file_for_its_owner_alone_that_check_accepts(tmp_path: Path) -> None:
    file = tmp_path / "verifier.toml"
    ended = call("config", "init", str(file))
    assert (ended.status, ended.out) == (0, "")
    assert ended.err == f"wrote {file}; check it with: imds-verifier config check {file}\n"
    assert file.read_text("utf-8") == starter_text()
    assert file.stat().st_mode & 0o777 == 0o600
    ended = call("config", "check", str(file))
    assert (ended.status, ended.out, ended.err) == (0, f"{file}: the settings are valid\n", "")


@pytest.mark.parametrize("kind", ["file", "dangling link", "directory"])
def test_init_overwrites_nothing(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "verifier.toml"
    target = tmp_path / "target"
    if kind == "file":
        place.write_text("mine")
    elif kind == "directory":
        place.mkdir()
    else:
        place.symlink_to(target)
    ended = call("config", "init", str(place))
    assert (ended.status, ended.out) == (2, "")
    assert f"{place}: the file exists, and `config init` overwrites no file" in ended.err
    assert not target.exists()
    assert kind != "file" or place.read_text() == "mine"


def test_init_names_a_directory_that_is_not_there(tmp_path: Path) -> None:
    ended = call("config", "init", str(tmp_path / "none" / "verifier.toml"))
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "No such file or directory" in ended.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 8080\nprot = 1", ["{file}:2: prot: Unknown field 'prot'. Did you mean 'port'?"]),
        ("[tenants.a]\nkeys = ['" + "a" * 64 + "']\nrate = '5'", ["{file}:3: tenants.a.rate: "]),
        ("port = 1\nworkers = 0\n", ["{file}:1: port: ", "{file}:2: workers: "]),
        ("port = 8080\nport = 8081\n", ["{file}:2: {file} is not TOML in UTF-8 "]),
        ("format = 2", ["{file} has format 2, and this release knows format 1: update imds-verifier"]),
        ("host = '192.0.2.1'", ["{file}: VERIFIER_HOST is 192.0.2.1, but there are no tenants"]),
        (f"nonce_store = 'mysql://user:{SECRET}@host'", ["{file}:1: nonce_store: expected sqlite:///path"]),
        (f"x = 1\nnonce_store = 'redis://:{SECRET}#x@host/0'", ["{file}:1: x: Unknown field 'x'."]),
        (f"nonce_store = 'redis://:{SECRET}#x@host/0'", ["{file}:1: nonce_store: "]),
        (f"decision_store = 'redis://:{SECRET}#x@host/0'", ["{file}:1: decision_store: "]),
        (f"admin_keys = ['{SECRET}']", ["{file}:1: admin_keys: expected a table"]),
        (f"[admin_keys]\noperator = '{SECRET}'", ["{file}:2: admin_keys.operator: "]),
        (f"[tenants.default]\nkeys = ['{SECRET}']", ["{file}:2: tenants.default.keys.0: "]),
    ],
)
def test_check_names_each_fault_with_its_line_and_no_secret(tmp_path: Path, text: str, said: list[str]) -> None:
    file = tmp_path / "verifier.toml"
    file.write_text(text.replace("port = 1\n", "port = -1\n"))
    ended = call("config", "check", str(file))
    assert (ended.status, ended.out) == (2, "")
    lines = ended.err.splitlines()
    assert len(lines) >= len(said)
    for line, start in zip(lines, said, strict=False):
        assert line.startswith(start.format(file=file)), line
    assert SECRET not in ended.err


def test_check_refuses_what_serve_refuses(tmp_path: Path) -> None:
    """Two callers with one key, which no single setting shows."""
    file = tmp_path / "verifier.toml"
    digest = "a" * 64
    file.write_text(f"[admin_keys]\none = '{digest}'\ntwo = '{digest}'\n")
    checked = call("config", "check", str(file))
    served = call("serve", environment={"VERIFIER_CONFIG": str(file)})
    said = "the same key is listed twice; give each caller its own key"
    assert (checked.status, served.status) == (2, 2)
    assert said in checked.err
    assert said in served.err


def test_check_names_the_variable_that_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "verifier.toml"
    file.write_text("port = 8080\n")
    ended = call("config", "check", str(file), environment={"VERIFIER_PORT": "http"})
    assert ended.status == 2
    assert ended.err.startswith("VERIFIER_PORT: port: Input should be a valid integer")
    ended = call("config", "check", str(file), environment={"VERIFIER_PROT": "1"})
    assert ended.status == 2
    assert ended.err.startswith("unknown setting VERIFIER_PROT; expected one of ")


def test_check_creates_no_store_and_names_a_missing_file(tmp_path: Path) -> None:
    file = tmp_path / "verifier.toml"
    ended = call("config", "check", str(file))
    assert (ended.status, ended.err) == (2, f"{file}: there is no file {file}\n")
    file.write_text(f"nonce_store = 'sqlite://{tmp_path}/nonces.sqlite3'\ntrust_dir = '/nowhere'\n")
    ended = call("config", "check", str(file))
    assert (ended.status, ended.err) == (0, "")
    assert [one.name for one in tmp_path.iterdir()] == ["verifier.toml"]


def test_help_and_init_import_no_server_and_no_store() -> None:
    program = (
        "import sys\n"
        "from verifier.wiring import main\n"
        "sys.argv = ['imds-verifier', *sys.argv[1:]]\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    pass\n"
        "sys.stderr.write(' '.join(sorted({'flask', 'redis', 'gevent', 'pydantic', 'sqlite3'} & sys.modules.keys())))\n"
    )
    for arguments, imported in ((["--help"], ""), (["config", "--help"], "pydantic"), (["config", "init"], "pydantic")):
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, *arguments], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stderr == imported
