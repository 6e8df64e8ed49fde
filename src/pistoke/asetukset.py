# A settings extension for django-protoni, which executes the text of this file inside a settings namespace. Hence no
# docstring (it would become that of the settings), no `__all__`, and no name that is left behind.

from pistoke._settings import extend as _pistoke_extend

_pistoke_extend(locals())
del _pistoke_extend
