"""What can go wrong, as one tree.

DynmemoError
├── InvalidOptionError (ValueError)        an option, URL or duration that is not allowed
├── InvalidTableError                      a DynamoDB table that cannot serve as a cache
├── UnhashableArgumentError (TypeError)    an argument from which no key can be built
├── ValueTooLargeError (ValueError)        a value beyond what the cache accepts
├── UnreadableValueError                   stored bytes that cannot be turned into the value
└── StoreUnavailableError                  the store did not do what was asked of it

Messages name what was given, what is allowed and what to do. They never contain
arguments, values or secrets.
"""

from __future__ import annotations

__all__ = [
    "DynmemoError",
    "InvalidOptionError",
    "InvalidTableError",
    "StoreUnavailableError",
    "UnhashableArgumentError",
    "UnreadableValueError",
    "ValueTooLargeError",
]


class DynmemoError(Exception):
    """The base of every exception that this library raises on its own account.

    Example:
        >>> try:
        ...     dynmemo.configure("weather_cache")
        ... except dynmemo.DynmemoError as error:
        ...     print(type(error).__name__)
        InvalidOptionError
    """


class InvalidOptionError(DynmemoError, ValueError):
    """An option, URL or duration is not one of those allowed. It says what was given and what is allowed.

    Example:
        >>> dynamo_cached(ttl="soon")(len)
        Traceback (most recent call last):
        dynmemo.InvalidOptionError: ttl='soon' ...
    """


class InvalidTableError(DynmemoError):
    """The DynamoDB table is missing or has a key that a cache cannot use.

    Example:
        >>> issubclass(dynmemo.InvalidTableError, dynmemo.DynmemoError)
        True
    """


class UnhashableArgumentError(DynmemoError, TypeError):
    """An argument has no content from which a key could be built.

    Raised at the call, whatever `on_error` says: without a key there is nothing
    to look up, and going on would silently never hit.

    Example:
        >>> forecast(n for n in range(3))
        Traceback (most recent call last):
        dynmemo.UnhashableArgumentError: ...argument `city` is a generator...
    """


class ValueTooLargeError(DynmemoError, ValueError):
    """The value is larger than `max_value_bytes` or than the store can hold.

    Example:
        >>> Cache.sqlite("cache.db", max_value_bytes=3).set("greeting", b"hello")
        Traceback (most recent call last):
        dynmemo.ValueTooLargeError: ...
    """


class UnreadableValueError(DynmemoError):
    """The stored bytes are damaged, foreign, or need what this process does not have.

    Attributes:
        cause: one short word that stays the same in every release, see `dynmemo.codec.Codec.loads`.

    Example:
        >>> dynmemo.UnreadableValueError("it was cut short", cause="format").cause
        'format'
    """

    def __init__(self, message: str = "", *, cause: str = "format") -> None:
        super().__init__(message)
        self.cause = cause


class StoreUnavailableError(DynmemoError):
    """The store could not be reached, refused the request, or broke.

    Attributes:
        operation: what was tried, for example ``"GetItem"`` or ``"read"``.
        table: the DynamoDB table or the path of the SQLite file.
        key: the key concerned, or None.
        request_id: the AWS request id, or None.
        code: the store's own error code, for example ``"AccessDeniedException"``, or None.
        is_throttled: whether the store works and more was asked of it than it has the capacity for.

    The store's exception is the ``__cause__``.

    Example:
        >>> import pathlib
        >>> pathlib.Path("notes.txt").write_text("This is no database, and stays as it is.")
        40
        >>> try:
        ...     Cache.sqlite("notes.txt").get("greeting")
        ... except dynmemo.StoreUnavailableError as error:
        ...     print(error.operation, error.is_throttled)
        open False
    """

    def __init__(
        self,
        message: str,
        *,
        operation: str | None = None,
        table: str | None = None,
        key: str | None = None,
        request_id: str | None = None,
        code: str | None = None,
        is_throttled: bool = False,
    ) -> None:
        super().__init__(message)
        self.operation = operation
        self.table = table
        self.key = key
        self.request_id = request_id
        self.code = code
        self.is_throttled = is_throttled

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword arguments do not survive pickling by themselves,
        # and worker processes send theirs to the parent that way.
        return (_rebuild, (str(self), self.__dict__))


def _rebuild(message: str, attributes: dict[str, object]) -> StoreUnavailableError:
    error = StoreUnavailableError(message)
    error.__dict__.update(attributes)
    return error
