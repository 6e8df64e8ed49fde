"""Finnish names of :mod:`pistoke.decorators`, the older (deprecated) spellings included."""

from pistoke._deprecation import csrf_tarkistus, json_viestiliikenne, protokolla
from pistoke.decorators import csrf_handshake as CsrfKattely
from pistoke.decorators import json_messages as JsonLiikenne
from pistoke.decorators import limits as Rajat
from pistoke.decorators import origin_exempt as OriginPoikkeus

__all__ = [
    "CsrfKattely",
    "JsonLiikenne",
    "OriginPoikkeus",
    "Rajat",
    "csrf_tarkistus",
    "json_viestiliikenne",
    "protokolla",
]
