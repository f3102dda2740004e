"""Load a script of the repository, which is in no package, as a module."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

ROOT = Path(__file__).parents[2]


def load_script(path: str) -> ModuleType:
    """Return the module of a file, named from the root of the repository. The search path stays as it was."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for their module there
    with mock.patch.object(sys, "path", list(sys.path)):
        spec.loader.exec_module(module)
    return module
