"""Take away from a Python process what Windows and macOS do not have, and the packages that only the service needs."""

from pathlib import Path

#: Modules that Windows lacks, and those that only `serve` and stores on Redis import.
MODULES = ("fcntl", "grp", "pwd", "resource", "termios", "gevent", "greenlet", "gunicorn", "redis")
#: Functions and flags of `os` that Windows or macOS lack.
NAMES = ("fdatasync", "fork", "register_at_fork", "getuid", "geteuid", "getgid", "O_NOFOLLOW", "O_NONBLOCK")

_SITE = """
import os, sys
for name in {modules!r}:
    sys.modules[name] = None
for name in {names!r}:
    delattr(os, name)
"""


def bare_environment(directory: Path, *modules: str) -> dict[str, str]:
    """Return what to add to the environment of a process, so that it lacks these modules, or all of MODULES.

    Python runs `sitecustomize` before the program.
    """
    (directory / "sitecustomize.py").write_text(_SITE.format(modules=modules or MODULES, names=NAMES))
    return {"PYTHONPATH": str(directory)}
