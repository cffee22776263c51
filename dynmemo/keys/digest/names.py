"""The names by which classes and functions go into digests."""

from __future__ import annotations

import sys

# Private modules that some Python versions have inside the public one.
_MOVED = {"pathlib._local": "pathlib", "pathlib._abc": "pathlib"}


def module_name(module: str) -> str:
    """`module` as every process calls it.

    The script that was started is ``__main__`` and in spawned workers ``__mp_main__``; one that
    was started with ``python -m`` also has its real name, which an import elsewhere would use.
    """
    if module not in {"__main__", "__mp_main__"}:
        return _MOVED.get(module, module)
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return spec.name if spec is not None else "__main__"


def type_name(cls: type) -> str:
    """The qualified name of a class: ``package.module.Outer.Inner``."""
    return f"{module_name(cls.__module__)}.{cls.__qualname__}"
