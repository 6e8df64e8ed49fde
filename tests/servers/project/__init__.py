"""The Django project that the servers serve."""
