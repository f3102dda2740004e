"""Reload the settings of a running service. Only RELOADABLE settings change; the others need a restart."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from pydantic import ValidationError

from verifier.adapters.polling import FileFollower
from verifier.adapters.settings.settings import RELOADABLE, Settings, SettingsError, explain
from verifier.core.values import dataclass
from verifier.ports.telemetry import Recorder, ReloadOutcome, SettingsReloaded

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _InForce:
    """Hold the settings and the value of each view. Both change together."""

    settings: Settings
    made: tuple[object, ...] = ()


class LiveSettings:
    """Follow the settings file. Thread-safe; a request never waits for a reload.

    `settings` are the settings at the start. `load` returns the present settings and raises SettingsError. If `file` is
    None, the settings do not change.
    """

    def __init__(
        self, settings: Settings, *, load: Callable[[], Settings], file: Path | None, recorder: Recorder
    ) -> None:
        self._start = settings
        self._load = load
        self._file = file
        self._recorder = recorder
        self._turn = threading.Lock()
        self._views: list[Callable[[Settings], object]] = []
        self._in_force = _InForce(settings=settings)
        # The digest of the file at the last check.
        self._seen = ""
        # A retry may succeed without a change of the file: the reason may be in a file that the settings name.
        self._follower = FileFollower(self._look, self._load_file, retry_refused=True)
        self._waiting: frozenset[str] = frozenset()

    def settings(self) -> Settings:
        """Return the settings in force: the same object until a reload changes them."""
        return self._in_force.settings

    def view(self, make: Callable[[Settings], _T]) -> Callable[[], _T]:
        """Register a view, and return a function that returns its present value.

        `make` computes the value once for each reload, before the settings take effect. If it raises ValueError, the
        reload is refused. Raises the error of `make` for the settings at the start.
        """
        with self._turn:
            number = len(self._views)
            before = self._in_force
            self._in_force = _InForce(settings=before.settings, made=(*before.made, make(before.settings)))
            self._views.append(make)
        return lambda: cast("_T", self._in_force.made[number])

    def refresh(self) -> None:
        """Load the file if it has changed.

        Invalid settings are refused, and the previous ones stay in force. The same reason is recorded once.
        """
        with self._turn:
            refusal = self._follower.refusal
            loaded = self._follower.read()
            if loaded is not None:
                self._put_in_force(*loaded, is_news=bool(refusal))
            elif self._follower.refusal != refusal:
                self._record(ReloadOutcome.REFUSED, self._follower.refusal)

    def _look(self) -> str | None:
        """Return the digest of the file if two checks in a row found the same, or if this is the first check.

        The second check avoids loading a file that is still being written.
        """
        if self._file is None:
            return None
        before, self._seen = self._seen, _digest(self._file)
        return self._seen if before in {"", self._seen} else None

    def _load_file(self, digest: str) -> tuple[_InForce, frozenset[str]] | None:
        """Return the settings in force and the changes that need a restart. Return None if the file changed meanwhile.

        Raises SettingsError.
        """
        try:
            loaded = self._load()
            in_force = self._make(loaded)
        except ValidationError as error:
            raise SettingsError(explain(error)) from error
        return (in_force, _differing(self._start, loaded) - RELOADABLE) if digest == self._look() else None

    def _make(self, loaded: Settings) -> _InForce:
        """Compute the settings in force and the views from `loaded`. Raises ValueError."""
        changed = self._start.model_copy(update={name: getattr(loaded, name) for name in RELOADABLE})
        # Validate the combination: the start and the file are both valid, but a mix may listen openly without tenants.
        settings = Settings.model_validate(changed)
        return _InForce(settings=settings, made=tuple(make(settings) for make in self._views))

    def _put_in_force(self, in_force: _InForce, waiting: frozenset[str], *, is_news: bool) -> None:
        changed = _differing(self._in_force.settings, in_force.settings)
        if changed:
            self._in_force = in_force
        if changed or is_news or waiting != self._waiting:
            parts = [f"changed: {_list(changed)}"]
            if waiting:
                parts.append(f"changed after a restart: {_list(waiting)}")
            self._record(ReloadOutcome.LOADED, "; ".join(parts))
        self._waiting = waiting

    def _record(self, outcome: ReloadOutcome, detail: str) -> None:
        self._recorder.record(SettingsReloaded(outcome=outcome, detail=detail))


def _differing(one: Settings, other: Settings) -> frozenset[str]:
    return frozenset(name for name in Settings.model_fields if getattr(one, name) != getattr(other, name))


def _list(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _digest(file: Path) -> str:
    """Return the digest of the file's present content, or the error number if it cannot be read.

    The content reveals every kind of change: a write, a rename, or a switched symbolic link (a Kubernetes mount).
    Only a digest is kept, because the file may hold a password.
    """
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        return f"unreadable: {error.errno}"
