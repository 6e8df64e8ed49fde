"""Pictures of the demonstration for the README: `make screenshots`."""

import io
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from ..servers import harness
from . import scenes
from .conftest import start_chromium
from .demo import Demo

DIRECTORY = harness.REPOSITORY / "docs" / "screenshots"

#: Width and height of the window, in CSS pixels.
DESKTOP = (1280, 800)
PHONE = (360, 740)


def main(directory=DIRECTORY, sizes=(DESKTOP,), schemes=("light",)):
    """Write a picture of each page in each size and scheme of colours."""
    directory = Path(str(directory))
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        demo = Demo(temporary).start()
        browser = start_chromium(temporary + "/chromium")
        try:
            for name, scene in scenes.SCENES:
                scene(browser, demo)
                for size in sizes:
                    for scheme in schemes:
                        parts = [name] + ["phone"] * (size == PHONE) + ["dark"] * (scheme == "dark")
                        picture = take(browser, size, scheme)
                        (directory / ("-".join(parts) + ".png")).write_bytes(picture)
        finally:
            browser.quit()
            demo.kill()


def take(browser, size, scheme):
    """Return the window as PNG."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE},
    )
    browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    browser.execute_script("for (const log of document.querySelectorAll('[data-log]')) log.scrollTop = log.scrollHeight")
    # The port is a free one, of no interest.
    browser.execute_script(
        "for (const address of document.querySelectorAll('.address'))"
        " address.textContent = address.textContent.replace(location.host, '127.0.0.1:8000')"
    )
    # Until what moves has come to rest.
    time.sleep(0.8)
    return small(browser.get_screenshot_as_png())


def small(picture):
    """Return a picture with a palette: 256 colours are enough for text and a few areas."""
    image, result = Image.open(io.BytesIO(picture)).convert("RGB"), io.BytesIO()
    image.quantize(256, kmeans=3, dither=Image.Dither.NONE).save(result, "PNG", optimize=True)
    return result.getvalue()


if __name__ == "__main__":
    if sys.argv[1:]:
        # Everything, for those who change how it looks.
        main(sys.argv[1], (DESKTOP, PHONE), ("light", "dark"))
    else:
        main()
