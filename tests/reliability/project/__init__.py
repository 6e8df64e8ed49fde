"""The project of tests/servers with a database, and views that use it in every way."""
