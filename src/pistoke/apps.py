"""Where Django looks for the configuration of an application that is installed as ``pistoke``."""

from . import Pistoke

__all__ = ["Pistoke"]
