"""A Django project that uses the released packages which build on this one, as their own descriptions tell it to."""
