"""The tests of django-pistoke."""
