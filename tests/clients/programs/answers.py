"""Answer each line of stdin with one line of JSON: what a client got from IMDS, or how it failed."""

import json
import os
import sys
import time
from collections.abc import Callable


def answer_lines(attempt: Callable[[], object]) -> None:
    """Call `attempt` for each line. The answers have a descriptor of their own, because clients print to stdout."""
    with os.fdopen(int(os.environ["ANSWERS_FD"]), "w", encoding="utf-8") as answers:
        for _ in sys.stdin:
            start = time.monotonic()
            try:
                answer = {"got": attempt()}
            except Exception as error:  # noqa: BLE001 - the type of the exception is what is tested
                answer = {"error": type(error).__name__, "text": str(error)}
            json.dump({**answer, "seconds": time.monotonic() - start}, answers)
            answers.write("\n")
            answers.flush()
