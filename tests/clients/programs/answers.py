"""Answer the start, and then each line of stdin, with one line of JSON: what a client got, or how it failed."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TextIO


def answer_lines(attempt: Callable[[], object]) -> None:
    """Call `attempt` for each line. The answers have a descriptor of their own, because clients print to stdout."""
    with os.fdopen(int(os.environ["ANSWERS_FD"]), "w", encoding="utf-8") as answers:
        write_line(answers, {"ready": True})
        for _ in sys.stdin:
            try:
                answer: Mapping[str, object] = {"got": attempt()}
            except Exception as error:  # noqa: BLE001 - the type of the exception is what is tested
                answer = {"error": type(error).__name__, "text": str(error)}
            write_line(answers, answer)


def write_line(file: TextIO, answer: Mapping[str, object]) -> None:
    file.write(json.dumps(answer) + "\n")
    file.flush()
