"""Parse the PowerShell agent and compare it with the shell agent, because no registry has PowerShell to run it.

If `pwsh` is on PATH, `tests/system/test_agents.py` runs it against every fault.
"""

import re
from collections.abc import Iterator
from itertools import islice

import pytest
import tree_sitter_powershell
from support.agents import EXAMPLES
from tree_sitter import Language, Node, Parser

from verifier.agent.exit_codes import ExitCode

POWER = (EXAMPLES / "agent.ps1").read_text("utf-8")
SHELL = (EXAMPLES / "agent.sh").read_text("utf-8")
#: Commands and variables of PowerShell itself.
COMMANDS = {
    "Add-Type",
    "ConvertFrom-Json",
    "ConvertTo-Json",
    "Get-Content",
    "New-Object",
    "Set-StrictMode",
    "Start-Sleep",
    "Where-Object",
}
VARIABLES = {"$_", "$args", "$matches", "$null", "$true", "$false", "$erroractionpreference", "$executioncontext"}
_VARIABLE = re.compile(r"\$\{?[a-z_]+(?::-(?P<default>[^}]*))?\}?", re.IGNORECASE)


@pytest.fixture(scope="module")
def tree() -> Node:
    return Parser(Language(tree_sitter_powershell.language())).parse(POWER.encode()).root_node


def nodes(tree: Node, kind: str) -> Iterator[Node]:
    if tree.type == kind:
        yield tree
    for child in tree.children:
        yield from nodes(child, kind)


def texts(tree: Node, kind: str) -> set[str]:
    return {(node.text or b"").decode() for node in nodes(tree, kind)}


def name_of(variable: Node) -> str:
    """Return the name without braces, in lower case: PowerShell ignores case."""
    return (variable.text or b"").decode().translate({ord("{"): None, ord("}"): None}).lower()


def test_powershell_agent_parses(tree: Node) -> None:
    assert not tree.has_error


def test_every_command_exists(tree: Node) -> None:
    assert texts(tree, "command_name") - texts(tree, "function_name") == COMMANDS


def test_every_function_is_called(tree: Node) -> None:
    assert texts(tree, "function_name") <= texts(tree, "command_name")


def test_every_variable_is_assigned(tree: Node) -> None:
    assigned = set(VARIABLES)
    for kind in ("script_parameter", "left_assignment_expression", "foreach_statement"):
        assigned |= {name_of(first) for node in nodes(tree, kind) for first in islice(nodes(node, "variable"), 1)}
    assert {name_of(node) for node in nodes(tree, "variable")} - assigned == set()


def test_powershell_agent_sends_the_requests_of_the_shell_agent() -> None:
    for pattern in (
        r"/v1/nonces",
        r"/v1/attestations",
        r"/challenges",
        r"/licenses",
        r"/metadata/attested/document\?api-version=[0-9-]+&nonce=",
    ):
        assert set(re.findall(pattern, SHELL)) == set(re.findall(pattern, POWER)) != set()


def test_powershell_agent_has_the_options_of_the_shell_agent() -> None:
    shell = set(re.findall(r"--([a-z-]+)", SHELL.split("set -eu")[0]))
    power = set(re.findall(r"^    (?:\[switch\] )?\$([A-Za-z]+)", POWER.split("Set-StrictMode")[0], re.MULTILINE))
    assert {name.replace("-", "") for name in shell} == {name.lower() for name in power}


def test_powershell_agent_waits_as_long_as_the_shell_agent() -> None:
    shell = {
        int(code): waits.split()
        for code, waits in re.findall(r"^        ([0-9]+)\) echo ([0-9 ]+) ;;", SHELL, re.MULTILINE)
    }
    table = re.search(r"^\$imdsWaits = @\{(.+)\}$", POWER, re.MULTILINE)
    assert table is not None
    power = {int(code): waits.split(", ") for code, waits in re.findall(r"([0-9]+) = @\(([0-9, ]+)\)", table[1])}
    assert shell == power
    assert set(shell) == {
        ExitCode.IMDS_UNREACHABLE,
        ExitCode.IMDS_RATE_LIMITED,
        ExitCode.IMDS_UPDATING,
        ExitCode.IMDS_ERROR,
    }
    rounds = re.search(r"foreach \(\$defaultWait in @\(([0-9, ]+)\)\)", POWER)
    assert rounds is not None
    assert f"for default_wait in {rounds[1].replace(',', '')} none; do" in SHELL


def sentences(text: str, pattern: str) -> set[tuple[int, str]]:
    """Return exit codes and sentences, with `…` for each variable and without parentheses at the end."""
    return {
        (int(status), re.sub(r" \([^)]+\)$", "", _VARIABLE.sub("…", sentence)))
        for status, sentence in re.findall(pattern, text)
    }


def test_powershell_agent_has_the_exit_codes_and_sentences_of_the_shell_agent() -> None:
    shell = sentences(
        SHELL, r"""(?:finish|not_attested) ([0-9]+) ["']?([^\n]+?)["']?(?: retryable| "\$again"|)(?: ;;|;|\n)"""
    )
    power = sentences(POWER, r"""(?:Stop-Agent|New-Failure) ([0-9]+) ["'](.+?)["'](?: |$|\n)""")
    assert {status for status, _ in shell} == set(ExitCode) - {ExitCode.VERIFIED}
    # Usage errors differ between the two; an interrupt ends PowerShell itself.
    own = {ExitCode.USAGE, ExitCode.INTERRUPTED}
    assert {each for each in power if each[0] not in own} == {each for each in shell if each[0] not in own}
