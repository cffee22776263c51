"""Values by family of types: which are all different, and which are equal.

Each module has ``different()``, names and values of which no two are the same, and ``equal()``, names and two or
more values that are. A name beginning with "~" stands for a value whose digest is no promise beyond this
environment: its class is part of the tests, or its content depends on the version of a library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

# With what must be installed for them.
FAMILIES = {
    "builtin": (),
    "objects": (),
    "numpy_": ("numpy",),
    "pandas_": ("pandas",),
    "arrow": ("numpy", "pyarrow"),
    "polars_": ("polars",),
    "sparse": ("scipy",),
    "xarray_": ("xarray",),
    "models": ("attrs", "pydantic"),
    "tensors": ("torch",),
    "packages": ("networkx", "scipy", "sklearn", "statsmodels", "sympy", "toolz"),
}


def modules() -> dict[str, ModuleType]:
    """The families whose packages are installed here."""
    found = {}
    for name, packages in FAMILIES.items():
        try:
            for package in packages:
                importlib.import_module(package)
        except ImportError:
            continue
        found[name] = importlib.import_module(f"{__name__}.{name}")
    return found


def different() -> dict[str, object]:
    """Every value by its name: ``family: name``, with "~" in front where it has one."""
    values = {}
    for family, module in modules().items():
        for name, value in module.different().items():
            key = f"{family}: {name.removeprefix('~')}"
            values[f"~{key}" if name.startswith("~") else key] = value
    return values


def equal() -> dict[str, tuple[object, ...]]:
    """Groups of equal values."""
    return {
        f"{family}: {name}": group for family, module in modules().items() for name, group in module.equal().items()
    }
