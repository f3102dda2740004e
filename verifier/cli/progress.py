"""Draw a progress bar of one line on a terminal."""

import shutil
import time
from typing import TextIO

_WIDTH = 30
_SECONDS_BETWEEN_DRAWINGS = 0.1


class ProgressBar:
    """Show how much of `total` is done. It writes only to a terminal, and only if `total` is more than 1.

    The bar is ASCII and uses no escape sequences, so that every console can show it.
    """

    def __init__(self, stream: TextIO, total: int) -> None:
        self._stream = stream
        self._total = total
        self._is_shown = total > 1 and stream.isatty()
        self._drawn = 0
        self._drawn_at = float("-inf")

    def draw(self, done: int, note: str) -> None:
        """Draw the bar, but not more often than a person can see."""
        now = time.monotonic()
        if not self._is_shown or now - self._drawn_at < _SECONDS_BETWEEN_DRAWINGS:
            return
        bar = "#" * (_WIDTH * done // self._total)
        line = f"[{bar:.<{_WIDTH}}] {done:,} of {self._total:,}, {note}"[: shutil.get_terminal_size().columns - 1]
        self._stream.write(f"\r{line:<{self._drawn}}")
        self._stream.flush()
        self._drawn, self._drawn_at = len(line), now

    def clear(self) -> None:
        """Remove the bar, so that other text can use its line."""
        if self._drawn:
            self._stream.write(f"\r{'':<{self._drawn}}\r")
            self._stream.flush()
            self._drawn = 0
