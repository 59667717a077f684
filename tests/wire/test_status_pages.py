"""The status page in a real Chromium, served by a running application over real sockets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Literal

import pytest
from playwright.sync_api import Browser, Dialog, Page, ViewportSize, sync_playwright

from evaluator.app import App
from evaluator.pulse import beating
from evaluator.service import sweep
from evaluator.state.fleet import Settled
from evaluator.state.paces import Slowed
from evaluator.status.page import PAGES
from evaluator.status.server import address_of, application, listen, serving
from sandbox.server import Sandbox
from tests.serving import Config, OpenService, Traffic
from traces import TraceRef

HOSTILE = "<img src=x onerror=alert(1)>"
DESK: ViewportSize = {"width": 1000, "height": 800}
PHONE: ViewportSize = {"width": 360, "height": 640}
EVERY_PAGE = [path for path, _ in PAGES]

# A browser beside everything else on two cores is slow to start; nothing here is timed.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium; .ci/run installs it, so in CI it must be there."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        assert not os.environ.get("CI"), "no Chromium: .ci/run installs Debian's package"
        pytest.skip("no Chromium on this machine: the status page is not tested in a browser")
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


class Site:
    """What is served, and whatever a browser complained about or asked elsewhere."""

    def __init__(self, app: App, address: str, browser: Browser) -> None:
        self.app, self.address, self._browser = app, address.rstrip("/"), browser
        self.complaints: list[str] = []

    @contextmanager
    def page(self) -> Iterator[Page]:
        context = self._browser.new_context(viewport=DESK)
        page = context.new_page()
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._refuse)
        page.on("request", lambda request: self._is_ours(request.url))
        yield page
        context.close()

    def _refuse(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _is_ours(self, url: str) -> None:
        if not url.startswith(f"{self.address}/"):
            self.complaints.append(f"asked elsewhere: {url}")


@pytest.fixture
def site(browser: Browser, service: OpenService, config: Config, traffic: Traffic, sandbox: Sandbox) -> Iterator[Site]:
    traffic.add(2, name=HOSTILE, traceName=HOSTILE, environment="production")
    sandbox.model.answers.malformed = 1.0
    folder = config(monitors="- {score: answered}\n", service="coverage: {objective: 99%}\n")
    with service(folder) as app, beating(app, "run", 4) as pulse, listen("127.0.0.1", 0) as listener:
        sweep(app, timedelta(hours=1), drain=True, threads=2)
        now = app.clock.now()
        odd = TraceRef(HOSTILE, HOSTILE, "production", now, now)
        app.state.settle([Settled(odd, "answered", "skipped", HOSTILE)])
        with serving(application(app, pulse), listener):
            yield Site(app, address_of("127.0.0.1", listener), browser)


def test_every_page_can_be_read_and_runs_nothing_of_strangers(site: Site) -> None:
    with site.page() as page:
        for path in [*EVERY_PAGE, f"/trace?id={0:032x}"]:
            page.goto(site.address + path)
            assert page.locator("h1").count() == 1
            assert page.locator("nav a[aria-current=page]").count() == 1
            page.set_viewport_size(PHONE)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, f"a phone scrolls {path} sideways"
            page.set_viewport_size(DESK)
        assert HOSTILE in page.locator("main").inner_text(), "shown as text"
        page.goto(f"{site.address}/")
        assert HOSTILE in page.locator("main").inner_text(), "shown as text"
        schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme)
            least = page.evaluate(_CONTRAST)
            assert least["ratio"] >= 4.5, least
            dark = page.evaluate("getComputedStyle(document.body).backgroundColor").startswith("rgb(1")
            assert dark is (scheme == "dark")
    assert site.complaints == []


def test_a_model_that_is_slowed_down_stands_with_the_limits_with_why(site: Site) -> None:
    with site.page() as page:
        (model, *_) = site.app.definitions.models
        site.app.paces.tell({model: Slowed(12, 64, HOSTILE)})
        page.goto(f"{site.address}/")
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="model", exact=True))
        assert row.locator("td").nth(1).inner_text() == f"{model}: 12 of 64 calls at once a process: {HOSTILE}"
        page.set_viewport_size(PHONE)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert site.complaints == []


def test_it_is_used_with_a_keyboard(site: Site) -> None:
    with site.page() as page:
        page.goto(f"{site.address}/trace")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "id"
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", "one sees where one is"
        page.keyboard.type(f"{1:032x}")
        page.keyboard.press("Enter")
        page.wait_for_url("**/trace?id=*")
        rows = page.locator("tbody tr").all_inner_texts()
        assert any("answered" in row and "scored" in row for row in rows)
        assert any("helpfulness" in row and "dead-letters replay" in row for row in rows)
    assert site.complaints == []


def test_the_overview_renews_itself_and_says_when_it_cannot(site: Site) -> None:
    with site.page() as page:
        page.goto(f"{site.address}/")
        assert "Nobody leads" in page.locator(".verdict").inner_text()
        page.locator("summary").click()
        page.evaluate("document.activeElement.blur()")
        site.app.state.lease("scheduler", "host:1", timedelta(minutes=5))
        page.wait_for_function("renew().then(() => document.querySelector('.tiles').innerText.includes('host:1'))")
        assert page.evaluate("document.querySelector('details').open")
        page.route("**/*", lambda route: route.abort())
        page.evaluate("renew()")
        assert page.evaluate("document.body.className") == "lost"


_CONTRAST = """() => {
  const light = (c) => {
    const [r, g, b] = c.match(/[0-9.]+/g).map(Number).map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor
      if (!/rgba\\(.*, ?[0-9.]+\\)/.test(c)) return c
    }
    return 'rgb(255, 255, 255)'
  }
  let least = { ratio: 99 }
  for (const e of document.querySelectorAll('h1, h2, p, th, td, dt, dd, li, a, summary, .soft, .fell, .key')) {
    if (!e.innerText || e.className === 'skip') continue
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x)
    const ratio = (a + 0.05) / (b + 0.05)
    if (ratio < least.ratio) least = { ratio, text: e.innerText.slice(0, 60), tag: e.tagName }
  }
  return least
}"""
