"""Run the agent as `python -m verifier.agent` or as a zipapp."""

from __future__ import annotations

import argparse
import sys

from verifier.agent import command, document_command


def main() -> None:
    """Run the command and exit with its status. A zipapp ignores the value that its entry point returns.

    The command is `attest`, with or without this word, unless the first argument is `document`.
    """
    first, *others = sys.argv[1:] or [""]
    if first == "document":
        parser = argparse.ArgumentParser(prog="attest document", description="Print IMDS's answer to a nonce.")
        document_command.configure(parser)
        sys.exit(document_command.run(parser.parse_args(others)))
    parser = argparse.ArgumentParser(
        prog="attest",
        description="Ask a verifier to verify this virtual machine. `attest document` prints only IMDS's answer.",
    )
    command.configure(parser)
    sys.exit(command.run(parser.parse_args(others if first == "attest" else sys.argv[1:])))


if __name__ == "__main__":
    main()
