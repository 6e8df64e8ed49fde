"""How much a socket costs, beside other ways to serve it: ``make bench``. See README.md in this directory."""
