"""Find the files that the arguments of `verify` name, directly or in directories."""

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import field
from itertools import islice

from verifier.cli.commands import UsageError
from verifier.core.values import dataclass

#: The most names that one run looks at: files, directories, and names that it skips.
MAX_NAMES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFile:
    """Name one file to verify. `fault` says why it cannot be opened, and is empty if it can."""

    name: str
    fault: str = ""


@dataclasses.dataclass(slots=True, kw_only=True)
class DocumentFiles:
    """Collect the files to verify: each argument that is a file, and every file below one that is a directory.

    The entries of a directory are sorted. Skipped in directories: names that start with a dot, and symbolic links to
    directories. Everything else that is no regular file, and a directory that cannot be listed, is kept with its fault.
    """

    #: The most names. `add` raises UsageError for more.
    limit: int = MAX_NAMES
    files: list[DocumentFile] = field(default_factory=list)
    skipped: int = 0
    _names: int = 0

    def add(self, argument: str) -> None:
        """Add a file, or everything in a directory. Raises UsageError for too many names."""
        if not os.path.isdir(argument):  # noqa: PTH112 - names stay as they were given
            self._count(1)
            self.files.append(DocumentFile(name=argument))
            return
        directories = [argument]
        while directories:
            directories += reversed(self._add_directory(directories.pop()))

    def _add_directory(self, directory: str) -> list[str]:
        """Add the files of one directory, and return the directories in it."""
        try:
            with os.scandir(directory) as names:
                # One more than the limit is enough to refuse the run.
                entries = sorted(islice(names, self.limit + 1), key=lambda entry: entry.name)
        except OSError as error:
            self.files.append(DocumentFile(name=directory, fault=_fault_of(error)))
            return []
        self._count(len(entries))
        inner: list[str] = []
        for entry in entries:
            try:
                if entry.name.startswith(".") or (entry.is_symlink() and entry.is_dir()):
                    self.skipped += 1
                elif entry.is_dir():
                    inner.append(entry.path)
                else:
                    # Opening a named pipe or a device could block.
                    fault = "" if entry.is_file() else "not a regular file"
                    self.files.append(DocumentFile(name=entry.path, fault=fault))
            except OSError as error:  # for example a loop of symbolic links
                self.files.append(DocumentFile(name=entry.path, fault=_fault_of(error)))
        return inner

    def _count(self, names: int) -> None:
        self._names += names
        if self._names > self.limit:
            raise UsageError(f"more than {self.limit:,} names: verify fewer directories at a time")


def find_documents(arguments: Iterable[str], *, limit: int = MAX_NAMES) -> DocumentFiles:
    """Return the files that the arguments name. Raises UsageError for more than `limit` names, and if none is a file.

    The latter is no success: a wrong path would look verified.
    """
    found = DocumentFiles(limit=limit)
    for argument in arguments:
        found.add(argument)
    if not found.files:
        raise UsageError("the directories hold no file to verify (hidden names are skipped)")
    return found


def _fault_of(error: OSError) -> str:
    return error.strerror or type(error).__name__
