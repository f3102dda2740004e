"""Watch a page of the service in a real Chromium: what went wrong in it, and who cannot use it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, expect
from support.browsers import DESKTOP, PHONE, violations


@dataclass(slots=True)
class Watched:
    """A page with its faults: errors, warnings, violations of its policy, and requests to another host."""

    page: Page
    faults: list[str] = field(default_factory=list)
    #: The statuses of answers that the test expects. Chromium reports each as an error of the console.
    expected: set[int] = field(default_factory=set)

    @classmethod
    @contextmanager
    def opened(
        cls, browser: Browser, address: str, *, allowed: tuple[str, ...] = (), has_motion: bool = False
    ) -> Iterator["Watched"]:
        """Open an empty page for the server at `address`. At the end, it must have no faults but those with `allowed`
        words."""
        motion: Literal["no-preference", "reduce"] = "no-preference" if has_motion else "reduce"
        context = browser.new_context(color_scheme="light", reduced_motion=motion, viewport=DESKTOP)
        watched = cls(context.new_page())

        def see_request(request: Request) -> None:
            if not request.url.startswith((f"{address.removesuffix('/')}/", "data:", "blob:")):
                watched.faults.append(f"request: {request.url}")

        def see_message(message: ConsoleMessage) -> None:
            answers = (f"responded with a status of {status} " for status in watched.expected)
            is_expected = any(words in message.text for words in (*allowed, *answers))
            if message.type in {"error", "warning"} and not is_expected:
                watched.faults.append(f"console: {message.text}")

        context.on("request", see_request)
        watched.page.on("console", see_message)
        watched.page.on("pageerror", lambda error: watched.faults.append(f"error: {error}"))
        watched.page.on("dialog", lambda dialog: watched.faults.append(f"dialog: {dialog.message}"))
        yield watched
        context.close()
        assert watched.faults == [], watched.faults

    def assert_busy_until_the_last_answer(
        self, path: str, start: Callable[[], object], again: Callable[[], object]
    ) -> None:
        """Start a request that has no answer, then one that aborts it. The result is busy until the second answer."""
        page, routes, states = self.page, [], []

        def answer(route: Route) -> None:
            routes.append(route)
            if len(routes) > 1:
                states.append(page.locator("#result").get_attribute("aria-busy"))
                route.continue_()

        page.route(f"**{path}", answer)
        with page.expect_request(f"**{path}"):
            start()
        with page.expect_response(f"**{path}"):
            again()
        expect(page.locator("[aria-busy=true]")).to_have_count(0)
        assert states == ["true"], states

    def assert_accessible(self) -> None:
        """Check the page as it is now: axe in light and dark and on a phone, and no sideways scrolling of the page."""
        page = self.page
        expect(page.locator("[aria-busy=true]")).to_have_count(0)
        found = violations(page)
        page.emulate_media(color_scheme="dark")
        found += violations(page, "color-contrast")
        page.set_viewport_size(PHONE)
        found += violations(page, "color-contrast", "scrollable-region-focusable", "target-size")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(DESKTOP)
        assert page.evaluate("document.documentElement.scrollWidth") <= DESKTOP["width"]
        assert found == [], found


@contextmanager
def watched_page(browser: Browser, address: str, *, allowed: tuple[str, ...] = ()) -> Iterator[Page]:
    """Open an empty page for tests that need only the page. It moves as it does for most people."""
    with Watched.opened(browser, address, allowed=allowed, has_motion=True) as watched:
        yield watched.page
