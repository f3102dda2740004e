"""What `import verifier` offers."""

import subprocess
import sys

import pytest

import verifier


@pytest.mark.parametrize("name", verifier.__all__)
def test_every_name_that_the_library_offers_is_there(name: str) -> None:
    assert getattr(verifier, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = verifier.no_such_name


def test_the_agent_imports_nothing_but_the_standard_library() -> None:
    probe = (
        "import sys\n"
        "before = set(sys.modules)\n"  # a system may import a module of its own at the start
        "import verifier.agent.command\n"
        "foreign = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print(sorted(name for name in foreign if not name.startswith('_')))"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", probe], check=True, capture_output=True, text=True)

    assert ran.stdout.strip() == "['verifier']"
