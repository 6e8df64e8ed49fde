"""What somebody does on the pages of the demonstration."""

from contextlib import contextmanager

from ..servers import harness

PATIENCE = 20

#: What has been said, notes and what waits for the server apart.
CONFIRMED = ".log li:not(.note):not(.unconfirmed) .words"


def wait_for(browser, script, *arguments):
    """Wait until a JavaScript expression is true in the page, and return what it is."""
    from selenium.webdriver.support.wait import WebDriverWait

    message = "{} {}".format(script, arguments)
    return WebDriverWait(browser, PATIENCE, 0.02).until(
        lambda driver: driver.execute_script("return " + script, *arguments), message
    )


def find(browser, selector):
    """Return the first element that a CSS selector means."""
    return browser.find_element("css selector", selector)


def open_page(browser, demo, path):
    """Show a page, and wait until its socket is open."""
    browser.get(demo.url(path))
    wait_for_socket(browser)


def wait_for_socket(browser):
    wait_for(browser, "document.body.dataset.state === 'open'")


def say(browser, *texts):
    """Send messages from the page's composer."""
    for text in texts:
        find(browser, "[name=message]").send_keys(text + "\n")


def texts(browser, selector):
    """Return the texts of elements, whether they have faded in or not."""
    script = "return [...document.querySelectorAll(arguments[0])].map((element) => element.textContent)"
    return browser.execute_script(script, selector)


def wait_for_words(browser, *expected):
    """Wait until exactly this has been said in a page, and has come back from the server."""
    harness.eventually(lambda: texts(browser, CONFIRMED) == list(expected), PATIENCE)
    assert texts(browser, CONFIRMED) == list(expected)


def call_oneself(browser, name, room=None):
    """Take a name, and perhaps another room."""
    for field, value in (("name", name), ("room", room)):
        if value is not None:
            element = find(browser, ".who [name={}]".format(field))
            element.clear()
            element.send_keys(value)
    find(browser, ".who button").click()
    wait_for(browser, "document.body.dataset.name === arguments[0] && document.body.dataset.state === 'open'", name)


@contextmanager
def another_tab(browser):
    """Open a second tab for a while; gives a function that goes to the other one."""
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    second = browser.current_window_handle

    def switch():
        other = second if browser.current_window_handle == first else first
        browser.switch_to.window(other)

    try:
        yield switch
    finally:
        browser.switch_to.window(second)
        browser.close()
        browser.switch_to.window(first)


def fill_in(browser, **values):
    """Type into fields of a form that may have something in them."""
    for name, value in values.items():
        element = find(browser, "#" + name)
        element.clear()
        element.send_keys(value)


def verdict(browser, name):
    """Return what a form says of a field."""
    return " ".join(texts(browser, "#{}-verdict".format(name))[0].split())


# The scenes -----------------------------------------------------------------------------------------------------------


def echo(browser, demo):
    open_page(browser, demo, "/")
    say(browser, "Hello, Django!")
    find(browser, ".kinds label:last-child").click()
    say(browser, "and binary")
    wait_for(browser, "document.querySelectorAll('.received').length === 2")


def chat(browser, demo):
    open_page(browser, demo, "/chat/lobby/")
    call_oneself(browser, "Aino")
    with another_tab(browser) as switch:
        open_page(browser, demo, "/chat/lobby/")
        call_oneself(browser, "Otso")
        say(browser, "Is this really one Django view?")
        switch()
        say(browser, "Under fifty lines, the page included.")
        switch()
        say(browser, "What if the server goes away?")
        switch()
        say(browser, "It comes back, and so does what was said meanwhile.")
        switch()
        say(browser, "And what I write until then?")
        switch()
        say(browser, "Arrives. Once.")
        wait_for(browser, "document.querySelectorAll('[data-pk]').length === 6")
        # The name from before, which one is still called for some seconds.
        wait_for(browser, "document.querySelectorAll('.here li').length === 2")


def dashboard(browser, demo):
    """Watch for most of a minute: work more and more, and have company for some of it."""
    open_page(browser, demo, "/dashboard/")
    points = "(document.querySelector('.trace')?.getAttribute('d').split('L').length || 0)"
    watch = wait_for(browser, points)
    for round_ in range(1, 4):
        for _ in range(2 * round_):
            find(browser, "[data-work]").click()
        watch += 8
        wait_for(browser, "{} > {}".format(points, watch))
        with another_tab(browser) as switch:
            open_page(browser, demo, "/dashboard/")
            switch()
            watch += 5
            wait_for(browser, "{} > {}".format(points, watch))
            switch()


def signup(browser, demo):
    browser.get(demo.url("/signup/"))
    fill_in(browser, username="aino", password="123456", again="1234567")
    wait_for(browser, "document.querySelector('#again-verdict').textContent.trim()")


SCENES = [("echo", echo), ("chat", chat), ("dashboard", dashboard), ("form", signup)]
