"""The units and the manifest of the appliance are valid, hardened, and fit the agent and the appliance."""

import argparse
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for one call
from appliance import MAX_GRACE_SECONDS

from verifier.agent.command import configure
from verifier.agent.results import OutputFormat

EXAMPLES = Path(__file__).parents[2] / "examples"
AGENT_UNIT = EXAMPLES / "systemd" / "imds-attest.service"
UNIT = EXAMPLES / "appliance" / "appliance.service"
MANIFEST: dict[str, Any] = yaml.safe_load((EXAMPLES / "appliance" / "kubernetes.yaml").read_text("utf-8"))
POD: dict[str, Any] = MANIFEST["spec"]["template"]["spec"]
#: A container with `restartPolicy` is a sidecar from 1.29 on, unless a feature gate turns that off.
VERSIONS = [f"1.{minor}" for minor in range(29, 38)]
CODE = (EXAMPLES / "appliance" / "appliance.py").read_text("utf-8")
#: The settings that the appliance reads and has no default for.
REQUIRED = {*re.findall(r'"([A-Z_]{4,})"', CODE)} - {"HOST", "PORT", "IMDS"}


def lines(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text("utf-8"), re.MULTILINE)


def unit_environment() -> dict[str, str]:
    pairs = (word.partition("=") for line in lines(UNIT, "Environment") for word in line.split())
    return {name: value.replace("%t", "/run").replace("%S", "/var/lib") for name, _, value in pairs}


def sidecar() -> dict[str, Any]:
    [container] = POD["initContainers"]
    return dict(container)


def main_container() -> dict[str, Any]:
    [container] = POD["containers"]
    return dict(container)


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed")
    return found


def test_systemd_accepts_the_units(analyze: str) -> None:
    done = subprocess.run(
        [analyze, "verify", AGENT_UNIT, UNIT], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_rates_the_exposure_of_the_unit_at_most_2_of_10(analyze: str) -> None:
    command = [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


def test_settings_are_found() -> None:
    assert {"TENANT", "POLICY", "TOKEN_FILE", "STATE_FILE", "VERIFIER_JWKS"} <= REQUIRED


def test_unit_names_the_files_of_the_agent() -> None:
    environment = unit_environment()
    assert environment.keys() >= REQUIRED
    assert lines(UNIT, "User") == lines(AGENT_UNIT, "User")
    [start] = lines(AGENT_UNIT, "ExecStart")
    assert f"--output {environment['TOKEN_FILE']} --status {environment['STATUS_FILE']}" in start.replace("%t", "/run")
    assert environment["STATE_FILE"] == f"/var/lib/{lines(UNIT, 'StateDirectory')[0]}/state"
    assert 0 < int(environment["APPLIANCE_GRACE_SECONDS"]) <= MAX_GRACE_SECONDS


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_the_manifest(version: str) -> None:
    """Strictly: a field that a version does not know is a fault."""
    kubernetes_validate.validate(MANIFEST, version, strict=True)


def test_every_kubernetes_with_sidecars_is_validated() -> None:
    assert kubernetes_validate.latest_version() == f"{VERSIONS[-1]}.0"


def test_pod_runs_the_agent_as_a_sidecar_with_valid_options() -> None:
    container = sidecar()
    assert container["restartPolicy"] == "Always"
    # An appliance that waits for the agent cannot start in an outage.
    assert "startupProbe" not in container
    parser = argparse.ArgumentParser(exit_on_error=False)
    configure(parser)
    arguments = parser.parse_args(container["args"])
    assert (arguments.watch, arguments.output_format) == (True, OutputFormat.TOKEN)
    environment = {variable["name"]: variable["value"] for variable in main_container()["env"]}
    assert environment.keys() >= REQUIRED
    assert arguments.output == Path(environment["TOKEN_FILE"])
    assert arguments.status == Path(environment["STATUS_FILE"])
    assert 0 < int(environment["APPLIANCE_GRACE_SECONDS"]) <= MAX_GRACE_SECONDS


def test_containers_share_the_token_in_memory_and_the_record_is_on_a_volume() -> None:
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    assert volumes["attestation"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Mi"}
    [claim] = MANIFEST["spec"]["volumeClaimTemplates"]
    mounts = {mount["name"]: mount for mount in main_container()["volumeMounts"]}
    assert mounts["attestation"]["readOnly"] is True
    assert mounts[claim["metadata"]["name"]]["mountPath"] == "/var/lib/appliance"
    # The appliance needs no key of the verifier.
    assert "agent-key" not in mounts


def test_pod_keeps_the_restricted_standard() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["runAsUser"] > 0
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & POD.keys()
    assert POD["automountServiceAccountToken"] is False
    for container in (sidecar(), main_container()):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {*container["resources"]} == {"requests", "limits"}


def test_stopped_appliance_gets_no_requests_and_is_not_restarted() -> None:
    container = main_container()
    assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["livenessProbe"].keys() & {"httpGet", "exec"} == set()
