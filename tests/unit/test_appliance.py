"""The appliance of the examples with a clock that moves, tokens of a real key, and hostile files."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import appliance
import pytest
from appliance import Appliance, Clock, License, Record, read_denied, read_record, write_record
from support.clocks import ManualClock
from support.relying_party_cases import APPRAISAL, EXPECTED, KEY_SET, MACHINE, NOW, at, of_machine, token
from support.scripted_servers import Reply, dead_url, json_reply, serving

from verifier.relying_party import MemoryReplayStore, NotVerified, RefusalCode, ResultVerifier, VerifiedMachine

VM_ID = str(MACHINE["vmId"])
GRACE = 3600
#: The token of the cases ends then.
END = 600


def moment(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def verify(text: str, *, now: float = 0) -> VerifiedMachine:
    clock = ManualClock(moment(now))
    policies = [*EXPECTED["policies"]]
    results = ResultVerifier(
        issuer=str(EXPECTED["issuer"]),
        audience=str(EXPECTED["audience"]),
        tenant=str(EXPECTED["tenant"]),
        policies=policies,
        jwks=KEY_SET,
        replay_store=MemoryReplayStore(),
        clock=clock.now,
    )
    return results.verify(text)


def make_license(*, vm_id: str = VM_ID, grace_seconds: int = GRACE, record: Record | None = None) -> License:
    return License(vm_id=vm_id, grace_seconds=grace_seconds, record=record)


def licensed() -> License:
    made = make_license()
    assert made.accept(verify(token()))
    return made


def state(subject: License, seconds: float) -> str:
    return subject.decide(moment(seconds))[0]


def test_license_goes_through_grace_to_its_end_and_back() -> None:
    subject = make_license()
    clock = ManualClock(NOW)
    assert subject.decide(clock.now()) == ("stopped", None)
    assert subject.accept(verify(token()))
    for seconds, expected in [
        (0, ("licensed", moment(END))),
        (END - 1, ("licensed", moment(END))),
        (END, ("grace", moment(END + GRACE))),
        (END + GRACE - 1, ("grace", moment(END + GRACE))),
        (END + GRACE, ("stopped", None)),
        (10 * GRACE, ("stopped", None)),
    ]:
        clock.moment = moment(seconds)
        subject.observe(clock.now(), denied=None)
        assert subject.decide(clock.now()) == expected
    renewed = verify(token({"iat": at(10 * GRACE), "exp": at(10 * GRACE + END)}), now=10 * GRACE)
    assert subject.accept(renewed)
    assert subject.decide(clock.now()) == ("licensed", moment(10 * GRACE + END))


def test_grace_counts_from_the_last_token_and_not_from_the_last_look() -> None:
    subject = licensed()
    subject.observe(moment(END + 100), denied=None)
    subject.observe(moment(END + 200), denied=None)
    assert subject.decide(moment(END + 200)) == ("grace", moment(END + GRACE))


def test_without_a_token_there_is_no_grace() -> None:
    subject = make_license()
    subject.observe(NOW, denied=False)
    assert state(subject, 0) == "stopped"


@pytest.mark.parametrize("now", [datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(-1e9, UTC)])
def test_without_a_token_there_is_no_grace_at_the_start_of_the_epoch(now: datetime) -> None:
    subject = make_license(grace_seconds=7 * 86400)
    subject.observe(now, denied=None)
    assert subject.decide(now) == ("stopped", None)


def test_grace_time_of_zero_stops_with_the_token() -> None:
    subject = make_license(grace_seconds=0)
    subject.accept(verify(token()))
    assert (state(subject, END - 1), state(subject, END)) == ("licensed", "stopped")


@pytest.mark.parametrize("seconds", [-1, 7 * 86400 + 1])
def test_grace_time_is_bounded(seconds: int) -> None:
    with pytest.raises(ValueError, match=r"The grace time must be 0 to 604800 seconds\."):
        make_license(grace_seconds=seconds)


def test_denial_takes_the_grace_and_not_the_token() -> None:
    subject = licensed()
    subject.observe(moment(300), denied=True)
    assert (state(subject, END - 1), state(subject, END)) == ("licensed", "stopped")
    # An outage after the denial gives no grace. An approval does.
    subject.observe(moment(END), denied=None)
    assert state(subject, END) == "stopped"
    subject.observe(moment(END), denied=False)
    assert state(subject, END) == "grace"


def test_denial_ends_a_grace_at_once() -> None:
    subject = licensed()
    assert state(subject, END + 1) == "grace"
    subject.observe(moment(END + 1), denied=True)
    assert state(subject, END + 1) == "stopped"


def test_latest_time_never_goes_back() -> None:
    subject = licensed()
    for seconds in (100, 50):
        subject.observe(moment(seconds), denied=None)
    assert subject.record.latest == moment(100)


def test_older_token_does_not_shorten_the_license() -> None:
    subject = licensed()
    assert subject.accept(verify(token({"exp": at(60)})))
    assert subject.decide(NOW) == ("licensed", moment(END))


def test_token_of_another_vm_changes_nothing() -> None:
    subject, before = make_license(), make_license().record
    assert not subject.accept(verify(of_machine(vmId="00000000-74ef-476e-8182-f6d2ba4166a6")))
    assert subject.record == before
    # The case of a GUID means nothing.
    assert make_license(vm_id=VM_ID.upper()).accept(verify(token()))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (token({"imds-verifier.tenant": "fabrikam"}), RefusalCode.TENANT_MISMATCH),
        (token({"exp": at(-61)}), RefusalCode.TOKEN_EXPIRED),
        (token()[:-2], RefusalCode.SIGNATURE_INVALID),
        (token()[:100], RefusalCode.TOKEN_MALFORMED),
    ],
)
def test_other_tokens_do_not_reach_the_license(text: str, code: RefusalCode) -> None:
    with pytest.raises(NotVerified) as caught:
        verify(text)
    assert caught.value.code is code


class TestRestart:
    def test_keeps_the_end_of_the_grace(self, tmp_path: Path) -> None:
        file = tmp_path / "state"
        before = licensed()
        before.observe(moment(END + 10), denied=None)
        write_record(file, before.record)
        assert file.stat().st_mode & 0o777 == 0o600
        assert [name.name for name in tmp_path.iterdir()] == ["state"]
        record = read_record(file)
        assert record == before.record
        after = make_license(record=record)
        assert after.decide(moment(END + 20)) == ("grace", moment(END + GRACE))

    def test_keeps_a_denial(self, tmp_path: Path) -> None:
        before = licensed()
        before.observe(NOW, denied=True)
        write_record(tmp_path / "state", before.record)
        after = make_license(record=read_record(tmp_path / "state"))
        after.observe(NOW, denied=None)
        assert state(after, END) == "stopped"

    def test_record_of_another_vm_grants_nothing(self) -> None:
        """A disk may be copied."""
        after = make_license(record=licensed().record, vm_id="00000000-74ef-476e-8182-f6d2ba4166a6")
        assert state(after, 0) == "stopped"

    def test_keeps_that_there_was_no_token(self, tmp_path: Path) -> None:
        write_record(tmp_path / "state", make_license().record)
        assert read_record(tmp_path / "state") == Record(vm_id=VM_ID)

    def test_without_a_file_there_is_no_record(self, tmp_path: Path) -> None:
        assert read_record(tmp_path / "state") is None

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b"{}",
            b"\xff\xfe",
            b"[" * 20_000,
            b'{"vm_id": "v", "licensed_until": 1, "latest": 1, "denied": false}',
            b'{"vm_id": "v", "licensed_until": "tomorrow", "latest": "2026-11-29T12:00:00+00:00", "denied": false}',
            b'{"vm_id": "v", "licensed_until": "0001-01-01T00:00:00+14:00", "latest": "x", "denied": false}',
            b'{"vm_id": "v", "licensed_until": "2026-11-29T12:00:00+00:00", "denied": false}',
            b'{"vm_id": "v", "licensed_until": "2026-11-29T12:00:00+00:00", "latest": "2026-11-29T12:00:00+00:00"}',
        ],
        ids=range(12),
    )
    def test_corrupt_file_is_refused_by_name(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "state"
        file.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{file} is corrupt\. Remove it"):
            read_record(file)


class TestClock:
    def make(self, latest: float, wall: float) -> tuple[Clock, list[float], list[float]]:
        """The clock, its wall clock and its monotonic clock: the last entries count."""
        walls, monotonics = [NOW.timestamp() + wall], [1000.0]
        clock = Clock(moment(latest), wall=lambda: walls[-1], monotonic=lambda: monotonics[-1])
        return clock, walls, monotonics

    def test_follows_the_wall_clock_forward(self) -> None:
        clock, walls, _ = self.make(latest=-50, wall=0)
        assert clock.now() == NOW
        # The VM was suspended: the monotonic clock stood.
        walls.append(NOW.timestamp() + 500)
        assert clock.now() == moment(500)

    def test_counts_on_if_the_wall_clock_is_set_back(self) -> None:
        clock, walls, monotonics = self.make(latest=0, wall=100)
        assert clock.now() == moment(100)
        for step in range(1, 6):
            walls.append(NOW.timestamp() - 86400 * step)
            monotonics.append(1000.0 + 10 * step)
            assert clock.now() == moment(100 + 10 * step)

    def test_starts_at_the_latest_time_before_a_restart(self) -> None:
        clock, _, monotonics = self.make(latest=300, wall=-86400)
        monotonics.append(1007.0)
        assert clock.now() == moment(307)

    def test_clock_that_is_set_back_does_not_extend_the_grace(self) -> None:
        subject = licensed()
        clock, walls, monotonics = self.make(latest=0, wall=END + GRACE - 20)
        assert state_at(subject, clock) == "grace"
        walls.append(NOW.timestamp())
        assert state_at(subject, clock) == "grace"
        monotonics.append(1020.0)
        assert state_at(subject, clock) == "stopped"


def state_at(subject: License, clock: Clock) -> str:
    return subject.decide(clock.now())[0]


def settings_of(directory: Path, imds: str, jwks: str) -> dict[str, str]:
    return {
        "TOKEN_ISSUER": str(EXPECTED["issuer"]),
        "TOKEN_AUDIENCE": str(EXPECTED["audience"]),
        "TENANT": str(EXPECTED["tenant"]),
        "POLICY": "appliance",
        "VERIFIER_JWKS": jwks,
        "IMDS": imds,
        "APPLIANCE_GRACE_SECONDS": str(GRACE),
        "TOKEN_FILE": str(directory / "token"),
        "STATUS_FILE": str(directory / "status"),
        "STATE_FILE": str(directory / "state"),
    }


@pytest.mark.parametrize(
    ("change", "state", "status", "line"),
    [
        ({}, "{", 2, r"/state is corrupt\. Remove it: .+"),
        ({"STATE_FILE": "/none/state"}, "", 1, r".+/none/\.state\.new.+"),
        ({"IMDS": dead_url()}, "", 1, r"IMDS at http://127\.0\.0\.1:1 does not return the vmId: .+"),
        ({"APPLIANCE_GRACE_SECONDS": "-1"}, "", 2, r"APPLIANCE_GRACE_SECONDS is '-1'\. .+"),
        ({"APPLIANCE_GRACE_SECONDS": "604801"}, "", 2, r"The grace time must be 0 to 604800 seconds\."),
        ({"VERIFIER_JWKS": "http://verifier.example.com/keys"}, "", 2, r".+ must use https, .+"),
        ({"TENANT": None}, "", 2, r"the setting 'TENANT' is missing"),
    ],
    ids=["corrupt", "unwritable", "imds", "negative", "excessive", "http", "missing"],
)
def test_process_ends_with_one_sentence(
    tmp_path: Path, change: dict[str, str | None], state: str, status: int, line: str
) -> None:
    if state:
        (tmp_path / "state").write_text(state, "ascii")
    with serving(Reply(body=VM_ID.encode())) as imds:
        settings = {**settings_of(tmp_path, imds.url, dead_url()), **change, "PORT": "0"}
        environment = {**os.environ, **{name: value for name, value in settings.items() if value is not None}}
        done = subprocess.run(
            [sys.executable, appliance.__file__],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (status, "")
    assert re.fullmatch(rf"appliance: stopped: .*{line}\n", done.stdout), done.stdout


class TestFiles:
    """One look of the appliance at its files, with IMDS and the key set on loopback."""

    @pytest.fixture
    def look(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
        with serving(Reply(body=VM_ID.encode())) as imds, serving(json_reply(KEY_SET)) as verifier:
            settings = settings_of(tmp_path, imds.url, verifier.url)

            def look() -> str:
                Appliance(settings).tick()
                return capsys.readouterr().out

            yield look

    def current(self, **change: object) -> str:
        now = int(datetime.now(UTC).timestamp())
        return token({"iat": now, "exp": now + END, **change})

    def test_token_licenses(self, look: Callable[..., str], tmp_path: Path) -> None:
        (tmp_path / "token").write_text(f"{self.current()}\n", "ascii")
        assert look().startswith("appliance: licensed until 2")

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"", "token-malformed"),
            (b"\xff" * 100, "token-malformed"),
            (b"x" * 10_000_000, "token-too-large"),
            (token()[:-2].encode(), "signature-invalid"),
            (f"{token()}\n{token()}".encode(), "token-malformed"),
            (token({"iat": at(-7200), "exp": at(-3600)}).encode(), "token-expired"),
        ],
        ids=["empty", "binary", "huge", "truncated", "two", "expired"],
    )
    def test_other_content_does_not(
        self, look: Callable[..., str], tmp_path: Path, content: bytes, problem: str
    ) -> None:
        (tmp_path / "token").write_bytes(content)
        line = look()
        assert line.startswith("appliance: stopped: ")
        assert f"({problem})" in line

    def test_token_that_is_bound_to_a_key_does_not(self, look: Callable[..., str], tmp_path: Path) -> None:
        """The appliance cannot demand a proof from itself."""
        (tmp_path / "token").write_text(self.current(cnf={"jkt": "x" * 43}), "ascii")
        assert "(proof-missing)" in look()

    def test_token_of_another_vm_does_not(self, look: Callable[..., str], tmp_path: Path) -> None:
        times = {"iat": int(datetime.now(UTC).timestamp()), "exp": int(datetime.now(UTC).timestamp()) + END}
        other = {**APPRAISAL, "imds-verifier.claims": {**MACHINE, "vmId": "00000000-74ef-476e-8182-f6d2ba4166a6"}}
        (tmp_path / "token").write_text(token({**times, "submods": {"azure-imds": other}}), "ascii")
        assert look() == "appliance: stopped: the token is of another VM\n"

    def test_missing_file_is_named(self, look: Callable[..., str]) -> None:
        assert look() == "appliance: stopped: there is no token: No such file or directory\n"

    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
    def test_other_kinds_of_files_do_not_block(
        self, look: Callable[..., str], tmp_path: Path, make: Callable[[Path], None]
    ) -> None:
        for name in ("token", "status"):
            make(tmp_path / name)
        assert look().startswith("appliance: stopped: ")

    def test_clock_that_was_set_back_before_the_start_does_not_license(
        self, look: Callable[..., str], tmp_path: Path
    ) -> None:
        now = datetime.now(UTC)
        seen = Record(vm_id=VM_ID, licensed_until=now + timedelta(hours=1), latest=now + timedelta(days=1))
        write_record(tmp_path / "state", seen)
        (tmp_path / "token").write_text(self.current(), "ascii")
        line = look()
        assert line.startswith("appliance: stopped: ")
        assert "(token-expired)" in line

    def test_license_survives_the_files_of_the_agent(self, look: Callable[..., str], tmp_path: Path) -> None:
        (tmp_path / "token").write_text(self.current(), "ascii")
        (tmp_path / "status").write_text('{"exitCode": 1, "code": "policy-denied"}', "ascii")
        assert "licensed until" in look()
        for name in ("token", "status"):
            (tmp_path / name).unlink()
        line = look()
        assert "licensed until" in line
        assert line.endswith(": the verifier denies the license\n")

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ('{"exitCode": 0, "code": null}', False),
            ('{"exitCode": 1, "code": "policy-denied"}', True),
            # A rotation of Azure's CAs is no denial, and neither is an outage.
            ('{"exitCode": 1, "code": "issuer-unpinned"}', None),
            ('{"exitCode": 21, "code": "store-unavailable"}', None),
            ('{"exitCode": 20, "code": null}', None),
            ('{"exitCode": 1, "code": ["policy-denied"]}', None),
            ("[" * 20_000, None),
            ("[]", None),
            ("", None),
        ],
    )
    def test_status_is_a_denial_only_if_it_says_so(self, tmp_path: Path, content: str, expected: bool | None) -> None:  # noqa: FBT001 - a table
        (tmp_path / "status").write_text(content, "ascii")
        assert read_denied(tmp_path / "status") is expected

    def test_unwritable_state_ends_the_appliance(self, look: Callable[..., str], tmp_path: Path) -> None:
        (tmp_path / ".state.new").mkdir()
        with pytest.raises(OSError, match="state"):
            look()
