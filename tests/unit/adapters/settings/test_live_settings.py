"""Settings that change while the service runs: what may change does, what may not waits, what is broken is told."""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from verifier.adapters.polling import poll, start_polling
from verifier.adapters.settings.live_settings import LiveSettings
from verifier.adapters.settings.settings import RELOADABLE, Settings, SettingsError, load_settings
from verifier.ports.telemetry import Event, RefreshFailed, ReloadOutcome, SettingsReloaded

WAIT_SECONDS = 30
GOLD = '[policies.gold]\npublishers = ["contoso"]\n'
SILVER = "[policies.silver]\nrequirePlan = true\n"
LOADED, REFUSED = ReloadOutcome.LOADED, ReloadOutcome.REFUSED


@dataclass(frozen=True, slots=True)
class KeptReloads:
    """Implements the Recorder port: keeps the reloads of settings, and failures."""

    reloads: list[tuple[ReloadOutcome, str]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    told: threading.Event = field(default_factory=threading.Event)

    def record(self, event: Event) -> None:
        match event:
            case SettingsReloaded(outcome=outcome, detail=detail):
                self.reloads.append((outcome, detail))
            case RefreshFailed(error=error):
                self.failures.append(error)
            case _:
                raise AssertionError(event)
        self.told.set()


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The settings file of the start: one policy."""
    path = tmp_path / "verifier.toml"
    path.write_text(GOLD)
    monkeypatch.setenv("VERIFIER_CONFIG", str(path))
    return path


@pytest.fixture
def recorder() -> KeptReloads:
    return KeptReloads()


@pytest.fixture
def live(file: Path, recorder: KeptReloads) -> LiveSettings:
    """Started, and looked at once."""
    made = LiveSettings(load_settings(), load=load_settings, file=file, recorder=recorder)
    made.refresh()
    return made


def names(live: LiveSettings) -> set[str]:
    return set(live.settings().named_policies.rules) - {"default"}


def look_twice(live: LiveSettings) -> None:
    live.refresh()
    live.refresh()


def test_is_the_settings_of_the_start_at_first(live: LiveSettings, recorder: KeptReloads) -> None:
    before = live.settings()
    look_twice(live)
    assert names(live) == {"gold"}
    assert live.settings() is before
    assert recorder.reloads == []


def test_takes_what_the_file_says_now(file: Path, live: LiveSettings, recorder: KeptReloads) -> None:
    file.write_text(SILVER)
    look_twice(live)
    assert names(live) == {"silver"}
    assert set(live.settings().policies) == {"silver"}
    assert recorder.reloads == [(LOADED, "changed: policies")]


def test_takes_a_changed_file_once_it_stays_the_same(file: Path, live: LiveSettings, recorder: KeptReloads) -> None:
    """One that is written in place is empty at first, which is a valid file that takes everything back."""
    file.write_text("")
    live.refresh()
    assert names(live) == {"gold"}
    file.write_text(GOLD + SILVER)
    live.refresh()
    assert names(live) == {"gold"}
    live.refresh()
    assert names(live) == {"gold", "silver"}
    assert recorder.reloads == [(LOADED, "changed: policies")]


def test_takes_at_the_first_look_what_changed_since_the_start(file: Path, recorder: KeptReloads) -> None:
    settings = load_settings()
    file.write_text(SILVER)
    late = LiveSettings(settings, load=load_settings, file=file, recorder=recorder)
    assert names(late) == {"gold"}
    late.refresh()
    assert names(late) == {"silver"}


def replace_file(file: Path, text: str) -> None:
    written = file.with_suffix(".new")
    written.write_text(text)
    written.replace(file)


def flip_link(file: Path, text: str) -> None:
    """As a Kubernetes volume does: the file is a link through a link, and the second one is swapped."""
    directory = file.parent / f"data-{len(list(file.parent.iterdir()))}"
    directory.mkdir()
    (directory / file.name).write_text(text)
    swapped = file.parent / "..data.new"
    swapped.symlink_to(directory.name)
    swapped.replace(file.parent / "..data")
    if not file.is_symlink():
        file.unlink()
        file.symlink_to(Path("..data", file.name))


@pytest.mark.parametrize("change", [replace_file, flip_link])
def test_follows_a_file_that_is_replaced_however(
    change: Callable[[Path, str], None], file: Path, live: LiveSettings
) -> None:
    for text, expected in ((SILVER, {"silver"}), (GOLD + SILVER, {"gold", "silver"}), (GOLD, {"gold"})):
        change(file, text)
        look_twice(live)
        assert names(live) == expected


@pytest.mark.parametrize(
    "broken", ["port = ", "format = 2\n" + SILVER, "[policies.gold]\n", 'prot = 1\npassword = "s3cret"', "\0", None]
)
def test_keeps_the_settings_if_the_file_is_invalid_and_records_it_once(
    broken: str | None, file: Path, live: LiveSettings, recorder: KeptReloads
) -> None:
    if broken is None:
        file.unlink()
    else:
        file.write_text(broken)
    for _ in range(4):
        live.refresh()
    assert names(live) == {"gold"}
    ((outcome, detail),) = recorder.reloads
    assert outcome is REFUSED
    assert detail
    assert "s3cret" not in detail

    file.write_text(GOLD)
    look_twice(live)
    assert recorder.reloads[1:] == [(LOADED, "changed: none")]

    file.write_text(SILVER)
    look_twice(live)
    assert names(live) == {"silver"}


def test_records_a_different_reason_to_refuse(file: Path, live: LiveSettings, recorder: KeptReloads) -> None:
    for text in ("port = 'x'", "workers = 0"):
        file.write_text(text)
        look_twice(live)
    assert [outcome for outcome, _ in recorder.reloads] == [REFUSED, REFUSED]
    assert "port: " in recorder.reloads[0][1]
    assert "workers: " in recorder.reloads[1][1]


def test_retries_after_a_refusal_for_a_reason_outside_the_file(
    file: Path, live: LiveSettings, recorder: KeptReloads, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "nonce-store"
    monkeypatch.setenv("VERIFIER_NONCE_STORE_FILE", str(secret))
    file.write_text(SILVER)
    look_twice(live)
    assert names(live) == {"gold"}
    secret.write_text(live.settings().nonce_store.get_secret_value())
    live.refresh()
    assert names(live) == {"silver"}
    assert [outcome for outcome, _ in recorder.reloads] == [REFUSED, LOADED]


def test_leaves_what_takes_a_restart_as_it_was_and_says_so_once(
    file: Path, live: LiveSettings, recorder: KeptReloads
) -> None:
    port = live.settings().port
    file.write_text("port = 1\nworkers = 9\n" + SILVER)
    look_twice(live)
    file.write_text("port = 1\nworkers = 9\n" + GOLD)
    look_twice(live)
    assert (live.settings().port, live.settings().workers) == (port, 2)
    assert recorder.reloads == [(LOADED, "changed: policies; changed after a restart: port, workers")] * 2

    file.write_text("port = 1\nworkers = 9\n# a comment\n" + GOLD)
    look_twice(live)
    assert len(recorder.reloads) == 2


def test_what_may_change_is_what_settings_there_are() -> None:
    assert set(Settings.model_fields) > RELOADABLE


def test_refuses_what_does_not_hold_together_with_what_stays(file: Path, recorder: KeptReloads) -> None:
    """The rules over several settings hold of those in force, and not only of those in the file: this one would take
    the keys from a service that listens where anybody may reach it."""
    file.write_text(f'host = "192.0.2.1"\n[tenants.contoso]\nkeys = ["{"0" * 64}"]\n')
    live = LiveSettings(load_settings(), load=load_settings, file=file, recorder=recorder)
    file.write_text('host = "127.0.0.1"\n')
    live.refresh()
    assert set(live.settings().tenants) == {"contoso"}
    ((outcome, detail),) = recorder.reloads
    assert outcome is REFUSED
    assert "VERIFIER_ALLOW_OPEN_LISTENING" in detail


def test_views_change_together_and_only_when_all_can_be_made(
    file: Path, live: LiveSettings, recorder: KeptReloads
) -> None:
    made: list[Settings] = []

    def count(settings: Settings) -> int:
        made.append(settings)
        if "silver" in settings.policies:
            raise SettingsError("policies: no silver")
        return len(settings.policies)

    counted = live.view(count)
    assert (counted(), counted()) == (1, 1)
    assert len(made) == 1

    file.write_text(GOLD + SILVER)
    look_twice(live)
    assert (counted(), names(live)) == (1, {"gold"})
    assert recorder.reloads == [(REFUSED, "policies: no silver")]

    file.write_text(GOLD + GOLD.replace("gold", "bronze"))
    look_twice(live)
    assert (counted(), names(live)) == (2, {"gold", "bronze"})


def test_a_view_that_cannot_be_made_of_the_settings_of_the_start_is_an_error(live: LiveSettings) -> None:
    def refuse(settings: Settings) -> None:
        raise SettingsError(f"not {settings.port}")

    with pytest.raises(SettingsError, match="not 8080"):
        live.view(refuse)


def test_changes_no_setting_without_a_file(recorder: KeptReloads, monkeypatch: pytest.MonkeyPatch) -> None:
    live = LiveSettings(load_settings(), load=load_settings, file=None, recorder=recorder)
    monkeypatch.setenv("VERIFIER_POLICIES", '{"silver": {"requirePlan": true}}')
    look_twice(live)
    assert names(live) == set()


def test_does_not_take_a_file_that_changed_while_it_was_read(file: Path, recorder: KeptReloads) -> None:
    texts = iter([GOLD + SILVER])

    def load() -> Settings:
        loaded = load_settings()
        for text in texts:
            file.write_text(text)
        return loaded

    live = LiveSettings(load_settings(), load=load, file=file, recorder=recorder)
    file.write_text(SILVER)
    live.refresh()
    assert names(live) == {"gold"}
    look_twice(live)
    assert names(live) == {"gold", "silver"}


def watching(live: LiveSettings, recorder: KeptReloads) -> Callable[[], None]:
    """Poll in a thread until the returned function is called."""
    stop = threading.Event()
    thread = threading.Thread(target=partial(poll, live.refresh, stop, recorder=recorder, interval_seconds=0.01))
    thread.start()

    def end() -> None:
        stop.set()
        thread.join(WAIT_SECONDS)
        assert not thread.is_alive()

    return end


def test_polls_until_it_is_stopped(file: Path, live: LiveSettings, recorder: KeptReloads) -> None:
    end = watching(live, recorder)
    try:
        replace_file(file, SILVER)
        assert recorder.told.wait(WAIT_SECONDS)
    finally:
        end()
    assert names(live) == {"silver"}


def test_an_error_is_recorded_once_and_does_not_end_the_polling(file: Path, recorder: KeptReloads) -> None:
    tries: list[Mapping[str, str]] = []
    enough = threading.Event()

    def load() -> Settings:
        tries.append(os.environ)
        if len(tries) > 3:
            enough.set()
        raise MemoryError

    live = LiveSettings(load_settings(), load=load, file=file, recorder=recorder)
    end = watching(live, recorder)
    try:
        assert enough.wait(WAIT_SECONDS)
    finally:
        end()
    assert [type(failure) for failure in recorder.failures] == [MemoryError]
    assert names(live) == {"gold"}


def test_polling_loads_a_changed_file(file: Path, live: LiveSettings, recorder: KeptReloads) -> None:
    stop = start_polling(live.refresh, recorder=recorder, name="settings", interval_seconds=0.01)
    try:
        replace_file(file, SILVER)
        assert recorder.told.wait(WAIT_SECONDS)
    finally:
        stop.set()
    assert names(live) == {"silver"}
