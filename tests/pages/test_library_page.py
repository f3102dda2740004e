"""docs/integrate/library.md: its commands and programs run, and print what the page shows."""

import json
import re
import shutil
from pathlib import Path

import pytest
from support.documents import SAMPLES, sample
from support.page_blocks import blocks_of, commands_of, run_commands

PAGE = "docs/integrate/library.md"
RUNS_BLOCKS = {
    "docs/integrate/library.md": {"Verify files, and use the library": 1, "Many files": 2, "Library": 2},
    "README.md": {"Library": 1},
}
#: The page says that its document is this one.
SAMPLE = SAMPLES / "public-eastus-2026-07-28.json"
VM_ID = "b1310a36-d400-46f6-82cb-6217df846586"


@pytest.fixture(autouse=True)
def document(tmp_path: Path) -> Path:
    return Path(shutil.copy(SAMPLE, tmp_path / "document.json"))


def test_one_document(tmp_path: Path) -> None:
    section = "Verify files, and use the library"
    [shown] = blocks_of(PAGE, section, "text")
    lines = shown.text.splitlines()
    printed = run_commands(commands_of(PAGE, section), directory=tmp_path, environment={}).splitlines()
    for line, told in zip(lines, printed, strict=False):
        assert "…" in line or line == told
    result, end = json.JSONDecoder().raw_decode(rest := "\n".join(printed[len(lines) :]))
    assert (result["verdict"], result["claims"]["vmId"]) == ("verified", VM_ID)
    inspection = json.loads(rest[end:])
    # As of today, so the chain was not reached.
    assert (inspection["code"], inspection["authentic"]) == ("document-expired", None)
    assert inspection["unverified"]["claims"]["vmId"] == VM_ID


def test_many_documents(tmp_path: Path) -> None:
    """990 genuine files and 10 forged ones, as in the summary of the page."""
    genuine = json.loads(SAMPLE.read_text("utf-8"))
    forged = {**genuine, "signature": genuine["signature"][:-8] + "AAAAAAAA"}
    for name in ("2026-07", "more"):
        (tmp_path / name).mkdir()
    for number in range(999):
        made = forged if number < 10 else genuine
        (tmp_path / "2026-07" / f"{number:03}.json").write_text(json.dumps(made), "utf-8")
    (tmp_path / "more" / "document.der").write_bytes(sample(SAMPLE.stem))
    script = f"exec 2>errors\n{commands_of(PAGE, 'Many files')}"
    printed = run_commands(script, directory=tmp_path, environment={}, statuses=frozenset({1}))
    answers = [json.loads(line) for line in printed.splitlines()]
    assert [answer["file"] for answer in answers][-2:] == ["2026-07/998.json", "more/document.der"]
    assert len(answers) == 1000
    [summary] = (tmp_path / "errors").read_text("utf-8").splitlines()
    [shown] = blocks_of(PAGE, "Many files", "console")[0].output
    assert without_seconds(summary) == without_seconds(shown)


def without_seconds(line: str) -> str:
    return re.sub(r"in [0-9.]+ seconds", "", line)


@pytest.mark.parametrize(
    ("page", "number", "printed"),
    [(PAGE, 0, VM_ID), (PAGE, 1, "refused document-expired"), ("README.md", 0, VM_ID)],
)
def test_programs(page: str, number: int, printed: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(blocks_of(page, "Library", "python")[number].text, "utf-8")
    told = run_commands("python3 -W error program.py", directory=tmp_path, environment={})
    assert told.startswith(printed)
