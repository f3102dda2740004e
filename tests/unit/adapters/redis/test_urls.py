"""Which URLs of a Redis are read, and which are refused."""

from pathlib import Path
from typing import Any

import pytest

from verifier.adapters.redis.urls import Address, Form, Login, RedisOptions, read_redis_url

LOCAL = Address("h", 6379)
ME = Login(username="u", password="p")  # noqa: S106 - of no user


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", {"form": Form.SERVER, "addresses": (LOCAL,), "login": Login(), "database": 0, "is_tls": False}),
        ("redis://h/", {"addresses": (LOCAL,), "database": 0}),
        ("redis://h:7000/3", {"addresses": (Address("h", 7000),), "database": 3}),
        ("redis://:p%40%2F%23@h", {"login": Login(password="p@/#")}),  # noqa: S106 - of no user
        ("redis://u%3A:p@h", {"login": Login(username="u:", password="p")}),  # noqa: S106 - of no user
        ("redis://[::1]:7000", {"addresses": (Address("::1", 7000),)}),
        ("redis://[::1]:", {"addresses": (Address("::1", 6379),)}),
        ("REDIS://H:7000", {"addresses": (Address("h", 7000),)}),
        ("redis://:a%5Bb%5D@my_redis.example-1", {"addresses": (Address("my_redis.example-1", 6379),)}),
        ("redis://münchen.example", {"addresses": (Address("münchen.example", 6379),)}),
        ("redis://u:p@q@h", {"login": Login(username="u", password="p@q")}),  # noqa: S106 - of no user
        ("rediss://u:p@h/2", {"addresses": (LOCAL,), "login": ME, "database": 2, "is_tls": True}),
        ("unix:///run/redis.sock", {"addresses": (Address("", 0, "/run/redis.sock"),), "database": 0}),
        (
            "unix://u:p@/run/a%20b.sock?db=4",
            {"addresses": (Address("", 0, "/run/a b.sock"),), "login": ME, "database": 4},
        ),
        (
            "redis+sentinel://u:p@h,i:7000,[::1]/the%20one/5",
            {
                "form": Form.SENTINEL,
                "addresses": (Address("h", 26379), Address("i", 7000), Address("::1", 26379)),
                "service": "the one",
                "database": 5,
                "login": ME,
                "is_tls": False,
            },
        ),
        ("rediss+sentinel://h/s", {"form": Form.SENTINEL, "service": "s", "database": 0, "is_tls": True}),
        (
            "redis+cluster://:p@h,i:7000",
            {
                "form": Form.CLUSTER,
                "addresses": (LOCAL, Address("i", 7000)),
                "login": Login(password="p"),  # noqa: S106 - of no user
                "is_tls": False,
            },
        ),
        ("rediss+cluster://h/", {"form": Form.CLUSTER, "addresses": (LOCAL,), "is_tls": True}),
    ],
)
def test_a_url_names_its_target(url: str, expected: dict[str, Any]) -> None:
    target = read_redis_url(url)
    assert {name: getattr(target, name) for name in expected} == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis",
        "redis://",
        "redis://:hunter2@",
        "redis://:hunter2@h:port",
        "redis://:hunter2@h:70000",
        "redis://:hunter2@h/first",
        "redis://:hunter2@h/-1",
        "redis://:hunter2@h/0/1",
        "redis://:hunter2@h/٣",
        "redis://:hunter2@h..h",
        "redis://:hunter2@[::1",
        "redis://:hunter2@h,i",
        "redis://:hunter2@h?retry_on_timeout=yes",
        "redis://:hunter2@h?socket_timeout=3600",
        "redis://:hunter2@h?db=1",
        "redis://:hunter2@h#fragment",
        "redis://user:12#hunter2@h",
        "redis://user:12/hunter2@h",
        "redis://user:12?hunter2@h",
        "rediss://:hunter2@h?ssl_cert_reqs=none",
        "rediss://:hunter2@h?ssl_check_hostname=false",
        "rediss+cluster://:hunter2@h?ssl_cert_reqs=none",
        "http://:hunter2@h",
        "redis+sentinel://:hunter2@h",
        "redis+sentinel://:hunter2@h/",
        "redis+sentinel://:hunter2@h//0",
        "redis+sentinel://:hunter2@h/s/x",
        "redis+sentinel://:hunter2@h/s/0/0",
        "redis+sentinel://:hunter2@h,/s",
        "redis+cluster://:hunter2@",
        "redis+cluster://:hunter2@h,,i",
        "redis+cluster://:hunter2@h/1",
        "redis+cluster://:hunter2@" + ",".join(f"h{number}" for number in range(65)),
        "unix://",
        "unix://h/run/redis.sock",
        "unix://:hunter2@/run/redis.sock?db=x",
        "unix://:hunter2@/run/redis.sock?db=1&db=2",
        "unix://:hunter2@/run/redis.sock?protocol=3",
        "unix://:hunter2@/run/redis.sock?1",
        "redis://:hunter2@h/1234567890",
        "redis://:hunter2@::1:6379",
        "redis://:hunter2@[::1]x:6379",
        "redis://:hunter2@x[::1]:6379",
        "redis://:hunter2@[::1][::1]",
        "redis://:hunter2@[::1]:1:2",
        "redis://:hunter2@[h]",
        "redis://:hunter2@[127.0.0.1]",
        "redis://:hunter2@[v1.h]",
        "redis://:hunter2@[]",
        "redis://:hunter2@h]",
        "redis://:hunter2[::1]@h",
        "redis://:hunter2@h:1:2",
        "redis://:hunter2@h:٦٣٧٩",
        "redis://:hunter2@a b",
        "redis://:hunter2@a℀b",
        "redis://:hunter2@h\\i",
        "redis://:hunter2@h%2Fi",
        "redis://:hunter2@h\n",
        "redis://:hunter\t2@h",
        " redis://:hunter2@h",
        "redis:/h",
        "redis:h",
        "redis+sentinel://h,[::1]x/name",
        "redis+cluster://[::1],h]",
    ],
)
def test_any_other_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"the Redis URL is neither .*; an IPv6 address is in brackets$") as caught:
        read_redis_url(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


def test_passwords_are_not_shown() -> None:
    assert "hunter2" not in repr(read_redis_url("redis://:hunter2@h"))
    assert "hunter2" not in repr(RedisOptions(sentinel=Login(password="hunter2")))  # noqa: S106 - of no user
    assert "hunter2" not in repr(RedisOptions(password="hunter2"))  # noqa: S106 - of no user


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(ValueError, match="together"):
        RedisOptions(certificate_file=Path("/certificate"))
    with pytest.raises(ValueError, match="together"):
        RedisOptions(key_file=Path("/key"))


@pytest.mark.parametrize(("host", "port"), [("h..h", 1), ("h" * 64, 1), ("h", -1), ("h", 65536)])
def test_an_impossible_address_is_refused(host: str, port: int) -> None:
    """A server may name one in a redirection."""
    with pytest.raises(ValueError, match=r"port|label"):
        Address(host, port)
