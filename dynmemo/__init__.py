"""Compute an expensive result once and share it with every notebook kernel and worker."""

from __future__ import annotations

from dynmemo._version import __version__

__all__ = ["__version__"]
