"""Read what a built HTML page links to, and serve a folder of such pages."""

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from support.local_servers import serving_in_thread

#: The elements that make a browser load something, each with the attribute that says what.
_LOADING = {"link": "href", "script": "src", "img": "src", "source": "src", "iframe": "src", "object": "data"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HtmlPage:
    """What is in one page, as it is written there."""

    name: str
    links: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)


class _Reader(HTMLParser):
    def __init__(self, page: HtmlPage) -> None:
        super().__init__()
        self._page = page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if "id" in attributes:
            self._page.anchors.add(attributes["id"])
        if tag == "a" and "href" in attributes:
            self._page.links.append(attributes["href"])
        if attributes.get(_LOADING.get(tag, "")):
            self._page.resources.append(attributes[_LOADING[tag]])


def read_pages(directory: Path) -> dict[str, HtmlPage]:
    """Return every page of a site by its path, such as `operate/settings/index.html`."""
    pages = {}
    for file in sorted(directory.rglob("*.html")):
        name = file.relative_to(directory).as_posix()
        pages[name] = HtmlPage(name=name)
        _Reader(pages[name]).feed(file.read_text("utf-8"))
    return pages


def is_elsewhere(target: str) -> bool:
    """Whether a link or a resource has a host or a scheme of its own, other than inline data."""
    parts = urlsplit(target)
    return bool(parts.netloc or parts.scheme) and parts.scheme != "data"


def lost_targets(directory: Path, pages: dict[str, HtmlPage]) -> list[str]:
    """Return each target within the site that leads to no file, or to no element of its page."""
    lost = []
    for page in pages.values():
        for target in (*page.links, *page.resources):
            parts = urlsplit(target)
            if parts.netloc or parts.scheme:
                continue
            # A path that starts with a slash counts from the top of the site, and an empty one is the page.
            found = posixpath.normpath(posixpath.join("/", posixpath.dirname(page.name), unquote(parts.path)))[1:]
            name = found if parts.path else page.name
            if (directory / name).is_dir():
                name = posixpath.join(name, "index.html")
            has_anchor = not parts.fragment or unquote(parts.fragment) in pages.get(name, page).anchors
            if not (directory / name).is_file() or not has_anchor:
                lost.append(f"{page.name}: {target}")
    return lost


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Log no request."""


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Serve the folder on a free port, and give its address with a slash at the end."""
    handler = partial(_QuietHandler, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, serving_in_thread(server):
        yield f"http://127.0.0.1:{server.server_port}/"
