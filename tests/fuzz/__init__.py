"""What a stranger can send before anybody knows who it is: `make fuzz`, and a few seconds of it in the test-suite."""
