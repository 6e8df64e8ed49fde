"""The configurations of docs/howto/deployment.md, run by what they are for."""
