"""The pages of the demonstration do what they say."""

import json
import uuid

import pytest

from ..servers import harness
from ..servers.conftest import required
from .demo import EXAMPLES, Demo
from .scenes import (
    another_tab,
    call_oneself,
    fill_in,
    find,
    open_page,
    say,
    texts,
    verdict,
    wait_for,
    wait_for_socket,
    wait_for_words,
)

PAGES = ["/", "/chat/lobby/", "/dashboard/", "/signup/"]


@pytest.fixture(scope="module")
def demo(browser, tmp_path_factory):
    """Return the demonstration, which nothing goes wrong in."""
    required(Demo)
    demo = Demo(tmp_path_factory.mktemp("demo"))
    try:
        yield demo.start()
        browser.get("about:blank")
        demo.stop()
        assert demo.alarms() == []
    finally:
        demo.kill()


@pytest.fixture(autouse=True)
def clean(browser):
    """Leave no cookies to the next test; expect no page to complain of itself."""
    yield
    complaints = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    browser.delete_all_cookies()
    assert [text for text in complaints if "ERR_CONNECTION_REFUSED" not in text and "WebSocket" not in text] == []


class TestEcho:
    def test_text_and_binary_come_back(self, browser, demo):
        open_page(browser, demo, "/")
        say(browser, "Hello")
        find(browser, ".kinds label:last-child").click()
        say(browser, "hello")
        wait_for_words(browser, "Hello", "You wrote “Hello”.", "hello", "HELLO")

    def test_close_is_explained(self, browser, demo):
        open_page(browser, demo, "/")
        find(browser, "[data-try=text]").click()
        wait_for(browser, "document.body.dataset.state === 'closed'")
        assert texts(browser, ".note")[-1] == "1000 The view returned, so the socket closed."


class TestChat:
    @pytest.fixture
    def room(self):
        """Return the path of a room that nobody has been in."""
        return "/chat/{}/".format(uuid.uuid4().hex)

    def test_two_tabs_see_each_other(self, browser, demo, room):
        open_page(browser, demo, room)
        call_oneself(browser, "Aino")
        with another_tab(browser) as switch:
            open_page(browser, demo, room)
            call_oneself(browser, "Otso")
            say(browser, "Is there anybody?")
            switch()
            wait_for_words(browser, "Is there anybody?")
            say(browser, "There is <b>me</b>.")
            switch()
            wait_for_words(browser, "Is there anybody?", "There is <b>me</b>.")
            assert texts(browser, ".log b") == ["Otso", "Aino"]
            assert {"Aino", "Otso"} <= set(texts(browser, ".here li"))

    def test_who_is_here_is_told_and_who_has_left(self, browser, demo, room):
        open_page(browser, demo, room)
        call_oneself(browser, "Aino")
        with another_tab(browser) as switch:
            open_page(browser, demo, room)
            call_oneself(browser, "Otso")
            switch()
            # The name of before is kept for some seconds: a page that is loaded anew is no news.
            assert harness.eventually(lambda: texts(browser, ".here li") == ["Aino", "Otso"])
            switch()

    def test_a_room_has_a_history_and_keeps_it_to_itself(self, browser, demo, room):
        open_page(browser, demo, room)
        say(browser, "one", "two")
        wait_for_words(browser, "one", "two")
        browser.refresh()
        wait_for_socket(browser)
        wait_for_words(browser, "one", "two")
        call_oneself(browser, "Aino", "Elsewhere is quiet")
        assert browser.current_url == demo.url("/chat/elsewhere-is-quiet/")
        wait_for_words(browser)

    def test_what_was_missed_comes_with_the_next_connection(self, browser, demo, room):
        open_page(browser, demo, room)
        find(browser, "[data-toggle]").click()
        wait_for(browser, "document.body.dataset.state === 'closed'")
        with another_tab(browser) as switch:
            open_page(browser, demo, room)
            say(browser, "one", "two")
            wait_for_words(browser, "one", "two")
            switch()
            find(browser, "[data-toggle]").click()
            wait_for_words(browser, "one", "two")
            switch()

    def test_nothing_is_lost_over_a_restart_of_the_server(self, browser, demo, room):
        open_page(browser, demo, room)
        say(browser, "before")
        wait_for_words(browser, "before")
        # One tab is away for longer than the other.
        find(browser, "[data-toggle]").click()
        wait_for(browser, "document.body.dataset.state === 'closed'")
        with another_tab(browser) as switch:
            open_page(browser, demo, room)
            say(browser, "missed")
            wait_for_words(browser, "before", "missed")
            demo.kill()
            wait_for(browser, "document.body.dataset.state === 'waiting'")
            say(browser, "meanwhile", "and again")
            demo.start()
            wait_for_words(browser, "before", "missed", "meanwhile", "and again")
            say(browser, "after")
            wait_for_words(browser, "before", "missed", "meanwhile", "and again", "after")
            switch()
            find(browser, "[data-toggle]").click()
            wait_for_words(browser, "before", "missed", "meanwhile", "and again", "after")
            switch()

    def test_what_is_sent_twice_is_said_once(self, browser, demo, room):
        open_page(browser, demo, room)
        said = json.dumps({"key": "0123456789abcdef0123456789abcdef", "text": "once"})
        browser.execute_script(
            "const socket = new WebSocket(document.body.dataset.socket);"
            "socket.onopen = () => { socket.send(arguments[0]); socket.send(arguments[0]); };",
            said,
        )
        wait_for_words(browser, "once")
        say(browser, "and then")
        wait_for_words(browser, "once", "and then")


class TestDashboard:
    def test_points_are_drawn_and_those_of_the_last_minute_are_there_at_once(self, browser, demo):
        points = "[...document.querySelectorAll('.trace')].map((path) => path.getAttribute('d').split('L').length)"
        open_page(browser, demo, "/dashboard/")
        wait_for(browser, "({}).filter((count) => count > 1).length === 3".format(points))
        assert find(browser, "[data-chart=watching] output").text == "1"
        browser.refresh()
        wait_for_socket(browser)
        wait_for(browser, "document.querySelector('.trace')")
        assert min(browser.execute_script("return " + points)) > 1


class TestForm:
    def test_errors_come_and_go_while_one_types(self, browser, demo):
        browser.get(demo.url("/signup/"))
        fill_in(browser, username="one two")
        wait_for(browser, "document.querySelector('#username-verdict .errorlist')")
        assert verdict(browser, "username").startswith("Enter a valid username.")
        # Nobody is told off for what they have not come to yet.
        assert verdict(browser, "password") == verdict(browser, "again") == ""
        fill_in(browser, username="onetwo")
        wait_for(browser, "document.querySelector('#username-verdict .fine')")
        fill_in(browser, password="123")
        wait_for(browser, "document.querySelectorAll('#password-verdict li').length === 3")
        fill_in(browser, password="correct horse", again="battery")
        wait_for(browser, "document.querySelector('#password-verdict .fine')")
        wait_for(browser, "document.querySelector('#again-verdict .errorlist')")
        assert verdict(browser, "again") == "The two passwords differ."

    def test_who_signs_up_is_known_in_the_chat_and_to_the_form(self, browser, demo):
        browser.get(demo.url("/signup/"))
        fill_in(browser, username="otso", password="correct horse", again="correct horse")
        find(browser, ".signup .send").click()
        wait_for(browser, "document.body.dataset.name === 'otso'")
        browser.get(demo.url("/signup/"))
        fill_in(browser, username="otso")
        wait_for(browser, "document.querySelector('#username-verdict .errorlist')")
        assert verdict(browser, "username") == "A user with that username already exists."


class TestPages:
    @pytest.mark.parametrize("path", PAGES)
    def test_page_shows_its_whole_source(self, browser, demo, path):
        browser.get(demo.url(path))
        file, source = browser.execute_script(
            "const figure = document.querySelector('.behind figure');"
            "return [figure.querySelector('b').textContent, figure.querySelector('code').textContent]"
        )
        assert source == (EXAMPLES / file).read_text(encoding="utf-8")
        assert source.count("\n") < 50

    @pytest.mark.parametrize("path", PAGES)
    def test_page_fits_on_a_phone_and_names_its_fields(self, browser, demo, path):
        size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        try:
            browser.get(demo.url(path))
            assert browser.execute_script("return document.documentElement.scrollWidth") == 360
        finally:
            browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        nameless = "input:not([type=hidden])"
        assert browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])]"
            ".filter((input) => !input.labels.length && !input.ariaLabel).length",
            nameless,
        ) == 0
