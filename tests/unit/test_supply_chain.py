"""The bill of materials, the audit of dependencies, and what SECURITY.md says of each check of OpenSSF Scorecard."""

import json
import re
import subprocess
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for one call

ROOT = Path(__file__).parents[2]
UV = ROOT / ".tools" / "bin" / "uv"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
LOCK: dict[str, Any] = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))
#: https://github.com/ossf/scorecard/blob/main/docs/checks.md, in its order.
CHECKS = (
    "Binary-Artifacts",
    "Branch-Protection",
    "CI-Tests",
    "CII-Best-Practices",
    "Code-Review",
    "Contributors",
    "Dangerous-Workflow",
    "Dependency-Update-Tool",
    "Fuzzing",
    "License",
    "Maintained",
    "Packaging",
    "Pinned-Dependencies",
    "SAST",
    "SBOM",
    "Security-Policy",
    "Signed-Releases",
    "Token-Permissions",
    "Vulnerabilities",
    "Webhooks",
)
#: The first bytes of programs and archives: ELF, PE, Mach-O, Java, WebAssembly, ZIP, gzip, ar.
_PROGRAMS = (
    b"\x7fELF",
    b"MZ",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
    b"\0asm",
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"!<arch>",
)
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def output_of(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files() -> list[Path]:
    return [ROOT / name for name in output_of("git", "ls-files", "-z").split("\0") if name]


def scripts(workflow: Path) -> str:
    jobs = yaml.safe_load(workflow.read_text("utf-8"))["jobs"]
    return "\n".join(str(step.get("run", "")) for job in jobs.values() for step in job.get("steps", []))


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    """Return the bill of materials in the installed wheel."""
    [file] = [file for file in distribution("imds-verifier").files or () if "sboms" in file.parts]
    assert str(file).endswith(".dist-info/sboms/imds-verifier.cdx.json")
    fields: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return fields


def test_the_wheel_has_a_bill_of_its_locked_packages(bill: dict[str, Any]) -> None:
    exported = json.loads(
        output_of(
            str(UV), "export", "--quiet", "--locked", "--no-default-groups", "--extra", "otel",
            "--format", "cyclonedx1.5",
        )
    )  # fmt: skip

    def files_of(fields: dict[str, Any]) -> dict[str, set[str]]:
        return {
            component["purl"]: {reference["hashes"][0]["content"] for reference in component["externalReferences"]}
            for component in fields["components"]
        }

    assert len(bill["components"]) > 50
    assert files_of(bill) == files_of(exported)


def test_the_bill_names_the_version_and_is_reproducible(bill: dict[str, Any]) -> None:
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert bill["metadata"]["component"]["version"] == distribution("imds-verifier").version
    assert "serialNumber" not in bill
    assert "timestamp" not in bill["metadata"]


def test_each_reference_of_the_bill_is_a_component(bill: dict[str, Any]) -> None:
    components = {"imds-verifier", *(component["bom-ref"] for component in bill["components"])}
    edges = {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]}
    assert edges.keys() == components
    assert {name for names in edges.values() for name in names} == components - {"imds-verifier"}


def test_image_and_release_have_the_bill_of_the_wheel() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert "dist-info/sboms/imds-verifier.cdx.json . " in dockerfile
    final = dockerfile[dockerfile.rindex("\nFROM ") :]
    assert "COPY --from=build /build/imds-verifier.cdx.json " in final
    assert "_copy_bill(directory)" in (ROOT / "tools" / "build_release.py").read_text("utf-8")


def test_the_audit_is_strict_and_of_every_locked_package() -> None:
    """Without --strict, pip-audit 2.10.1 succeeds if it could look up no package at all."""
    [workflow] = [path for path in WORKFLOWS if path.name == "audit.yml"]
    assert scripts(workflow).split("\n")[-1] == "make audit"
    triggers = yaml.safe_load(workflow.read_text("utf-8"))[True]
    assert {"pull_request", "push", "schedule"} <= triggers.keys()

    recipe = output_of("make", "--dry-run", "audit").replace("\\\n", " ").splitlines()
    [export] = [line.split() for line in recipe if " export " in line]
    audits = [line.split() for line in recipe if "pip-audit " in line]
    assert all({"--strict", "--require-hashes", "--disable-pip"} <= set(audit) for audit in audits)
    assert [audit[-1] for audit in audits] == [export[-1], "tools/build.txt", "tools/uv.txt"]
    assert {audit[-2] for audit in audits} == {"--requirement"}


def test_security_page_has_every_check_of_scorecard_in_order() -> None:
    rows = re.findall(
        r"^\| ([A-Z]\w*(?:-\w+)*) \| (.+?) \| .+ \|$", (ROOT / "SECURITY.md").read_text("utf-8"), re.MULTILINE
    )
    assert [name for name, _ in rows] == list(CHECKS)
    assert {result for _, result in rows} == {"holds", "after a release", "GitHub", "partly", "missing"}


def test_no_file_is_a_program_or_an_archive() -> None:
    found = [
        path.relative_to(ROOT).as_posix()
        for path in files()
        if path.is_file() and path.read_bytes()[:8].startswith(_PROGRAMS)
    ]
    assert len(files()) > 1000
    assert found == []


def test_every_locked_file_has_a_hash() -> None:
    others = [package["name"] for package in LOCK["package"] if "registry" not in package["source"]]
    assert others == ["imds-verifier"]
    for package in LOCK["package"]:
        locked = [package["sdist"]] if "sdist" in package else []
        locked += package.get("wheels", [])
        assert locked or package["name"] == "imds-verifier"
        assert [file for file in locked if not _HASH.fullmatch(file["hash"])] == []
    for name in ("build.txt", "uv.txt"):
        requirements = re.split(r"\n(?=\w)", (ROOT / "tools" / name).read_text("utf-8"))
        pinned = [text for text in requirements if not text.startswith("#")]
        assert pinned
        assert [text for text in pinned if "==" not in text or not _HASH.search(text)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_no_workflow_runs_what_a_stranger_wrote_with_rights(workflow: Path) -> None:
    """The patterns of Scorecard's check. zizmor looks for more, in `make check`."""
    triggers = yaml.safe_load(workflow.read_text("utf-8"))[True]
    assert {"pull_request_target", "workflow_run", "issue_comment", "issues"}.isdisjoint(triggers)
    assert re.findall(r"\$\{\{[^}]*github\.(?:event\.|head_ref)[^}]*\}\}", scripts(workflow)) == []


def test_dependabot_updates_every_kind_of_dependency() -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text("utf-8"))["updates"]
    assert {(update["package-ecosystem"], update["directory"]) for update in updates} >= {
        ("github-actions", "/"),
        ("uv", "/"),
        ("pip", "/tools"),
        ("pip", "/tests/clients"),
        ("npm", "/tests/clients"),
        ("docker", "/"),
    }


def test_a_release_has_its_provenance_among_its_files() -> None:
    [release] = [path for path in WORKFLOWS if path.name == "release.yml"]
    jobs = yaml.safe_load(release.read_text("utf-8"))["jobs"]
    assert "provenance" in jobs["github"]["needs"]
    assert "imds-verifier.intoto.jsonl" in str(jobs["provenance"])
    assert "imds-verifier.intoto.jsonl" in str(jobs["github"]["steps"][-1]["run"])
