"""A page opens a socket to the view that it was rendered by."""

import json

import pytest

#: Opens a socket, sends what it is given (a list becomes binary) and answers with the first thing that comes of it.
EXCHANGE = """
const [address, message, done] = arguments;
const socket = new WebSocket(address);
socket.binaryType = "arraybuffer";
socket.onopen = () => {
  if (message !== null) socket.send(Array.isArray(message) ? new Uint8Array(message).buffer : message);
};
socket.onmessage = (event) => {
  const binary = event.data instanceof ArrayBuffer;
  done(binary ? {bytes: Array.from(new Uint8Array(event.data))} : {text: event.data});
};
socket.onclose = (event) => done({code: event.code});
"""


def exchange(browser, server, path, message=None):
    """Open a socket in the page of the browser; return what came of it."""
    return browser.execute_async_script(EXCHANGE, "ws://{}{}".format(server.address, path), message)


@pytest.fixture
def page(browser, server):
    """Return the browser with the page of README.fi.md."""
    browser.delete_all_cookies()
    browser.get("http://{}/nakyma/".format(server.address))
    browser.execute_async_script(
        "const done = arguments[0]; websocket.readyState === 1 ? done() : websocket.addEventListener('open', () => done());"
    )
    return browser


class TestReadmeExample:
    @pytest.mark.parametrize("text", ["Hei maailma!", "äiti & isä", ""])
    def test_typed_text_is_answered(self, page, text):
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support import expected_conditions
        from selenium.webdriver.support.wait import WebDriverWait

        page.find_element(By.ID, "syote").send_keys(text)
        page.find_element(By.TAG_NAME, "button").click()
        alert = WebDriverWait(page, 20).until(expected_conditions.alert_is_present())
        assert alert.text == 'Kirjoitit "{}".'.format(text)
        alert.accept()

    def test_binary_is_answered(self, page, server):
        answer = exchange(page, server, "/nakyma/", list("hyvää".encode("latin-1")))
        assert answer == {"bytes": list('Kirjoitit "hyvää".'.encode("latin-1"))}

    def test_binary_is_answered_over_the_socket_of_the_page(self, page):
        answer = page.execute_async_script(
            "const done = arguments[0]; websocket.onmessage = async (e) => done(await e.data.text());"
            "websocket.send(new Uint8Array([104, 101, 105]));"
        )
        assert answer == 'Kirjoitit "hei".'


class TestBrowser:
    def test_session_of_the_page_is_that_of_the_socket(self, page, server):
        page.get("http://{}/login/".format(server.address))
        seen = json.loads(exchange(page, server, "/facts/", "tell")["text"])
        assert (seen["user"], seen["method"]) == ("aino", "Websocket")

    def test_subprotocol_is_agreed_on(self, page, server):
        chosen = page.execute_async_script(
            "const [address, done] = arguments; const socket = new WebSocket(address, ['gamma', 'beta']);"
            "socket.onopen = () => done(socket.protocol); socket.onclose = (event) => done(event.code);",
            "ws://{}/subprotocols/".format(server.address),
        )
        assert chosen == "beta"

    @pytest.mark.logs("WARNING django.request: Not Found")
    def test_close_code_arrives(self, page, server):
        assert exchange(page, server, "/answers/?status=404", "go")["code"] == 4404

    @pytest.mark.logs("WARNING django.request: Not Found")
    def test_unknown_path_is_refused(self, page, server):
        assert exchange(page, server, "/nothing-here/")["code"] == 1006


class TestOrigin:
    @pytest.mark.logs("WARNING django.security.WebsocketOrigin: Forbidden .*evil.localhost")
    def test_page_of_another_site_is_refused(self, browser, server, other_site):
        browser.get(other_site)
        assert exchange(browser, server, "/nakyma/", "hei")["code"] == 1006

    @pytest.mark.logs("WARNING django.security.WebsocketOrigin: Forbidden .*null")
    def test_page_without_an_origin_is_refused(self, browser, server):
        browser.get("data:text/html,<p>nobody's</p>")
        assert exchange(browser, server, "/nakyma/", "hei")["code"] == 1006

    def test_exempt_view_answers_it(self, browser, server, other_site):
        browser.get(other_site)
        assert exchange(browser, server, "/for-everyone/") == {"text": "welcome"}
