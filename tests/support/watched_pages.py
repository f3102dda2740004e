"""Open pages of the service in a real Chromium, and keep everything that went wrong in them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start the Chromium of this machine, or skip the test. Playwright keeps an event loop running meanwhile."""
    found = next((path for path in map(shutil.which, _BROWSERS) if path), None)
    if found is None:
        pytest.skip(f"no browser: install one of {', '.join(_BROWSERS)}")
    options = ["--no-sandbox", "--disable-background-networking"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=options)
        yield running
        running.close()


@dataclass(slots=True)
class Watched:
    """A page with its faults: errors, warnings, violations of its policy, and requests to another host."""

    page: Page
    faults: list[str] = field(default_factory=list)
    #: The statuses of answers that the test expects. Chromium reports each as an error of the console.
    expected: set[int] = field(default_factory=set)

    @classmethod
    @contextmanager
    def opened(cls, browser: Browser, address: str) -> Iterator["Watched"]:
        """Open an empty page for the service at `address`. At the end, it must have no faults."""
        context = browser.new_context(color_scheme="light", reduced_motion="reduce", viewport=DESKTOP)
        watched = cls(context.new_page())

        def see_request(request: Request) -> None:
            if not request.url.startswith((f"{address}/", "data:", "blob:")):
                watched.faults.append(f"request: {request.url}")

        def see_message(message: ConsoleMessage) -> None:
            is_expected = any(f"responded with a status of {status} " in message.text for status in watched.expected)
            if message.type in {"error", "warning"} and not is_expected:
                watched.faults.append(f"console: {message.text}")

        watched.page.on("request", see_request)
        watched.page.on("console", see_message)
        watched.page.on("pageerror", lambda error: watched.faults.append(f"error: {error}"))
        watched.page.on("dialog", lambda dialog: watched.faults.append(f"dialog: {dialog.message}"))
        yield watched
        context.close()
        assert watched.faults == [], watched.faults

    def assert_accessible(self) -> None:
        """Check the page as it is now: axe in light, dark and on a phone, and no sideways scrolling anywhere."""
        page = self.page
        page.evaluate(resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
        found = _violations(page)
        page.emulate_media(color_scheme="dark")
        found += _violations(page, "color-contrast")
        page.set_viewport_size(PHONE)
        found += _violations(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(DESKTOP)
        assert page.evaluate("document.documentElement.scrollWidth") <= DESKTOP["width"]
        assert found == [], found


def _violations(page: Page, *rules: str) -> list[str]:
    """Return what axe finds serious, with the first element of each."""
    options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    found = page.evaluate("options => axe.run(document, options)", options)["violations"]
    serious = [rule for rule in found if rule["impact"] in {"serious", "critical"}]
    return [f"{rule['id']}: {rule['nodes'][0]['html']} {rule['nodes'][0]['failureSummary']}" for rule in serious]
