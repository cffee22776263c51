"""Caches and session stores for other libraries, one module each; none is loaded before it is imported by its name.

`dynmemo.integrations.django`, `cachelib`, `litestar`, `starsessions`, `key_value`: see docs/reference/integrations.md.
"""
