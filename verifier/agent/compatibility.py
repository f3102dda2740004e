"""`dataclass` with the options of Python 3.10, which Python 3.9 ignores: the agent runs on both.

On Python 3.9 a field with a default must follow those without, also where all are passed by name.
"""

import sys

if sys.version_info >= (3, 10):  # noqa: UP036 - the service needs 3.11, the agent as one file 3.9
    from dataclasses import dataclass
else:
    import dataclasses
    from collections.abc import Callable

    def dataclass(*, frozen: bool = False, **_ignored: bool) -> Callable[[type], type]:
        return dataclasses.dataclass(frozen=frozen)


__all__ = ["dataclass"]
