"""The page in a real browser: people look, scroll, drag, grade and finish, and everything is saved."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from monai_spine.data.corrections_file import NAME, read_corrections
from monai_spine.prediction.models import Models
from monai_spine.review import run
from monai_spine.spine import Level
from tests.monai_spine.prediction.parts import points_of_spine
from tests.monai_spine.report.results import HOSTILE
from tests.monai_spine.review.outputs import CANAL, Site, serving, write_output

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow

_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if _BROWSER is None or _DRIVER is None:
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = _BROWSER
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(_DRIVER))
    yield driver
    driver.quit()


EDGES = ("left", "right", "top", "bottom")
SHOWN = "return document.getElementById('slice').dataset.slice"
CUT_OFF = """return [...document.querySelectorAll('button, input, select')]
    .filter((one) => one.offsetParent && one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => one.id || one.textContent)"""
LOW = """return [...document.querySelectorAll('#study button')]
    .filter((one) => one.offsetParent && one.getBoundingClientRect().height < 36)
    .map((one) => one.id || one.textContent)"""


class Page:
    """The page as a person uses it."""

    def __init__(self, browser: Chrome, site: Site, width: int = 1400, height: int = 1000) -> None:
        self.browser, self.site = browser, site
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(site.server.access.url)
        self.until(lambda: self.js("return document.getElementById('slice').naturalWidth > 0"))

    def js(self, script: str, *arguments: object) -> Any:
        return self.browser.execute_script(script, *arguments)

    def text(self, name: str) -> str:
        return self.js("return document.getElementById(arguments[0]).textContent", name)

    def until(self, holds: Callable[[], object], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, (self.text("status"), self.browser.get_log("browser"))
            time.sleep(0.05)

    def keys(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def click(self, x: float, y: float) -> None:
        """Click a place in the window."""
        for kind in ("mousePressed", "mouseReleased"):
            event = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
            self.browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    def says(self, start: str) -> None:
        self.until(lambda: self.text("status").startswith(start))

    def state(self, number: int = 0) -> Any:
        return self.site.client.get(f"/api/studies/{number}")


@pytest.fixture
def page(
    browser: Chrome, graded: Path, folders: list[Path], opened: Models, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    monkeypatch.setattr(run, "open_models", lambda **_: opened)
    with serving(graded, inputs=[folders[0].parent], by="AB") as site:
        site.server.site.regrading.start()
        yield Page(browser, site)
        site.server.site.regrading.stop()
    faults = [entry for entry in browser.get_log("browser") if "409" not in entry["message"]]
    assert faults == [], "the page broke its own policy, or its script failed"


@pytest.fixture
def refused_page(
    browser: Chrome, refused: Path, folders: list[Path], blind: Models, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """The page of an output in which ``s1`` was refused, with that study open."""
    monkeypatch.setattr(run, "open_models", lambda **_: blind)
    with serving(refused, inputs=[folders[0].parent], by="AB") as site:
        site.server.site.regrading.start()
        page = Page(browser, site)
        page.js("document.getElementById('filter').value = 'refused'")
        page.js("document.getElementById('filter').dispatchEvent(new Event('input'))")
        page.js("document.querySelector('#list button').click()")
        page.until(lambda: page.text("name") == "s1")
        page.until(lambda: page.js(SHOWN).startswith("0,0,"))
        yield page
        site.server.site.regrading.stop()
    assert browser.get_log("browser") == []


CANALS = [f"spinal_canal_stenosis_{level.value}" for level in Level]
PLACE = """const place = document.getElementById('stage').getBoundingClientRect();
    return [place.left, place.top, place.width, place.height]"""


def test_the_levels_of_a_refused_study_are_clicked_and_it_is_graded(refused_page: Page, refused: Path) -> None:
    page, file = refused_page, refused / "s1" / NAME
    assert "No lumbar spine was found" in page.text("fault")
    assert page.js("return document.querySelectorAll('#rows button').length") == 5
    (volume, *_) = page.state(0)["volumes"]
    to_picture, places = volume["to_picture"], points_of_spine()
    for n, name in enumerate(CANALS):
        page.until(lambda: "Click the middle of the canal" in page.text("place-hint"))
        assert f"L{n + 1}/" in page.text("place-hint")
        column, row, _ = (sum(m * p for m, p in zip(line, (*places[name], 1), strict=True)) for line in to_picture)
        left, top, width, height = page.js(PLACE)
        x = left + (column + 0.5) / volume["columns"] * width
        y = top + (row + 0.5) / volume["rows"] * height
        page.click(x, y)
        page.until(lambda name=name: file.is_file() and name in read_corrections(file).state.points)
        # The levels that are placed are on the picture, and the next one is chosen.
        page.until(lambda n=n: page.js("return document.querySelectorAll('#marks g').length") > n)
    page.says("Graded again: the study has grades now")
    found = {one["finding"]: one for one in json.loads((refused / "s1" / "findings.json").read_text())["findings"]}
    for name in CANALS:  # within a pixel of the page in the plane of the slice
        assert found[name]["point"][1:] == pytest.approx(places[name][1:], abs=1.0)
    assert page.js("return document.querySelectorAll('#rows button').length") == 25
    assert page.js("return document.getElementById('fault').hidden")
    assert page.js("return document.querySelector('#list [aria-current] .chip').textContent") != "refused"


def test_the_levels_of_a_refused_study_are_placed_by_the_keyboard(refused_page: Page, refused: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page, file = refused_page, refused / "s1" / NAME
    page.keys("2")
    page.says("This study has no grades yet")
    assert page.js("return document.getElementById('grade-now').disabled")
    page.keys("j", "j")  # to L3/L4
    # The keys that move the point do not wait until the server has answered that it is placed.
    chain = ActionChains(page.browser).send_keys(Keys.ARROW_UP, "c").key_down(Keys.SHIFT)
    for _ in range(3):
        chain = chain.send_keys(Keys.ARROW_DOWN)
    chain.key_up(Keys.SHIFT).perform()
    page.until(lambda: file.is_file() and len(read_corrections(file).changes) == 2)
    placed, moved = (change.after for change in read_corrections(file).changes)
    assert moved == pytest.approx((placed[0], placed[1], placed[2] - 3), abs=0.01)
    assert list(read_corrections(file).state.points) == [CANALS[2]]
    assert "1 of 5 are placed" in page.text("fault")
    page.js("document.getElementById('grade-now').focus()")
    page.keys(Keys.ENTER)
    page.says("Graded again: the study has grades now")
    assert (refused / "s1" / "findings.json").is_file()


def test_a_study_is_corrected_graded_again_and_finished(page: Page, graded: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    assert "token" not in page.browser.current_url
    number = int(page.js("return document.querySelector('#list [aria-current]').dataset.number"))
    folder = graded / ("s1", "s2")[number]
    before = page.state(number)["points"][CANAL]["position"]
    page.js("document.querySelector('#rows button[data-finding=\"' + arguments[0] + '\"]').click()", CANAL)
    point = page.browser.find_element(By.CSS_SELECTOR, f"#marks g[data-finding='{CANAL}']")
    per_mm = (
        page.js(
            "const s = document.getElementById('stage'), v = document.getElementById('slice');"
            "return s.clientHeight / v.naturalHeight"
        )
        / page.state(number)["volumes"][0]["spacing"][1]
    )
    ActionChains(page.browser).click_and_hold(point).move_by_offset(30, 20).release().perform()
    page.says("Graded again")
    after = read_corrections(folder / NAME).state.points[CANAL].position
    # To the right in the picture is backwards in the patient, and down is down.
    assert after == pytest.approx((before[0], before[1] - 30 / per_mm, before[2] - 20 / per_mm), abs=1.0)
    found = {one["finding"]: one for one in json.loads((folder / "findings.json").read_text())["findings"]}
    assert found[CANAL]["point"] == pytest.approx(after, abs=1e-3)
    assert found[CANAL]["flags"] == ["marked"]

    grade = {"normal_mild": "3", "moderate": "1", "severe": "2"}[found[CANAL]["grade"]]
    page.keys(grade)
    page.until(lambda: read_corrections(folder / NAME).state.grades)
    page.keys("d")
    page.until(lambda: read_corrections(folder / NAME).state.done)
    corrections = read_corrections(folder / NAME)
    assert corrections.state.grades == {CANAL: ("normal_mild", "moderate", "severe")[int(grade) - 1]}
    assert [change.signature.by for change in corrections.changes] == ["AB"] * 3
    page.until(lambda: page.js("return document.querySelector('#list [aria-current] .tick') !== null"))
    assert "✎" in page.js("return document.querySelector('#rows [aria-pressed=true]').textContent")

    page.keys("u")
    page.until(lambda: read_corrections(folder / NAME).state.done is None)


def test_keys_scroll_the_slices_of_every_volume_and_lead_to_the_next_study(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    first = page.text("name")
    letters = {"Sagittal T2/STIR": "APSI", "Sagittal T1": "APSI", "Axial T2": "RLAP"}
    seen = []
    for _ in letters:
        seen.append(page.js("return document.querySelector('#volumes [aria-pressed=true]').textContent"))
        edges = [page.js(f"return document.querySelector('.edge.{one}').textContent") for one in EDGES]
        assert "".join(edges) == letters[seen[-1]]
        start = int(page.js("return document.getElementById('k').value"))
        for key in (Keys.ARROW_UP, Keys.ARROW_LEFT, Keys.ARROW_DOWN):
            page.keys(key)
        assert int(page.js("return document.getElementById('k').value")) == start - 1
        assert page.text("caption").startswith(f"slice {start} of")
        # The picture itself follows as soon as it is there.
        page.until(lambda k=start - 1: page.js(SHOWN).endswith(f",{k}"))
        page.keys("v")
    assert sorted(seen) == sorted(letters)
    page.keys("n")
    page.until(lambda: page.text("name") != first)
    page.keys("p")
    page.until(lambda: page.text("name") == first)
    page.keys("?")
    assert page.js("return document.getElementById('keys').open")


def test_points_are_moved_placed_and_renamed_by_the_keyboard_alone(page: Page, graded: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    number = int(page.js("return document.querySelector('#list [aria-current]').dataset.number"))
    file = graded / ("s1", "s2")[number] / NAME
    page.js("document.querySelector('#rows button[data-finding=\"' + arguments[0] + '\"]').click()", CANAL)
    before = page.state(number)["points"][CANAL]["position"]
    chain = ActionChains(page.browser).key_down(Keys.SHIFT)
    for _ in range(4):
        chain = chain.send_keys(Keys.ARROW_UP)
    chain.key_up(Keys.SHIFT).perform()
    page.says("Graded again")
    corrections = read_corrections(file)
    assert len(corrections.changes) == 1  # four presses are one change
    assert corrections.state.points[CANAL].position == pytest.approx((before[0], before[1], before[2] + 4), abs=0.01)
    page.keys("]")
    page.until(lambda: read_corrections(file).version == 2)
    page.says("Graded again")
    assert "spinal_canal_stenosis_l1_l2" not in read_corrections(file).state.points
    page.js("document.querySelector('#rows button[data-finding=spinal_canal_stenosis_l1_l2]').click()")
    assert "no point" in page.text("detail")
    page.keys("c")
    page.until(lambda: "spinal_canal_stenosis_l1_l2" in read_corrections(file).state.points)


def test_a_change_in_another_window_is_shown_and_kept(page: Page, graded: Path) -> None:
    number = int(page.js("return document.querySelector('#list [aria-current]').dataset.number"))
    page.site.client.post(number, version=0, what="grade", finding=CANAL, after="severe", by="CD")
    page.keys("d")
    page.says("Another window changed this study")
    corrections = read_corrections(graded / ("s1", "s2")[number] / NAME)
    assert (corrections.state.done, corrections.people) == (None, ("CD",))
    page.keys("d")
    page.says("Saved")
    assert read_corrections(graded / ("s1", "s2")[number] / NAME).people == ("AB", "CD")


def test_without_initials_nothing_is_changed(page: Page, graded: Path) -> None:
    page.js("document.getElementById('by').value = ''; document.getElementById('by').blur()")
    page.keys("d")
    page.says("Enter your initials first")
    assert not list(graded.rglob(NAME))
    assert page.js("return document.activeElement.id") == "by"


def test_quick_keys_lose_nothing(page: Page, graded: Path) -> None:
    number = int(page.js("return document.querySelector('#list [aria-current]').dataset.number"))
    page.keys("1", "j", "2", "j", "3", "d", "n")
    page.until(lambda: int(page.js("return document.querySelector('#list [aria-current]').dataset.number")) != number)
    corrections = read_corrections(graded / ("s1", "s2")[number] / NAME)
    assert [change.after for change in corrections.changes] == ["normal_mild", "moderate", "severe", True]
    assert len(corrections.state.grades) == 3
    assert len(list(graded.rglob(NAME))) == 1


def test_a_phone_shows_everything_without_scrolling_sideways(page: Page, browser: Chrome) -> None:
    phone = Page(browser, page.site, 360, 740)
    assert phone.js("return document.documentElement.scrollWidth <= window.innerWidth")
    assert phone.js(CUT_OFF) == []
    assert phone.js(LOW) == [], "buttons that a finger misses"


def test_everything_has_a_name_for_screen_readers(page: Page) -> None:
    nodes = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "link", "slider", "textbox", "searchbox", "combobox", "checkbox", "image"}
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node.get("ignored")
        and node.get("role", {}).get("value") in roles
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []
    assert page.js("return document.documentElement.lang") == "en"
    assert page.js("return document.querySelector('#status').getAttribute('aria-live')") == "polite"


def test_text_of_data_is_shown_and_never_executed(browser: Chrome, tmp_path: Path) -> None:
    out = write_output(tmp_path, [HOSTILE])
    file = out / next(one.name for one in out.iterdir() if one.name != "volumes") / "findings.json"
    content = json.loads(file.read_text())
    content["provenance"] = HOSTILE
    for one in content["findings"]:
        one["coverage"], one["flags"] = HOSTILE, [HOSTILE]
    file.write_text(json.dumps(content))
    with serving(out, by="AB") as site:
        page = Page(browser, site)
        for name in ("name", "provenance", "detail", "list"):
            assert HOSTILE in page.text(name)
        time.sleep(0.3)
        assert "executed" not in page.js("return document.title").replace(HOSTILE, "")
        assert page.js("return document.querySelectorAll('main img:not(#slice), main script, nav script').length") == 0
