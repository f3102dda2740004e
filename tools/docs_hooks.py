"""Hooks of MkDocs: the site shows files as they are on GitHub, with the links that they have there.

- Pages outside docs/ (README.md, CONTRIBUTING.md, the examples, …) become pages of the site.
- A link between two pages becomes a link of the site. A link to another file becomes a link to the repository.
- The navigation gets each page of docs/ that it does not name, and marks generated pages.

A link to a file that does not exist is a warning, which `mkdocs build --strict` turns into a failure.
"""

import logging
import posixpath
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
BRANCH: Final = "main"
#: The pages outside docs/, each with its path on the site. Its URL has no `index.md`.
OUTSIDE: Final = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "helm/verifier/README.md": "helm/verifier/index.md",
    "trust_roots/README.md": "trust_roots/index.md",
    **{
        (found := page.relative_to(ROOT)).as_posix(): found.with_name("index.md").as_posix()
        for page in sorted((ROOT / "examples").rglob("README.md"))
    },
}
#: The folders of docs/, each with the section of the navigation that gets its pages.
SECTIONS: Final = {
    "start": "Start",
    "operate": "Operate",
    "integrate": "Integrate",
    "understand": "Understand",
    "adr": "Decisions",
}
_GENERATED: Final = re.compile(r"\bdo not edit (?:it|this page)\.|makes this file from", re.IGNORECASE)
_TITLE: Final = re.compile(r"^# +(.+)$", re.MULTILINE)
_CODE_IN_CELL: Final = re.compile(r"(?<=<code>)[^<>\n]{16,}(?=</code>(?:(?!<t[dr]|</table).)*</td>)", re.DOTALL)
_BREAK: Final = re.compile(r"[,_/.=:](?=\w)")
_log: Final = logging.getLogger("mkdocs.hooks.docs")


def source_of(path: str) -> Path:
    """Return the file of a page, by its path on the site."""
    return ROOT / next((outside for outside, page in OUTSIDE.items() if page == path), f"docs/{path}")


class _Links(Treeprocessor):
    """Rewrite the links of one page, before MkDocs resolves and checks them."""

    def __init__(self, *, repository: str) -> None:
        super().__init__()
        self.repository = repository
        self.page = ""

    def run(self, root: Element) -> None:
        for element in root.iter():
            attribute = {"a": "href", "img": "src"}.get(str(element.tag), "")
            if target := element.get(attribute):
                element.set(attribute, self._rewritten(target))

    def _rewritten(self, target: str) -> str:
        parts = urlsplit(target)
        if parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
            return target
        source = source_of(self.page)
        found = Path(posixpath.normpath((source.parent / unquote(parts.path)).as_posix()))
        name = found.relative_to(ROOT).as_posix() if found.is_relative_to(ROOT) else ""
        if not name or not found.exists():
            _log.warning("%s: the link '%s' leads to no file", source.relative_to(ROOT), target)
            return target
        page = OUTSIDE.get(name, name.removeprefix("docs/") if name.startswith("docs/") and found.is_file() else "")
        if page:
            path = posixpath.relpath(page, posixpath.dirname(self.page))
            return urlunsplit(parts._replace(path=path))
        kind = "tree" if found.is_dir() else "blob"
        return f"{self.repository}/{kind}/{BRANCH}/{name}" + (f"#{parts.fragment}" if parts.fragment else "")


class _AsOnGitHub(Extension):
    """The links of GitHub, and its lists: two spaces are enough to continue an item, and not four."""

    def __init__(self, links: _Links) -> None:
        super().__init__()
        self._links = links

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - the name that Markdown calls
        # The processors of blocks read it when they are made.
        md.tab_length = 2
        md.build_parser()
        # After the inline patterns (20), and before MkDocs resolves the links (0).
        md.treeprocessors.register(self._links, "docs_links", 10)


class _State:
    links: _Links


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation, and add the rewriting of links."""
    _State.links = _Links(repository=config.repo_url.rstrip("/"))
    extensions: list[Any] = config.markdown_extensions
    extensions.insert(0, _AsOnGitHub(_State.links))  # before those that add to the parser
    config.nav = _completed(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are outside docs/."""
    for outside, path in OUTSIDE.items():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / outside)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Tell the rewriting of links which page comes, and link the page to its file."""
    _State.links.page = page.file.src_uri
    name = source_of(page.file.src_uri).relative_to(ROOT).as_posix()
    page.edit_url = f"{config.repo_url.rstrip('/')}/edit/{BRANCH}/{name}"
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]  # its only entry would be itself
    return markdown


def on_post_page(output: str, **_: object) -> str:
    """Name the dialog of the search for screen readers, and let long names in tables break at their punctuation.

    This comes after the search index is made: there, the names stay words.
    """
    named = output.replace('role="dialog"', 'role="dialog" aria-label="Search"')
    return _CODE_IN_CELL.sub(lambda code: _BREAK.sub(r"\g<0><wbr>", code[0]), named)


def on_post_template(output: str, **_: object) -> str:
    """Do the same for 404.html."""
    return on_post_page(output)


def _completed(nav: list[Any]) -> list[Any]:
    named = {path for _, path in _entries(nav)}
    completed: list[Any] = []
    for entry in nav:
        [(title, content)] = entry.items()
        if isinstance(content, str):
            completed.append(entry)
            continue
        pages = [_marked(*page) for page in _entries(content)]
        for folder in (folder for folder, section in SECTIONS.items() if section == title):
            paths = sorted(page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs" / folder).glob("*.md"))
            pages += [_marked(None, path) for path in paths if path not in named]
        completed.append({title: pages})
    return completed


def _entries(nav: list[Any]) -> list[tuple[str | None, str]]:
    """Return title and path of each page of a navigation."""
    entries: list[tuple[str | None, str]] = []
    for entry in nav:
        title, content = (None, entry) if isinstance(entry, str) else next(iter(entry.items()))
        entries += [(title, content)] if isinstance(content, str) else _entries(content)
    return entries


def _marked(title: str | None, path: str) -> str | dict[str, str]:
    """Return the entry of a page, whose title says so if the page is generated."""
    source = source_of(path)
    text = source.read_text("utf-8") if source.exists() else ""
    if _GENERATED.search(text):
        heading = _TITLE.search(text)
        return {f"{title or (heading[1] if heading else path)} (generated)": path}
    return {title: path} if title else path
