"""The image, as far as it can be read, and the compose file. `tools/build_image_locally.sh` builds and runs it."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for one call
from compose_pydantic import ComposeSpecification
from packaging.specifiers import SpecifierSet
from support.chart import CHART, find, render, scenarios

from verifier.adapters.settings.settings import PREFIX, Settings
from verifier.wiring import COMMANDS

ROOT = CHART.parents[1]
UV = ROOT / ".tools" / "bin" / "uv"
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SERVICES = sorted(COMPOSE["services"])


def instructions(name: str) -> list[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.removeprefix(name).strip() for line in joined.splitlines() if line.startswith(f"{name} ")]


def final_stage() -> str:
    return DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]


def test_the_linter_has_nothing_to_say() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_has_a_default_that_each_stage_and_the_compose_file_use() -> None:
    """The official image by its full name, which podman needs too, and a Python that the project supports."""
    [base] = [line for line in instructions("ARG") if line.startswith("BASE_IMAGE=")]
    default = base.removeprefix("BASE_IMAGE=")
    [version] = re.findall(r"^docker\.io/library/python:(3\.\d+)-slim$", default)
    assert version in SpecifierSet(PROJECT["project"]["requires-python"])
    assert instructions("FROM") == ["${BASE_IMAGE} AS build", "scratch AS sbom", "${BASE_IMAGE}"]
    for service in COMPOSE["services"].values():
        if "build" in service:
            assert service["build"]["args"] == {"BASE_IMAGE": f"${{BASE_IMAGE:-{default}}}"}
    assert f"docker pull {default}\n" in (ROOT / "docs" / "operate" / "kubernetes.md").read_text("utf-8")


def test_needs_no_argument() -> None:
    given = {line.partition("=")[0] for line in instructions("ARG") if "=" in line}
    assert {line for line in instructions("ARG") if "=" not in line} <= given


def test_everything_is_installed_by_hash() -> None:
    for line in instructions("RUN"):
        for command in re.split(r"&&", line):
            if "pip install" in command or "uv build" in command:
                assert "--require-hashes" in command
            if "uv export" in command:
                assert "--locked" in command
    wanted = PROJECT["build-system"]["requires"]
    locked = (ROOT / "tools" / "build.txt").read_text("utf-8")
    assert [name for name in wanted if f"\n{re.split('[<>=]', name)[0]}==" not in locked] == []


def test_runs_as_nobody_and_by_no_shell() -> None:
    stage = final_stage()
    assert "\nUSER 65532:65532\n" in stage
    assert "\nRUN " not in stage
    for form in (r"ENTRYPOINT (\[.*\])", r"    CMD (\[.*\])", r"\nCMD (\[.*\])"):
        [command] = re.findall(form, stage)
        assert yaml.safe_load(command)
    pod = find(render(scenarios()["default"]), "Deployment")["spec"]["template"]["spec"]["securityContext"]
    assert (pod["runAsUser"], pod["runAsGroup"]) == (65532, 65532)


def test_says_what_it_is() -> None:
    labels = set(re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", final_stage()))
    assert labels == {"title", "description", "licenses", "version", "revision", "base.name"}


def test_its_settings_are_settings() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert {*re.findall(rf"\b({PREFIX}[A-Z_]+)=", DOCKERFILE)} <= known
    for service in COMPOSE["services"].values():
        assert service.get("environment", {}).keys() <= known


def test_what_it_is_made_of_is_all_that_it_is_sent() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copied = {source for line in instructions("COPY") if "--from" not in line for source in line.split()[:-1]}
    assert copied == sent
    assert [name for name in sorted(copied) if not (ROOT / name).exists()] == []


def test_the_wheel_can_be_built_of_what_is_sent_and_has_the_bill_of_materials(tmp_path: Path) -> None:
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if line.startswith("!"):
            source, place = ROOT / line[1:], tmp_path / "sent" / line[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            copy(source, place)
    command = [str(UV), "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", str(tmp_path)]
    command += ["--require-hashes", "--build-constraints", str(ROOT / "tools" / "build.txt"), str(tmp_path / "sent")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    [bill] = [file for file in distribution("imds-verifier").files or () if file.name == "imds-verifier.cdx.json"]
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(str(bill)) == bill.read_binary()


def test_the_compose_file_is_one_as_the_specification_has_it() -> None:
    """Strictly: a key that there is none of is refused. Extensions, `x-…`, are for anything."""
    plain = {name: value for name, value in COMPOSE.items() if not name.startswith("x-")}
    assert ComposeSpecification.model_validate(plain).name == "imds-verifier"
    with pytest.raises(ValueError, match="imagee"):
        ComposeSpecification.model_validate({"services": {"verifier": {"imagee": "x"}}})


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_of_the_compose_file_is_bound_and_reached_from_here_alone(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")] == []
    for needed, told in service.get("depends_on", {}).items():
        assert told == {"condition": "service_healthy"}
        # The verifier's check is the image's own.
        assert "healthcheck" in COMPOSE["services"][needed] or needed == "verifier"
    for volume in service.get("volumes", []):
        assert volume.partition(":")[0] in COMPOSE["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_of_the_compose_file_runs_a_command_that_there_is(name: str) -> None:
    service = COMPOSE["services"][name]
    if service["image"] == "imds-verifier:local":
        assert service.get("command", ["serve"])[0] in {command.name for command in COMMANDS}
        assert service["build"]["context"] == "."


def test_a_stop_of_the_compose_file_waits_for_what_is_in_flight() -> None:
    seconds = int(COMPOSE["services"]["verifier"]["stop_grace_period"].removesuffix("s"))
    assert seconds > Settings.model_fields["graceful_stop_seconds"].default
