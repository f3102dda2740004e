"""Every command and every code block of the documentation runs in the suite, or has a reason here why it cannot."""

import ast
import re
from collections import Counter
from functools import cache

import pytest
from support.page_blocks import ROOT, RUNNABLE, Block, blocks_of, pages

#: The beginning of a block, and why the suite cannot run it.
NOT_RUN = {
    "docker ": "needs a container engine. tests/chart/test_image.py builds what the Dockerfile installs",
    "helm ": "needs a cluster. tests/chart renders the chart with these values",
    "kubectl ": "needs a cluster",
    "cosign ": "needs a published release",
    "git tag ": "publishes a release",
    "TAG=v1.2.3 make release-check": "needs PyPI. The workflow `ci` runs it",
    "make demo": ".ci/run runs it. tests/unit/relying_party/test_distribution.py builds and installs the package",
}


def blocks_to_run(page: str) -> list[Block]:
    return [block for block in blocks_of(page, None, *RUNNABLE) if not block.text.startswith(tuple(NOT_RUN))]


@cache
def declared() -> dict[str, Counter[str]]:
    """Return how many blocks of each section of each page the test modules say that they run."""
    found: dict[str, Counter[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for statement in ast.parse(path.read_text("utf-8")).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id="RUNS_BLOCKS")], value=value):
                    for page, sections in ast.literal_eval(value).items():
                        found.setdefault(page, Counter()).update(sections)
    return found


@pytest.mark.parametrize("page", pages())
def test_every_block_of_a_page_runs(page: str) -> None:
    assert declared().get(page, Counter()) == Counter(block.section for block in blocks_to_run(page))


def test_no_other_page_is_declared() -> None:
    assert declared().keys() - set(pages()) == set()


@pytest.mark.parametrize("page", pages())
def test_blocks_name_their_language(page: str) -> None:
    assert [str(block) for block in blocks_of(page) if block.language not in {*RUNNABLE, "text", "http"}] == []


@pytest.mark.parametrize("beginning", NOT_RUN)
def test_blocks_that_cannot_run_exist(beginning: str) -> None:
    assert any(block.text.startswith(beginning) for page in pages() for block in blocks_of(page))


@pytest.mark.parametrize("page", pages())
def test_blocks_that_cannot_run_hide_no_command_that_can(page: str) -> None:
    hidden = [block for block in blocks_of(page, None, *RUNNABLE) if block not in blocks_to_run(page)]
    assert [
        str(block) for block in hidden if re.search(r"^(imds-verifier|curl|python3?|sh) ", block.commands, re.MULTILINE)
    ] == []


def test_pages_are_found() -> None:
    assert {"README.md", "docs/start/tutorial.md", "examples/README.md"} <= set(pages())
