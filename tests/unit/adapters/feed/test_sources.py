"""Feeds over https, from real servers on loopback that attack, and in archives."""

import gzip
import io
import os
import ssl
import tarfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.scripted_servers import Reply, serving
from support.tuf_feeds import Feed, raw_server, serving_feed

from verifier.adapters.feed.archives import MAX_MEMBERS
from verifier.adapters.feed.client import TufFeedClient, open_feed
from verifier.adapters.feed.sources import MAX_ARCHIVE_BYTES, MAX_FILE_BYTES
from verifier.ports.trust import FeedFailed

BUNDLE = b'{"bundle": 1}'
#: For what is cut off by the deadline, and by when it is cut off on however slow a machine.
SHORTLY, SOON = 0.5, 8.0


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Feed:
    feed = Feed.make(tmp_path_factory.mktemp("feed"))
    feed.publish(BUNDLE)
    return feed


def follow(feed: Feed, url: str, ca_file: Path | None) -> TufFeedClient:
    return open_feed(url, root=feed.first_root, ca_file=ca_file)


def refusal(client: TufFeedClient) -> str:
    with pytest.raises(FeedFailed) as caught:
        client.fetch({})
    return str(caught.value)


@pytest.mark.parametrize("slash", ["", "/"])
def test_follows_a_feed_over_https(feed: Feed, tmp_path: Path, slash: str) -> None:
    with serving_feed(feed, tmp_path) as server:
        assert follow(feed, server.url + slash, server.ca_file).fetch({}).bundle == BUNDLE
    [first, *others] = server.script.requests
    assert first.target == "/feed/2.root.json"
    assert len(others) == 4
    for request in server.script.requests:
        assert request.method == "GET"
        assert request.headers["Host"] == server.url.split("/")[2]
        assert request.headers["Accept-Encoding"] == "identity"
        assert "Authorization" not in request.headers


def test_uses_no_proxy_of_the_environment(feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving_feed(feed, tmp_path) as server:
        assert follow(feed, server.url, server.ca_file).fetch({}).bundle == BUNDLE


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/metadata", "http://127.0.0.1/", "/feed/other.json", "https://example.com/"]
)
def test_refuses_every_redirect(feed: Feed, tmp_path: Path, status: int, location: str) -> None:
    """Also of a root that is absent, because a redirect to a sign-in page is not the end of the roots."""
    moved = Reply(status=status, headers={"Location": location})
    with serving_feed(feed, tmp_path, instead=lambda _: moved) as server:
        assert refusal(follow(feed, server.url, server.ca_file)) == (
            "The feed's file 2.root.json was not received: the server redirects, and a feed may not redirect."
        )
    assert len(server.script.requests) == 1


def test_a_redirect_reaches_no_private_address(feed: Feed, tmp_path: Path) -> None:
    with serving(Reply(body=b"secret")) as inner:
        moved = Reply(status=302, headers={"Location": inner.url})
        with serving_feed(feed, tmp_path, instead=lambda name: moved if "timestamp" in name else None) as server:
            assert "may not redirect" in refusal(follow(feed, server.url, server.ca_file))
    assert inner.requests == []


@pytest.mark.parametrize("status", [500, 503, 401, 429, 204, 206])
def test_refuses_other_answers(feed: Feed, tmp_path: Path, status: int) -> None:
    """Only an absent root ends the walk from root to root."""
    with serving_feed(feed, tmp_path, instead=lambda _: Reply(status=status)) as server:
        assert f"answered {status}" in refusal(follow(feed, server.url, server.ca_file))


@pytest.mark.parametrize("status", [403, 404])
def test_a_server_without_a_feed_says_so(feed: Feed, tmp_path: Path, status: int) -> None:
    with serving_feed(feed, tmp_path, instead=lambda _: Reply(status=status)) as server:
        assert "this is not a feed: timestamp.json" in refusal(follow(feed, server.url, server.ca_file))


def test_refuses_a_compressed_body(feed: Feed, tmp_path: Path) -> None:
    bomb = Reply(body=gzip.compress(b" " * 50_000_000), headers={"Content-Encoding": "gzip"})
    with serving_feed(feed, tmp_path, instead=lambda _: bomb) as server:
        assert "encoded" in refusal(follow(feed, server.url, server.ca_file))


def test_a_compressed_body_without_its_header_is_no_metadata(feed: Feed, tmp_path: Path) -> None:
    bomb = Reply(body=gzip.compress(b" " * 5_000_000))
    with serving_feed(feed, tmp_path, instead=lambda name: bomb if "timestamp" in name else None) as server:
        assert "refused" in refusal(follow(feed, server.url, server.ca_file))


def test_refuses_a_body_that_is_shorter_than_announced(feed: Feed, tmp_path: Path) -> None:
    def cut(name: str) -> Reply | None:
        path = feed.public / name
        return Reply(body=path.read_bytes(), missing=5) if path.is_file() else None

    with serving_feed(feed, tmp_path, instead=cut) as server:
        assert "not received" in refusal(follow(feed, server.url, server.ca_file))


def test_refuses_a_server_of_another_name(feed: Feed, tmp_path: Path) -> None:
    with serving_feed(feed, tmp_path, name="feed.example") as server:
        assert "not valid for its name" in refusal(follow(feed, server.url, server.ca_file))
    assert server.script.requests == []


def test_refuses_a_server_of_an_unknown_authority(feed: Feed, tmp_path: Path) -> None:
    with serving_feed(feed, tmp_path) as server:
        assert "its CA is not trusted" in refusal(follow(feed, server.url, None))
    assert server.script.requests == []


def test_a_server_that_is_down_is_named(feed: Feed) -> None:
    assert refusal(follow(feed, "https://localhost:1/feed", None)) == (
        "The feed's file 2.root.json was not received: no address of the host accepts a connection."
    )


# Endless and slow

OK = b"HTTP/1.1 200 OK\r\n"


def endless_body(stream: ssl.SSLSocket) -> None:
    stream.sendall(OK + b"\r\n")
    while True:
        stream.sendall(b" " * 65536)


def endless_chunks(stream: ssl.SSLSocket) -> None:
    stream.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        stream.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")


def endless_header(stream: ssl.SSLSocket) -> None:
    stream.sendall(OK)
    while True:
        stream.sendall(b"X-Filler: " + b"a" * 1000 + b"\r\n")


def endless_interim(stream: ssl.SSLSocket) -> None:
    while True:
        stream.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


@pytest.mark.parametrize("talk", [endless_body, endless_chunks, endless_header, endless_interim])
def test_stops_an_endless_answer(feed: Feed, tmp_path: Path, talk: Callable[[ssl.SSLSocket], None]) -> None:
    with raw_server(tmp_path, talk) as (url, ca_file):
        assert "2.root.json was not received" in refusal(follow(feed, url, ca_file))


def test_stops_a_body_that_is_announced_too_long(feed: Feed, tmp_path: Path) -> None:
    long = Reply(body=b" " * (MAX_FILE_BYTES + 1))
    with serving_feed(feed, tmp_path, instead=lambda _: long) as server:
        assert f"more than {MAX_FILE_BYTES} bytes" in refusal(follow(feed, server.url, server.ca_file))


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: 3\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: 3\r\nContent-Length: 1000\r\n",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: three\r\n",
    ],
)
def test_a_false_length_gives_no_metadata(feed: Feed, tmp_path: Path, header: bytes) -> None:
    def talk(stream: ssl.SSLSocket) -> None:
        stream.sendall(OK + header + b"\r\n" + (feed.public / "1.root.json").read_bytes())

    with raw_server(tmp_path, talk) as (url, ca_file):
        assert refusal(follow(feed, url, ca_file)).startswith(
            ("The feed's file 2.root.json was not", "The feed's metadata")
        )


def silence(stream: ssl.SSLSocket) -> None:
    stream.recv(1)


def drip(stream: ssl.SSLSocket) -> None:
    stream.sendall(OK + b"Content-Length: 10000\r\n\r\n")
    while True:
        stream.sendall(b" ")
        time.sleep(0.05)


def drip_header(stream: ssl.SSLSocket) -> None:
    for byte in OK * 100:
        stream.sendall(bytes([byte]))
        time.sleep(0.05)


@pytest.mark.parametrize("talk", [silence, drip, drip_header])
def test_ends_in_time_if_the_server_is_slow(feed: Feed, tmp_path: Path, talk: Callable[[ssl.SSLSocket], None]) -> None:
    with raw_server(tmp_path, talk) as (url, ca_file):
        client = replace(follow(feed, url, ca_file), seconds=SHORTLY)
        began = time.monotonic()
        assert "in time" in refusal(client)
        assert time.monotonic() - began < SOON


def test_the_time_limit_is_that_of_all_files(feed: Feed, tmp_path: Path) -> None:
    """Each answer is quick enough alone."""

    def slow(_: str) -> None:
        time.sleep(0.3)

    with serving_feed(feed, tmp_path, instead=slow) as server:
        began = time.monotonic()
        sentence = refusal(replace(follow(feed, server.url, server.ca_file), seconds=SHORTLY))
        assert "time" in sentence
        assert time.monotonic() - began < SOON


# What may be a source


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/feed",
        "ftp://localhost/feed",
        "https://",
        "https:///feed",
        "https://user@localhost/feed",
        "https://localhost/feed?x=1",
        "https://localhost/feed#x",
        "https://localhost/../feed",
        "https://localhost/%2e%2e/feed",
        "https://localhost:0/feed",
        "https://localhost:65536/feed",
        "https://local host/feed",
        "https://localhost\n/feed",
        "https://localhost/feed\n",
        "https://localhost/a//b",
        "https://" + "a" * 600,
    ],
)
def test_refuses_other_urls(feed: Feed, url: str) -> None:
    with pytest.raises(ValueError, match="https://HOST/PATH"):
        open_feed(url, root=feed.first_root)


def test_names_a_ca_file_that_cannot_be_read(feed: Feed, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="CA file"):
        open_feed("https://localhost/feed", root=feed.first_root, ca_file=tmp_path / "absent.pem")
    (tmp_path / "empty.pem").write_bytes(b"")
    with pytest.raises(ValueError, match="CA file"):
        open_feed("https://localhost/feed", root=feed.first_root, ca_file=tmp_path / "empty.pem")


# Archives and directories


def test_takes_a_directory_that_is_a_link(feed: Feed, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(feed.public)
    assert open_feed(str(tmp_path / "link"), root=feed.first_root).fetch({}).bundle == BUNDLE


def test_waits_for_no_writer_of_a_pipe(feed: Feed, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "cannot be read: NotADirectoryError" in refusal(open_feed(str(tmp_path / "pipe"), root=feed.first_root))


def test_reads_no_huge_archive_or_file(feed: Feed, tmp_path: Path) -> None:
    huge = tmp_path / "huge.tar"
    huge.touch()
    os.truncate(huge, 1 << 40)
    with pytest.raises(FeedFailed, match=f"has more than {MAX_ARCHIVE_BYTES} bytes"):
        open_feed(str(huge), root=feed.first_root)
    (tmp_path / "feed").mkdir()
    huge.rename(tmp_path / "feed" / "2.root.json")
    assert f"has more than {MAX_FILE_BYTES} bytes" in refusal(open_feed(str(tmp_path / "feed"), root=feed.first_root))


def tar_of(feed: Feed, path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]  # a mode as text
        tar.add(feed.public, arcname="public")
    return path


def from_file(feed: Feed, path: Path) -> bytes:
    return open_feed(str(path), root=feed.first_root).fetch({}).bundle


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_reads_a_tar(feed: Feed, tmp_path: Path, mode: str) -> None:
    assert from_file(feed, tar_of(feed, tmp_path / "feed.tar", mode)) == BUNDLE


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_reads_a_zip(feed: Feed, tmp_path: Path, compression: int) -> None:
    with zipfile.ZipFile(tmp_path / "feed.zip", "w", compression) as packed:
        for file in feed.public.iterdir():
            packed.write(file, f"public/{file.name}")
    assert from_file(feed, tmp_path / "feed.zip") == BUNDLE


def archive_refusal(feed: Feed, path: Path) -> str:
    with pytest.raises(FeedFailed) as caught:
        from_file(feed, path)
    return str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b", b"PK\x03\x04", b"garbage" * 1000, gzip.compress(b"x" * 1000, mtime=0)]
)
def test_refuses_other_files(feed: Feed, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert archive_refusal(feed, tmp_path / "file")


def test_refuses_a_cut_archive(feed: Feed, tmp_path: Path) -> None:
    path = tar_of(feed, tmp_path / "feed.tar.gz", "w:gz")
    path.write_bytes(path.read_bytes()[:-200])
    assert archive_refusal(feed, path)


def test_refuses_bombs(feed: Feed, tmp_path: Path) -> None:
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(80_000_000)))
    assert "too many bytes" in archive_refusal(feed, tmp_path / "bomb.gz")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("timestamp.json", bytes(80_000_000))
    assert "too many bytes" in archive_refusal(feed, tmp_path / "bomb.zip")
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("timestamp.json")
        member.size = 20_000_000
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    assert "too many bytes" in archive_refusal(feed, tmp_path / "bomb.tar.gz")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_refuses_a_zip_whose_compression_no_limit_can_stop(feed: Feed, tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "feed.zip", "w", method) as packed:
        packed.writestr("timestamp.json", b"{}")
    assert "another compression than deflate" in archive_refusal(feed, tmp_path / "feed.zip")


def test_refuses_a_zip_that_lists_a_file_without_a_name(feed: Feed, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "feed.zip", "w") as packed:
        packed.writestr("x", b"{}")
        packed.infolist()[-1].filename = ""
    assert "not a readable" in archive_refusal(feed, tmp_path / "feed.zip")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_counts_every_entry_of_an_archive(feed: Feed, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"feed.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            for number in range(MAX_MEMBERS + 1):
                packed.writestr(f"{number}/", b"")
    else:
        with tarfile.open(path, "w") as tar:
            for number in range(MAX_MEMBERS + 1):
                folder = tarfile.TarInfo(f"{number}")
                folder.type = tarfile.DIRTYPE
                tar.addfile(folder)
    assert f"more than {MAX_MEMBERS} entries" in archive_refusal(feed, path)


def test_no_member_leaves_the_archive(feed: Feed, tmp_path: Path) -> None:
    """Members have names only in memory, and a link is no file."""
    path = tar_of(feed, tmp_path / "feed.tar")
    with tarfile.open(path, "a") as tar:
        escape = tarfile.TarInfo("../../../../../../tmp/w-escape.json")
        escape.size = 2
        tar.addfile(escape, io.BytesIO(b"{}"))
        link = tarfile.TarInfo("public/9.root.json")
        link.type = tarfile.SYMTYPE
        link.linkname = "/etc/passwd"
        tar.addfile(link)
        fifo = tarfile.TarInfo("public/pipe.json")
        fifo.type = tarfile.FIFOTYPE
        tar.addfile(fifo)
    assert from_file(feed, path) == BUNDLE
    assert not os.path.lexists("/tmp/w-escape.json")  # noqa: S108 - what the archive names


def test_refuses_two_files_of_one_name(feed: Feed, tmp_path: Path) -> None:
    path = tar_of(feed, tmp_path / "feed.tar")
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("other/timestamp.json")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"{}"))
    assert "two files of one name" in archive_refusal(feed, path)
