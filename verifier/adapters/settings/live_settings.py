"""Settings on a running service: those that may change are as the file says now, the others as the service started."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from pydantic import ValidationError

from verifier.adapters.polling import poll, start_polling
from verifier.adapters.settings.settings import RELOADABLE, Settings, explain
from verifier.core.policy import Policies
from verifier.ports.telemetry import Recorder, ReloadOutcome, SettingsReloaded

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _InForce:
    """Settings, and what each view made of them, which change together."""

    settings: Settings
    made: tuple[object, ...] = ()


class LiveSettings:
    """The settings in force, over the file that they came from. Thread-safe; a request never waits for a reload.

    `settings` are those of the start, and stay as they are but for RELOADABLE; `load` gives those of now, and raises
    SettingsError; `file` is None where there is none, and nothing changes then.
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
        # Digests of the file: as it was looked at last, and as it was read last.
        self._seen = self._read = ""
        self._refusal = ""
        self._waiting: frozenset[str] = frozenset()
        self.policies: Callable[[], Policies] = self.view(lambda now: now.named_policies)

    def settings(self) -> Settings:
        """The settings in force: the same object until others are."""
        return self._in_force.settings

    def view(self, make: Callable[[Settings], _T]) -> Callable[[], _T]:
        """Gives what `make` makes of the settings in force: made once for each, before they are in force. Settings of
        which it makes nothing, since it raises ValueError, are refused; those of the start are not, and it raises."""
        with self._turn:
            number = len(self._views)
            before = self._in_force
            self._in_force = _InForce(settings=before.settings, made=(*before.made, make(before.settings)))
            self._views.append(make)
        return lambda: cast("_T", self._in_force.made[number])

    def refresh(self) -> None:
        """The settings in force are those of the file, where it was the same at the last look too: one that is being
        written says less than it will, and an empty one nothing. The first look is taken as it is.

        What is no settings is refused, told once until the reason is another one, and the ones before stay. It is
        tried again at each look: the reason may lie in another file, or in none.
        """
        if self._file is None:
            return
        with self._turn:
            before, self._seen = self._seen, _digest(self._file)
            if self._seen == self._read or (before and before != self._seen):
                return
            try:
                loaded = self._load()
                in_force = self._make(loaded)
            except ValueError as error:
                self._refuse(_sentence(error))
                return
            # What changed while it was read is seen by the next look.
            if _digest(self._file) == self._seen:
                self._read = self._seen
                self._put_in_force(in_force, waiting=_differing(self._start, loaded) - RELOADABLE)

    def watch(self, stop: threading.Event, *, interval_seconds: float) -> None:
        """Refreshes at each interval until `stop` is set, whatever goes wrong."""
        poll(self.refresh, self._recorder, stop, interval_seconds=interval_seconds)

    def start(self, *, interval_seconds: float) -> threading.Event:
        """A thread of this process watches until the event that is returned is set."""
        return start_polling(self.refresh, self._recorder, name="settings", interval_seconds=interval_seconds)

    def _make(self, loaded: Settings) -> _InForce:
        """Raises ValueError."""
        changed = self._start.model_copy(update={name: getattr(loaded, name) for name in RELOADABLE})
        # What holds of both need not hold of the two together: tenants are what lets a service listen openly.
        settings = Settings.model_validate(changed)
        return _InForce(settings=settings, made=tuple(make(settings) for make in self._views))

    def _refuse(self, detail: str) -> None:
        self._read = ""
        if detail != self._refusal:
            self._recorder.record(SettingsReloaded(outcome=ReloadOutcome.REFUSED, detail=detail))
        self._refusal = detail

    def _put_in_force(self, in_force: _InForce, *, waiting: frozenset[str]) -> None:
        changed = _differing(self._in_force.settings, in_force.settings)
        if changed:
            self._in_force = in_force
        if changed or self._refusal or waiting != self._waiting:
            told = [f"changed: {_list(changed)}"]
            if waiting:
                told.append(f"changed after a restart: {_list(waiting)}")
            self._recorder.record(SettingsReloaded(outcome=ReloadOutcome.LOADED, detail="; ".join(told)))
        self._refusal = ""
        self._waiting = waiting


def _differing(one: Settings, other: Settings) -> frozenset[str]:
    return frozenset(name for name in Settings.model_fields if getattr(one, name) != getattr(other, name))


def _list(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _sentence(error: ValueError) -> str:
    return explain(error) if isinstance(error, ValidationError) else str(error)


def _digest(file: Path) -> str:
    """Of what a reader of the file sees now, however it came there: written, renamed, or by a symbolic link that
    leads elsewhere (a Kubernetes mount). A digest, since the file may hold a password."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        return f"unreadable: {error.errno}"
