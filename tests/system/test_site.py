"""The documentation site is complete, works in a browser without any other host, and is accessible."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browsers import PHONE, violations
from support.html_pages import HtmlPage, is_elsewhere, lost_targets, read_pages, serving
from support.watched_pages import watched_page

ROOT = Path(__file__).parents[2]
#: One page of each kind: long text, a tutorial, wide tables, an API, a diagram.
LOOKED_AT = ("", "start/tutorial/", "operate/settings/", "integrate/http/", "understand/how-a-document-is-judged/")
#: A link to a file of this repository, at the default `repo_url` of mkdocs.yml.
_OWN_FILE = re.compile(r"https://github\.com/OWNER/REPO/(?:blob|tree|edit)/main/([^#]*)")
_LIST_IN_PARAGRAPH = re.compile(r"<p>(?:(?!</p>).)*\n *(?:[-*]|\d+\.) .*?</p>", re.DOTALL)
_CODE_BLOCK = re.compile(r"<pre.*?</pre>", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    directory: Path
    said: str
    pages: dict[str, HtmlPage]


def run(*command: str, place: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # Not the make that runs the suite, and no setting of the workflow that publishes the site.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "DOCS_"))
    }
    environment["NO_MKDOCS_2_WARNING"] = "1"
    return subprocess.run(
        command, cwd=place, env=environment, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Built by `make docs`, which also makes the environment of the generator if it is not there."""
    directory = tmp_path_factory.mktemp("site") / "site"
    done = run("make", "docs", f"SITE={directory}")
    assert done.returncode == 0, done.stdout
    return Site(directory=directory, said=done.stdout, pages=read_pages(directory))


@pytest.fixture(scope="module")
def address(site: Site) -> Iterator[str]:
    with serving(site.directory) as served:
        yield served


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with watched_page(browser, address) as opened:
        yield opened


def test_site_is_built_without_a_warning(site: Site) -> None:
    lines = [line for line in site.said.splitlines() if not line.startswith("INFO ")]
    assert [line for line in lines if "mkdocs build" not in line and "uv sync" not in line] == []


def test_every_page_of_the_repository_is_on_the_site(site: Site) -> None:
    pages = {page.relative_to(ROOT / "docs").with_suffix("").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    expected = {f"{page.removesuffix('README')}/index.html".replace("//", "/") for page in pages}
    outside = ("", "contributing/", "security/", "changelog/", "examples/", "examples/appliance/", "trust_roots/")

    assert expected | {f"{page}index.html" for page in outside} <= set(site.pages)


def test_every_page_is_in_the_navigation(site: Site) -> None:
    home = (site.directory / "index.html").read_text("utf-8")
    navigation = home[home.index('class="md-nav md-nav--primary') : home.index("md-sidebar--secondary")]
    named = {path.removeprefix(".") for path in re.findall(r'href="([^"#]*)"', navigation)}

    assert [page for page in site.pages if page.removesuffix("index.html") not in named | {"404.html"}] == []


def test_generated_pages_are_marked_in_the_navigation(site: Site) -> None:
    home = (site.directory / "index.html").read_text("utf-8")
    for title in ("Settings", "Reasons", "IMDS conformance", "Chart values"):
        assert f"{title} (generated)" in home


def test_every_link_within_the_site_leads_to_a_page_and_to_an_element_of_it(site: Site) -> None:
    assert lost_targets(site.directory, site.pages) == []


def test_links_to_other_files_lead_to_the_repository(site: Site) -> None:
    links = {link for page in site.pages.values() for link in page.links}
    named = {match[1] for link in links if (match := _OWN_FILE.match(link))}

    assert {"ops/prometheus-rules.yaml", "tools/generate_settings.py", "README.md"} <= named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_pages_load_nothing_from_another_host(site: Site) -> None:
    loaded = {resource for page in site.pages.values() for resource in page.resources}
    styles = "".join(file.read_text("utf-8") for file in site.directory.rglob("*.css"))
    loaded.update(re.findall(r"""(?:url\(|@import )\s*["']?([^"')\s]+)""", styles))

    assert loaded
    assert [resource for resource in sorted(loaded) if is_elsewhere(resource)] == []
    # The theme would load the script that draws these from a CDN.
    assert [page for page in site.pages if "mermaid" in (site.directory / page).read_text("utf-8")] == []


def test_no_list_is_shown_as_a_paragraph(site: Site) -> None:
    """GitHub needs no empty line before some lists, and Python-Markdown does."""
    found = {}
    for page in site.pages:
        text = _CODE_BLOCK.sub("", (site.directory / page).read_text("utf-8"))
        if lists := _LIST_IN_PARAGRAPH.findall(text):
            found[page] = lists
    assert found == {}


def test_search_index_has_each_reason(site: Site) -> None:
    index = json.loads((site.directory / "search" / "search_index.json").read_text("utf-8"))
    places = {entry["location"] for entry in index["docs"]}
    assert {"integrate/reasons/#nonce-replayed", "operate/alerts/#storeerrors"} <= places


def test_a_fault_fails_the_build_and_a_new_page_is_in_the_navigation(site: Site, tmp_path: Path) -> None:
    assert site.pages  # so that the generator is installed
    for name in ("docs", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("tools/docs_theme", "trust_roots", "helm/verifier"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.pem", "templates"))
    for name in ("mkdocs.yml", "tools/docs_hooks.py", *(page.name for page in ROOT.glob("*.md"))):
        shutil.copyfile(ROOT / name, tmp_path / name)
    (tmp_path / "docs" / "operate" / "added.md").write_text(
        "# Added page\n\nIt is generated; do not edit it. [a](lost.md) [b](install.md#lost) [c](../../lost.toml)\n",
        "utf-8",
    )

    done = run(str(ROOT / ".tools" / "docs" / "bin" / "mkdocs"), "build", "--strict", place=tmp_path)

    assert done.returncode == 1
    # The other warnings are of files that are not in this copy.
    for expected in (
        "docs/operate/added.md: the link 'lost.md' leads to no file",
        "docs/operate/added.md: the link '../../lost.toml' leads to no file",
        "Doc file 'operate/added.md' contains a link 'install.md#lost'",
        "in strict mode",
    ):
        assert expected in done.stdout
    home = (tmp_path / "build" / "site" / "index.html").read_text("utf-8")
    assert re.search(r'href="operate/added/".{0,200}Added page \(generated\)', home, re.DOTALL)


def test_search_finds_a_page(page: Page, address: str) -> None:
    page.goto(f"{address}operate/install/")
    field = page.locator("[data-md-component=search-query]")
    field.click()
    expect(page.locator(".md-search-result__meta")).to_have_text("Type to start searching")  # the index is read
    field.press_sequentially("nonce replayed")
    found = page.locator(".md-search-result__link").first
    expect(found).to_have_attribute("href", re.compile("/integrate/reasons/"))
    found.click()
    page.wait_for_url("**/integrate/reasons/**")


@pytest.mark.parametrize("path", LOOKED_AT)
def test_page_is_accessible_and_fits_a_phone(path: str, page: Page, address: str) -> None:
    page.goto(address + path)
    found = violations(page)
    page.emulate_media(color_scheme="dark")
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    found += violations(page, "color-contrast")

    assert found == []

    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
