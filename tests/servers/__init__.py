"""The contract over real servers, on loopback, with real clients."""
