"""Run the command line: `imds-verifier`, or `python -m verifier`."""

import os
import sys

_UNAVAILABLE = 3
#: 128 plus the number of SIGINT, as in shells.
_INTERRUPTED = 130


def main() -> int:
    """Run the command that the arguments name, and return its exit status.

    `serve` patches the standard library before other modules import it: a lock or socket created earlier would block a
    whole worker. The other commands and the library do not import gevent.
    """
    _replace_closed_streams()
    try:
        return _run()
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"imds-verifier: the module {error.name!r} is missing: it is not installed, or not for this system\n"
        )
        return _UNAVAILABLE
    except KeyboardInterrupt:
        sys.stderr.write("imds-verifier: interrupted\n")
        return _INTERRUPTED


def _replace_closed_streams() -> None:
    """Open the null device for each standard stream that the caller closed, as with `>&-`.

    Python has None there. A write would crash, and the status of a crash, 1, says "refused".
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - open until the exit


def _run() -> int:
    if sys.argv[1:2] == ["serve"]:
        from verifier.adapters.http.process import prepare_process  # noqa: PLC0415 - for this command alone

        prepare_process()
    from verifier.wiring import main as run  # noqa: PLC0415 - after the patch

    return run()


if __name__ == "__main__":
    sys.exit(main())
