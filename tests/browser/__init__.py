"""What README.fi.md shows, in a real browser."""
