"""What more than one module of these tests has to say of a server: marks, as docs/servers.md prints them."""

import pytest

CODES = pytest.mark.differs(
    "daphne",
    reason="its library lets an application close with 1000 and 3000–4999 only",
    remedy="a code below 3000 is sent 3000 higher: 1011 as 4011",
)
DEAF = pytest.mark.limit("old-uvicorn-wsproto", reason="does not tell when a client hangs up without a close frame")
OWN_LIMIT = pytest.mark.limit("daphne", reason="hangs up itself where a message is over 1 MiB")
