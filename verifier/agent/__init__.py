"""The agent: runs on a virtual machine, fetches its attested document from IMDS, and asks a verifier for the verdict.

Uses only the standard library, so that it can be shipped as one file. Its public interface is the command line.
"""

from verifier.agent.command import configure, run

__all__ = ["configure", "run"]
