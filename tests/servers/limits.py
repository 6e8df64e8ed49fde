"""What more than one module of these tests has to say of a server: marks, as docs/servers.md prints them."""

import pytest

CODES = pytest.mark.differs(
    "daphne",
    reason="its library lets an application close with 1000 and 3000–4999 only",
    remedy="a code below 3000 is sent 3000 higher: 1011 as 4011",
)
DEAF = pytest.mark.limit("old-uvicorn-wsproto", reason="does not tell when a client hangs up without a close frame")
OWN_LIMIT = pytest.mark.limit("daphne", reason="hangs up itself where a message is over 1 MiB")
LACKS_EXTENSION = "lacks the ASGI extension `websocket.http.response`, so that every refusal is a bare 403"
BARE_403 = pytest.mark.differs("daphne", "old-uvicorn", "old-granian", reason=LACKS_EXTENSION)
NO_CONTENT = pytest.mark.limit("daphne", "old-uvicorn", "old-granian", reason=LACKS_EXTENSION)
NEVER_WAITS = pytest.mark.limit(
    "daphne", "old-uvicorn-sansio",
    reason="takes all that is sent into memory, without a bound, and never lets `send()` wait",
    remedy="something in front of it should limit how long a client may take to read",
)
