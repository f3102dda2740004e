"""Settings: the environment over the file over the defaults, and a start that ends where one of them is not right."""

from datetime import timedelta
from pathlib import Path

import pytest

from verifier.adapters.redis.urls import Login, RedisOptions
from verifier.adapters.settings.settings import Settings, SettingsError, load_settings
from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.model import Limits
from verifier.core.nonces import NonceForm, NonceMode
from verifier.core.trust.clouds import Cloud
from verifier.startup import redis_options, serves_pages


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    file = tmp_path / "verifier.toml"
    monkeypatch.setenv("VERIFIER_CONFIG", str(file))
    return file


def test_has_safe_defaults(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.host == "127.0.0.1"
    assert settings.allow_open_listening is False
    assert settings.pages is None
    assert settings.limits == Limits()
    assert settings.nonce_form is NonceForm.DIGITS_10
    assert settings.nonce_mode is NonceMode.REQUIRED
    assert settings.maximum_body_bytes == MAX_EVIDENCE_BYTES
    assert settings.trust_dir is None
    assert settings.nonce_store.get_secret_value() == f"sqlite://{tmp_path}/state/imds-verifier/nonces.sqlite3"
    assert list(settings.named_policies.rules) == ["default"]


@pytest.mark.parametrize("state_home", [None, "", "relative/path"])
def test_keeps_state_under_the_home_directory_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state_home: str | None
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    if state_home is not None:
        monkeypatch.setenv("XDG_STATE_HOME", state_home)
    monkeypatch.setenv("HOME", str(tmp_path))
    store = load_settings().nonce_store.get_secret_value()
    assert store == f"sqlite://{tmp_path}/.local/state/imds-verifier/nonces.sqlite3"


def test_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "VERIFIER_TRUST_DIR": "/etc/trust",
        "VERIFIER_NONCE_STORE": "redis://localhost/0",
        "VERIFIER_NONCE_FORM": "alphanumeric-32",
        "VERIFIER_NONCE_MODE": "optional",
        "VERIFIER_NONCE_LIFETIME_SECONDS": "60",
        "VERIFIER_CLOCK_SKEW_SECONDS": "0",
        "VERIFIER_MAXIMUM_AGE_SECONDS": "3600",
        "VERIFIER_PORT": "0",
        "VERIFIER_REQUEST_SECONDS": "5",
        "verifier_workers": "3",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.trust_dir == Path("/etc/trust")
    assert settings.nonce_store.get_secret_value() == "redis://localhost/0"
    assert settings.nonce_form is NonceForm.ALPHANUMERIC_32
    assert settings.nonce_mode is NonceMode.OPTIONAL
    assert (settings.port, settings.workers, settings.request_seconds) == (0, 3, 5)
    assert settings.limits == Limits(
        clock_skew=timedelta(0), maximum_age=timedelta(hours=1), nonce_lifetime=timedelta(minutes=1)
    )


def test_serves_the_clouds_that_are_open_unless_others_are_named(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    config.write_text("")
    assert load_settings().clouds == {Cloud.PUBLIC, Cloud.US_GOVERNMENT, Cloud.CHINA}
    config.write_text('clouds = ["AzureChinaCloud"]')
    assert load_settings().clouds == {Cloud.CHINA}
    monkeypatch.setenv("VERIFIER_CLOUDS", "AzurePublicCloud, AzureGermanCloud")
    assert load_settings().clouds == {Cloud.PUBLIC, Cloud.GERMANY}


@pytest.mark.parametrize(
    "clouds", ["", "azurepubliccloud", "AzurePublicCloud,", "AzureMoonCloud", '["AzurePublicCloud"]']
)
def test_refuses_clouds_that_there_are_not(monkeypatch: pytest.MonkeyPatch, clouds: str) -> None:
    monkeypatch.setenv("VERIFIER_CLOUDS", clouds)
    with pytest.raises(SettingsError, match=r"clouds.*AzurePublicCloud"):
        load_settings()


def test_refuses_to_serve_no_cloud(config: Path) -> None:
    config.write_text("clouds = []")
    with pytest.raises(SettingsError, match="clouds: "):
        load_settings()


def test_reads_the_file_under_the_environment(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    config.write_text('port = 1\nworkers = 4\n[policies.gold]\npublishers = ["contoso"]\nrequirePlan = true\n')
    monkeypatch.setenv("VERIFIER_PORT", "2")
    settings = load_settings()
    assert (settings.port, settings.workers) == (2, 4)
    assert set(settings.named_policies.rules) == {"default", "gold"}


def test_policies_of_the_environment_and_the_file_add_up(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    config.write_text('[policies.gold]\npublishers = ["contoso"]\n')
    monkeypatch.setenv("VERIFIER_POLICIES", '{"silver": {"requirePlan": true}}')
    assert set(load_settings().named_policies.rules) == {"default", "gold", "silver"}


def test_hides_the_store_which_may_hold_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFIER_NONCE_STORE", "redis://:s3cret@localhost/0")
    settings = load_settings()
    assert "s3cret" not in f"{settings!r} {settings}"
    assert "s3cret" not in settings.model_dump_json()


@pytest.mark.parametrize("name", ["VERIFIER_PROT", "VERIFIER_", "verifier_prot", "VERIFIER_POLICIES_GOLD"])
def test_refuses_what_it_does_not_know(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "s3cret")
    with pytest.raises(SettingsError, match=f"unknown setting {name}; expected one of VERIFIER_") as refusal:
        load_settings()
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "nearest"), [("VERIFIER_PROT", "VERIFIER_PORT"), ("VERIFIER_NONCE_STOR", "VERIFIER_NONCE_STORE")]
)
def test_an_unknown_variable_is_named_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, name: str, nearest: str
) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(SettingsError, match=rf"\. Did you mean {nearest}\?$"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("port", value) for value in ("-1", "65536", "http", "", "80.5")),
        *(("workers", value) for value in ("0", "65")),
        *(("worker_connections", value) for value in ("15", "65537")),
        *(("redis_connections", value) for value in ("0", "257")),
        *(("keep_alive_seconds", value) for value in ("0", "7201")),
        *(("nonce_lifetime_seconds", value) for value in ("9", "3601")),
        *(("clock_skew_seconds", value) for value in ("-1", "601")),
        *(("maximum_age_seconds", value) for value in ("59", "604801")),
        *(("maximum_body_bytes", value) for value in ("4095", "1048577")),
        *(("request_seconds", value) for value in ("0", "601")),
        *(("graceful_stop_seconds", value) for value in ("0", "601")),
        *(("nonce_form", value) for value in ("digits", "", "DIGITS-10")),
        *(("nonce_mode", value) for value in ("none", "", "Optional", "false")),
        *(("allow_open_listening", value) for value in ("maybe", "")),
        *(("pages", value) for value in ("maybe", "loopback")),
    ],
)
def test_names_the_setting_whose_value_is_bad(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"VERIFIER_{name.upper()}", value)
    with pytest.raises(SettingsError, match=f"^{name}: "):
        load_settings()


def test_names_every_bad_setting_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFIER_PORT", "x")
    monkeypatch.setenv("VERIFIER_WORKERS", "0")
    with pytest.raises(SettingsError, match=r"port: .*; workers: "):
        load_settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1", "prot: Unknown field 'prot'. Did you mean 'port'?"),
        (
            "[policies.a]\nrequireplan = true",
            "policies.a.requireplan: Unknown field 'requireplan'. Did you mean 'requirePlan'?",
        ),
        (
            f"[tenants.a]\nkeys = ['{'a' * 64}']\nrates = '1/minute'",
            "tenants.a.rates: Unknown field 'rates'. Did you mean 'rate'?",
        ),
        ("[policies.a]\nzzz = ['x']", "policies.a.zzz: Unknown field 'zzz'. Known fields: clouds, publishers,"),
        ("[policies.a]\nvmIds = ['x']", "policies.a.vmIds.0: expected a GUID, such as "),
        ("port = ", "VERIFIER_CONFIG: "),
        ("fromat = 1", "fromat: Unknown field 'fromat'. Did you mean 'format'?"),
        ('port = "x"', "port: "),
        ("[policies.gold]", "policies.gold: "),
        ("[policies.gold]\nsku = ['x']", "policies.gold.sku: "),
        ("[policies.gold]\nskus = []", "policies.gold.skus: "),
        ('[policies.gold]\nclouds = ["Azure"]', "policies.gold.clouds"),
    ],
)
def test_names_what_is_wrong_in_the_file(config: Path, text: str, said: str) -> None:
    config.write_text(text)
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert str(refusal.value).startswith(said)


@pytest.mark.parametrize("text", ["format = 1\nport = 9000", "port = 9000"])
def test_reads_the_format_of_this_release_and_a_file_without_one(config: Path, text: str) -> None:
    config.write_text(text)
    assert load_settings().port == 9000


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("2", "has format 2, and this release knows format 1: update imds-verifier"),
        ("0xffffffffffffffffffff", "has a later format, and this release knows format 1: update imds-verifier"),
        ("0", "format: expected 1"),
        ("true", "format: expected 1"),
        ("1.0", "format: expected 1"),
        ("'1'", "format: expected 1"),
        ("[1]", "format: expected 1"),
    ],
)
def test_names_another_format_before_unknown_settings(config: Path, written: str, said: str) -> None:
    config.write_text(f"setting_of_tomorrow = 1\nformat = {written}")
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert str(refusal.value).startswith(f"VERIFIER_CONFIG: {config}")
    assert str(refusal.value).endswith(said)


def test_the_format_is_not_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFIER_FORMAT", "1")
    with pytest.raises(SettingsError, match="unknown setting VERIFIER_FORMAT"):
        load_settings()


def test_refuses_a_file_that_is_not_there(config: Path) -> None:
    with pytest.raises(SettingsError, match=f"VERIFIER_CONFIG: there is no file {config}"):
        load_settings()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_refuses_a_file_with_a_byte_order_mark(config: Path, encoding: str) -> None:
    config.write_text("port = 8080", encoding=encoding)
    with pytest.raises(
        SettingsError, match=f"^VERIFIER_CONFIG: {config} is not TOML in UTF-8 without a byte order mark: "
    ):
        load_settings()


def test_refuses_a_file_with_an_integer_of_too_many_digits(config: Path) -> None:
    config.write_text("port = " + "9" * 5000)
    with pytest.raises(SettingsError, match=f"^VERIFIER_CONFIG: {config} is not TOML in UTF-8"):
        load_settings()


@pytest.mark.parametrize("value", ["{", "gold", '{"gold": {"s3cret"}}'])
def test_refuses_a_table_that_is_not_json(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("VERIFIER_POLICIES", value)
    with pytest.raises(SettingsError, match="policies") as refusal:
        load_settings()
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    "host",
    [
        *("0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "verifier.example", "", "::ffff:192.0.2.1"),  # noqa: S104 - refused
        *("127.0.0.1.example", "localhost.example", "0"),
    ],
)
def test_listens_openly_only_with_the_setting(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("VERIFIER_HOST", host)
    with pytest.raises(SettingsError, match="VERIFIER_ALLOW_OPEN_LISTENING"):
        load_settings()
    monkeypatch.setenv("VERIFIER_ALLOW_OPEN_LISTENING", "true")
    assert load_settings().host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_listens_on_loopback_without_a_word(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("VERIFIER_HOST", host)
    assert load_settings().host == host


@pytest.mark.parametrize(
    ("host", "pages", "expected"),
    [
        ("127.0.0.1", "", "served"),
        ("::1", "", "served"),
        ("10.0.0.5", "", "not served"),
        ("::", "", "not served"),
        ("127.0.0.1", "false", "not served"),
        ("10.0.0.5", "true", "served"),
    ],
)
def test_pages_are_served_on_loopback_or_if_asked(
    monkeypatch: pytest.MonkeyPatch, host: str, pages: str, expected: str
) -> None:
    monkeypatch.setenv("VERIFIER_HOST", host)
    monkeypatch.setenv("VERIFIER_ALLOW_OPEN_LISTENING", "true")
    if pages:
        monkeypatch.setenv("VERIFIER_PAGES", pages)
    assert ("served" if serves_pages(load_settings()) else "not served") == expected


def test_cannot_be_changed_afterwards() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


def test_reads_no_dotenv_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("VERIFIER_PORT=1\n")
    assert load_settings().port == Settings.model_fields["port"].default


@pytest.mark.parametrize("depth", [20, 200, 5000])
def test_refuses_values_that_stand_too_deep_in_one_another(config: Path, depth: int) -> None:
    config.write_text(f"[policies.gold]\nallOf = {'[{ allOf = ' * depth}[{{ requirePlan = true }}]{' }]' * depth}\n")
    with pytest.raises(SettingsError):
        load_settings()


def test_reads_policies_that_are_composed(config: Path) -> None:
    config.write_text(
        '[policies.gold]\nnot = { skus = ["x"] }\n'
        '[[policies.gold.anyOf]]\npublishers = ["contoso"]\n[[policies.gold.anyOf]]\nrequirePlan = true\n'
    )
    assert set(load_settings().named_policies.rules) == {"default", "gold"}


def test_what_counts_for_redis_goes_where_it_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFIER_NONCE_WAIT_REPLICAS", "2")
    monkeypatch.setenv("VERIFIER_NONCE_WAIT_SECONDS", "0.25")
    monkeypatch.setenv("VERIFIER_REDIS_SENTINEL_USERNAME", "guide")
    monkeypatch.setenv("VERIFIER_REDIS_SENTINEL_PASSWORD", "hunter2")
    monkeypatch.setenv("VERIFIER_NONCE_STORE", "redis://user@h")
    monkeypatch.setenv("VERIFIER_REDIS_PASSWORD", "s3cret")
    settings = load_settings()
    assert redis_options(settings, "redis://user@h") == RedisOptions(
        password="s3cret",  # noqa: S106 - of nobody
        sentinel=Login(username="guide", password="hunter2"),  # noqa: S106 - of nobody
        wait_replicas=2,
        wait_timeout=timedelta(seconds=0.25),
    )
    assert redis_options(settings, "redis://other").password == ""
