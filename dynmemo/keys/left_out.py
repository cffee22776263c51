"""What does not count, and what is refused: each kind by name, with its reason.

Whatever is on none of these lists counts. A type is found under the names of its bases, too. To leave something out,
put it on the list that says how: `NO_BEARING` for objects, `ATTRIBUTES` for what objects remember of their own,
`IN_CLASSES` and `IN_CLASSES_OF` for what tools put into classes. `LIVE` counts by name and settings as a global and is
refused as an argument; `REFUSED` is refused everywhere.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dynmemo.keys.own import type_name

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


def _all(names: str, reason: T) -> dict[str, T]:
    return dict.fromkeys(names.split(), reason)


def listed(cls: type, names: Mapping[str, T]) -> tuple[str, T] | None:
    """Which base of `cls`, or itself, `names` knows, and what it says of it."""
    return next(((name, names[name]) for name in map(type_name, cls.__mro__) if name in names), None)


# -- objects that have no bearing on a value -----------------------------------------------------------------

_LOCK = "it decides when code runs, not what it computes"
_LOCKS = """
    _thread.lock _thread.RLock threading.Condition threading.Event threading.Semaphore threading.Barrier
    asyncio.locks.Lock asyncio.locks.Condition asyncio.locks.Event asyncio.locks.Semaphore asyncio.locks.Barrier
    multiprocessing.synchronize.SemLock multiprocessing.synchronize.Condition multiprocessing.synchronize.Event
"""
_RUNNERS = """
    threading.Thread concurrent.futures._base.Executor joblib.parallel.Parallel asyncio.events.AbstractEventLoop
"""
NO_BEARING: Final[dict[str, str]] = {
    **_all(_LOCKS, _LOCK),
    **_all(_RUNNERS, "it decides where code runs, not what it computes"),
    **_all("logging.Logger logging.LoggerAdapter logging.Handler", "what is logged is no result"),
    "_abc._abc_data": "the memory of isinstance()",
}

# -- what objects remember of their own ----------------------------------------------------------------------

_CACHE, _ADDRESS = "a cache that is filled by use", "an address, another in every process"
_RANDOM = "the state of the process's hidden generator"
ATTRIBUTES: Final[dict[str, dict[str, str]]] = {
    "builtins.object": {"_attrs_cached_hash": "depends on PYTHONHASHSEED", "__doc__": "documentation"},
    "functools.cached_property": {"lock": _LOCK, "attrname": "the name under which it stands"},
    "http.cookiejar.CookieJar": {"_now": "when it was last used"},
    "http.cookiejar.DefaultCookiePolicy": {"_now": "when it was last used"},
    "numpy.vectorize": {"_ufunc": _CACHE},
    "numpy.finfo": _all("_fmt _repr", _CACHE),
    "pandas.core.base.PandasObject": {"_cache": _CACHE, "_item_cache": _CACHE},
    "pandas.core.base.SelectionMixin": {"_cache": _CACHE},
    "pandas.core.groupby.ops.BaseGrouper": {"_cache": _CACHE},
    "pandas.core.groupby.grouper.Grouping": {"_cache": _CACHE},
    "toolz.functoolz.curry": {"_sigspec": _CACHE, "_has_unknown_args": _CACHE},
    "networkx.classes.graph.Graph": {"__networkx_cache__": _CACHE},
    "statsmodels.base.wrapper.ResultsWrapper": {"_cache": _CACHE},
    "statsmodels.base.model.Results": _all("_cache _summary_cache _summary_statistics_cache _nobs_int diagn", _CACHE),
    "statsmodels.genmod.generalized_linear_model.GLM": {"_tmp_like_exog": "memory to compute in"},
    "statsmodels.tsa.statespace.representation.Representation": _all(
        "_statespaces _kalman_filters _kalman_smoothers _simulators", _CACHE
    ),
    "statsmodels.base.data.ModelData": _all("_cache predict_start predict_end predict_dates", _CACHE),
    "xarray.core.groupby.GroupBy": _all("_groups _dims _sizes _len", _CACHE),
    "scipy.spatial._qhull.Delaunay": _all("_transform _vertex_to_simplex _vertex_neighbor_vertices", _CACHE),
    "dateutil.rrule.rrulebase": _all("_cache _cache_complete _cache_gen _cache_lock _len", _CACHE),
    "jinja2.environment.Environment": {"cache": _CACHE},
    "sklearn.utils._bunch.Bunch": {"_deprecated_key_to_warnings": "what it warns of, and forgets when it is pickled"},
    "sklearn.feature_extraction.text._VectorizerMixin": {"_stop_words_id": _ADDRESS},
    "scipy.stats._distn_infrastructure.rv_generic": {"_random_state": _RANDOM},
    "scipy.stats._multivariate.multi_rv_generic": {"_random_state": _RANDOM},
    "re.Scanner": {"match": "of the last text scanned"},
    "pprint.PrettyPrinter": {"_stream": "where it prints", "_readable": _CACHE, "_recursive": _CACHE},
    "json.decoder.JSONDecoder": {"scan_once": "made of the others", "memo": _CACHE},
    "jsonschema.validators.Validator": {"_resolver": _CACHE, "_ref_resolver": _CACHE},
    "abc.ABC": {"_abc_impl": "the memory of isinstance()"},
    # What was assumed of a symbol comes with the name.
    "sympy.core.basic.Basic": {"_mhash": "depends on PYTHONHASHSEED", "_assumptions": _CACHE},
    "beartype._conf.confmain.BeartypeConf": {"_hash": "depends on PYTHONHASHSEED", "_repr": _CACHE},
    "formulaic.parser.types.term.Term": {"_hash": "depends on PYTHONHASHSEED"},
    "botocore.model.ShapeResolver": {"_shape_cache": _CACHE},
    "polars.dataframe.frame.DataFrame": {"_df": "whose content is read"},
    "polars.series.series.Series": {"_s": "whose content is read"},
    "polars.lazyframe.frame.LazyFrame": {"_ldf": "whose content is read"},
    "argparse.ArgumentParser": {"_negative_number_matcher": "the same in all"},
    "traitlets.traitlets.HasTraits": {"_cross_validation_lock": _LOCK},
}


@functools.lru_cache(maxsize=4096)
def attributes_left_out(cls: Any) -> frozenset[str]:
    """The attributes of instances of `cls` that do not count: those listed, and what cached properties remember."""
    found: set[str] = set()
    base: type
    for base in cls.__mro__:
        found.update(ATTRIBUTES.get(type_name(base), ()))
        if base.__module__ is not None:
            found.update(name for name, value in vars(base).items() if isinstance(value, functools.cached_property))
    return frozenset(found)


# -- what tools put into classes -----------------------------------------------------------------------------

_PYTHON = """
    __dict__ __weakref__ __module__ __qualname__ __firstlineno__ __static_attributes__ __doc__ __slotnames__
    __annotations__ __annotate__ __annotate_func__ __annotations_cache__ __conditional_annotations__
    __type_params__ __classdictcell__
"""
_TYPING = """
    __parameters__ __orig_bases__ __protocol_attrs__ __callable_proto_members_only__ __non_callable_proto_members__
    __required_keys__ __optional_keys__ __mutable_keys__ __readonly_keys__ __extra_items__ __closed__
"""
_FIELDS = "__attrs_base_of_slotted__ __attrs_own_setattr__ __struct_fields__ __struct_config__ __class_vars__"
_PYDANTIC = """
    __pydantic_core_schema__ __pydantic_validator__ __pydantic_serializer__ __pydantic_complete__
    __pydantic_parent_namespace__ __pydantic_custom_init__ __pydantic_fields_complete__
    __pydantic_setattr_handlers__ __pydantic_decorators__ __pydantic_computed_fields__
    __pydantic_dataclass__ __is_pydantic_dataclass__ __pydantic_fields_set__ __pydantic_extra__
"""
IN_CLASSES: Final[dict[str, str]] = {
    **_all(_PYTHON, "of the language"),
    **_all(_TYPING, "made by typing"),
    **_all(_FIELDS, "made from the fields, which count"),
    **_all(_PYDANTIC, "made by pydantic from the fields"),
    **_all("_sa_class_manager _sa_registry __mapper__", "made by SQLAlchemy"),
    "__abstractmethods__": "made by abc",
}
"""In any class: nobody else uses such names."""

_ENUM = """
    _generate_next_value_ _member_names_ _member_map_ _value2member_map_ _member_type_
    _unhashable_values_ _unhashable_values_map_ _hashable_values_ _value_repr_ _use_args_
    _new_member_ _flag_mask_ _singles_mask_ _all_bits_ _inverted_ _boundary_
    __new_member__ _add_alias_ _add_value_alias_
"""
_PROTOCOL = _all("_is_protocol _is_runtime_protocol", "made by typing")
_DECLARED = _all("registry metadata", "made by SQLAlchemy")
_SIGNATURE = {"__signature__": "made from the fields, which count"}
IN_CLASSES_OF: Final[dict[str, dict[str, str]]] = {
    "abc.ABCMeta": _all("_abc_impl _abc_data", "made by abc"),
    "enum.EnumType": _all(_ENUM, "made by enum"),
    "typing.Protocol": _PROTOCOL,
    "typing_extensions.Protocol": _PROTOCOL,
    "builtins.tuple": {"_field_defaults": "made from the fields, which count"},
    "sqlalchemy.orm.decl_api.DeclarativeBase": _DECLARED,
    "sqlalchemy.orm.decl_api.DeclarativeMeta": _DECLARED,
    "pydantic.main.BaseModel": _SIGNATURE,
    "__pydantic_fields__": _SIGNATURE,
    "sympy.core.basic.Basic": _all(
        "default_assumptions _prop_handler _explicit_class_assumptions",
        "made from what the class assumes, which counts",
    ),
}
"""In classes of a base or metaclass, or that have such a special attribute: elsewhere these are names as any other."""


def left_out_of_class(cls: Any) -> set[str]:
    """The names in the body of `cls` that do not count."""
    kinds = {type_name(base) for base in (*cls.__mro__, *type(cls).__mro__)} | vars(cls).keys()
    return set(IN_CLASSES).union(*(names for kind, names in IN_CLASSES_OF.items() if kind in kinds))


# -- hidden generators and the environment -------------------------------------------------------------------


def hidden_name(value: object) -> str | None:
    """The name of a generator that a package keeps for itself, whose state is no input."""
    for module, name in (("random", "_inst"), ("numpy.random.mtrand", "_rand")):
        if getattr(sys.modules.get(module), name, None) is value:
            return module
    return None


# -- what counts by name and settings as a global, and is refused as an argument -----------------------------

_FILES = """
    _io._IOBase tempfile._TemporaryFileWrapper mmap.mmap zipfile.ZipFile tarfile.TarFile
    pyarrow.lib.NativeFile pyarrow.parquet.core.ParquetFile
"""
_CONNECTIONS = """
    sqlite3.Connection sqlite3.Cursor http.client.HTTPConnection requests.sessions.Session
    botocore.client.BaseClient botocore.session.Session boto3.resources.base.ServiceResource
    boto3.session.Session sqlalchemy.engine.base.Connection sqlalchemy.orm.session.Session
    sqlalchemy.ext.asyncio.engine.AsyncConnection sqlalchemy.ext.asyncio.engine.AsyncEngine
    sqlalchemy.ext.asyncio.session.AsyncSession sqlalchemy.orm.session.sessionmaker
    psycopg.Connection psycopg.AsyncConnection psycopg2.extensions.connection
    pymysql.connections.Connection redis.client.Redis pymongo.mongo_client.MongoClient
    pymongo.synchronous.mongo_client.MongoClient httpx.Client httpx.AsyncClient
    aiohttp.client.ClientSession urllib3.poolmanager.PoolManager paramiko.client.SSHClient
    duckdb.DuckDBPyConnection _duckdb.DuckDBPyConnection pyspark.sql.session.SparkSession
    smtplib.SMTP ftplib.FTP imaplib.IMAP4 distributed.client.Client h5py._hl.files.File
"""
LIVE: Final[dict[str, str]] = {
    **_all(_FILES, "an open file"),
    **_all(_CONNECTIONS, "a live connection"),
    **_all("multiprocessing.process.BaseProcess subprocess.Popen", "a process"),
    "pyarrow._dataset.Dataset": "a dataset in files",
    "_socket.socket": "a socket",
    "ssl.SSLContext": "an SSL context",
}

# -- what is refused everywhere: what it is called, and what to do instead -----------------------------------

_FUTURES = "concurrent.futures._base.Future _asyncio.Future _asyncio.Task asyncio.futures.Future"
_QUEUES = """
    queue.Queue _queue.SimpleQueue asyncio.queues.Queue multiprocessing.queues.Queue multiprocessing.queues.SimpleQueue
"""
_SHARED = """
    multiprocessing.shared_memory.SharedMemory multiprocessing.shared_memory.ShareableList
    multiprocessing.sharedctypes.SynchronizedBase
"""
_OF_REQUESTS = """
    flask.ctx._AppCtxGlobals werkzeug.wrappers.request.Request flask.sessions.SessionMixin
    starlette.requests.HTTPConnection django.http.request.HttpRequest
"""
ITERATOR: Final = ("an iterator", "Pass a list")
REFUSED: Final[dict[str, tuple[str, str]]] = {
    "builtins.generator": ("a generator", "Pass a list"),
    "builtins.async_generator": ("an async generator", "Pass a list"),
    "builtins.coroutine": ("a coroutine object", "Await it and pass the result"),
    "builtins.frame": ("a frame", ""),
    "builtins.traceback": ("a traceback", ""),
    **_all(_FUTURES, ("a future", "Pass its result")),
    **_all(_QUEUES, ("a queue", "Pass a list")),
    **_all(_SHARED, ("shared memory", "Pass its content")),
    **_all(_OF_REQUESTS, ("what belongs to one request", "Pass what is needed of it")),
    "multiprocessing.managers.BaseProxy": ("the proxy of a manager", "Pass its content"),
    "multiprocessing.managers.BaseManager": ("a manager", "Pass its content"),
    "multiprocessing.connection._ConnectionBase": ("a pipe", "Pass what it takes to open it"),
}
