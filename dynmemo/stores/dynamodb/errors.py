"""The one table from what botocore raises to what dynmemo raises.

Messages hold AWS's own words where they help (which action, which resource, why throttled) and
never a key, a value or a credential.
"""

from __future__ import annotations

import traceback
from enum import Enum
from typing import TYPE_CHECKING, Any

from dynmemo.errors import DynmemoError, InvalidTableError, StoreUnavailableError, ValueTooLargeError
from dynmemo.parts import SERVER_FAILED

if TYPE_CHECKING:
    from dynmemo.stores.dynamodb.rows import Row


class ConditionNotMetError(Exception):
    """A conditional write did not take place; `row` is what stands there instead, or None."""

    def __init__(self, row: Row | None) -> None:
        super().__init__()
        self.row = row


class ForeignAnswerError(Exception):
    """A success that DynamoDB did not send; botocore takes any text with that status for an empty answer."""


_MISSING = (
    "does not exist in this region and account: create it, give create_table_if_not_exists=True, or correct "
    "table name, region, profile or endpoint_url"
)
_GONE = "is not there, or not any more: the next call looks for it again, and creates it when it is missing"
_WRONG_KEY = (
    "cannot serve as a cache: its key must be the given partition_key_name, be a string, and have no sort key; "
    "leave partition_key_name out to have it looked up"
)
_OTHER_KEY = (
    "has another key than when it was looked up, so it was made anew since: the next call looks it up again. Its key "
    "must be a string, and there must be no sort key"
)
# What a ValidationException says of a table whose key is not as we were told, from DynamoDB and from DynamoDB Local.
_WRONG_KEY_TEXTS = (
    "key element does not match the schema",
    "Missing the key ",
    "Type mismatch for key",
    "number of conditions on the keys is invalid",
    "required keys was not given a value",
)
_TOO_LARGE_TEXTS = ("Item size has exceeded", "Item size to update has exceeded")

_REACH = "the endpoint could not be reached: check network, region and endpoint_url"
_ANSWER = "the endpoint did not answer in time: check network and endpoint_url, or give longer timeouts with config="
_OTHER = "what answered is not DynamoDB: check endpoint_url and proxies"
_LOGIN = "the AWS login has run out or is missing: log in again, for example with `aws sso login`"
_RETRIEVAL = "AWS credentials could not be had"
_UNKNOWN = "AWS does not accept the credentials: check access key, session token and region"
_SIGNATURE = "AWS does not accept the signature: check the secret access key and this machine's clock"
_THROTTLED = "DynamoDB throttles the requests: wait, or raise the capacity of the table or the quota of the account"
_IAM = (
    "IAM does not allow this: allow dynamodb:{operation} on the table (a Describe action is needed only for a name "
    "that is not given with partition_key_name, ttl_attribute_name)"
)

THROTTLED = ("ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException")
"""The codes of requests that came too fast."""


class Cure(Enum):
    """Who mends what an error code says."""

    SDK = "botocore tries again, three times in all; then it is told"
    STORE = "the store tries again unless botocore, as its later releases do for some, has; then it is told"
    LOGIN = "it is told, and the next call looks credentials up anew"
    TABLE = "it is told, and the next call looks the table up anew"
    PEOPLE = "it is told, for only people can mend it"


_ANSWERS = (
    # Too many requests for the table or the account: a later one gets through.
    (Cure.SDK, _THROTTLED, THROTTLED),
    (Cure.SDK, "the AWS account changes as many tables at once as it may: try later", ("LimitExceededException",)),
    # DynamoDB itself failed, perhaps after it had written.
    (Cure.SDK, "DynamoDB had an internal error", SERVER_FAILED),
    # Somebody else is writing the row, and nothing was written. To go on would be to drop a result that took hours.
    (Cure.STORE, "a transaction of another program holds the row: try again", ("TransactionConflictException",)),
    (Cure.STORE, "another region is writing the row: try again", ("ReplicatedWriteConflictException",)),
    # Credentials run out and are renewed while a process lives.
    (Cure.LOGIN, "the AWS credentials have expired: renew them", ("ExpiredTokenException", "ExpiredToken")),
    (Cure.LOGIN, _UNKNOWN, ("UnrecognizedClientException", "InvalidClientTokenId", "NotAuthorized")),
    (Cure.LOGIN, _UNKNOWN, ("MissingAuthenticationTokenException", "MissingAuthenticationToken")),
    (Cure.LOGIN, _SIGNATURE, ("IncompleteSignatureException", "IncompleteSignature", "InvalidSignatureException")),
    (Cure.LOGIN, _SIGNATURE, ("SignatureDoesNotMatch", "RequestExpired")),
    # A table that was removed may come back, with other names. It is also the answer while a table is being created.
    (Cure.TABLE, _MISSING, ("ResourceNotFoundException",)),
    # From requests on the table as a whole, where `table` takes it for another creator's success.
    (Cure.PEOPLE, "another program is changing the table: try later", ("ResourceInUseException",)),
    (Cure.PEOPLE, _IAM, ("AccessDeniedException",)),
    (Cure.PEOPLE, "the AWS account is not signed up for DynamoDB", ("OptInRequired",)),
    # Of tables with a sort key, which no cache has.
    (Cure.PEOPLE, "an index of the table is full: use another table", ("ItemCollectionSizeLimitExceededException",)),
    # Of conditions and items that are ours; `translate` knows the texts that mean something else.
    (Cure.PEOPLE, "DynamoDB refused the request", ("ValidationException", "SerializationException")),
)
"""What DynamoDB answers to the requests of a store, but for ConditionalCheckFailedException, which is a result.

Codes that do not stand here are told as they come.
"""

_BY_CODE = {code: (cure, text) for cure, text, codes in _ANSWERS for code in codes}

_BY_CLASS = {
    "NoCredentialsError": "no AWS credentials were found: pass profile=, set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or run `aws configure` or `aws sso login`",
    "PartialCredentialsError": "the AWS credentials are incomplete: an access key needs its secret access key",
    "CredentialRetrievalError": _RETRIEVAL,
    "MetadataRetrievalError": _RETRIEVAL,
    "UnauthorizedSSOTokenError": _LOGIN,
    "SSOError": _LOGIN,
    "TokenRetrievalError": _LOGIN,
    "NoRegionError": "no AWS region is set: pass region= or set AWS_DEFAULT_REGION",
    "InvalidRegionError": "the AWS region is not a valid name: correct region= or AWS_DEFAULT_REGION",
    "ProfileNotFound": "the AWS profile is not configured: correct profile= or AWS_PROFILE, or run `aws configure`",
    "EndpointConnectionError": _REACH,
    "ConnectTimeoutError": _REACH,
    "ProxyConnectionError": "the HTTP proxy could not be reached: check HTTPS_PROXY",
    "SSLError": "no trusted TLS connection could be made: check AWS_CA_BUNDLE and endpoint_url",
    "ReadTimeoutError": _ANSWER,
    "ConnectionClosedError": "the connection was closed before an answer came",
    "ResponseParserError": _OTHER,
    "ForeignAnswerError": _OTHER,
    "HTTPClientError": "the connection broke",
}

# AWS quotes the signed headers to whoever signed wrongly, and the session token is one of them.
QUOTES_SECRETS = frozenset(
    ("AuthorizationHeaderMalformed", *(code for code, (_, text) in _BY_CODE.items() if text is _SIGNATURE))
)

CREDENTIAL_TROUBLE = frozenset(
    (
        *(code for code, (cure, _) in _BY_CODE.items() if cure is Cure.LOGIN),
        *(name for name, text in _BY_CLASS.items() if text in (_LOGIN, _RETRIEVAL) or "credentials" in text),
    )
)
"""Codes after which credentials are to be looked up anew, for they may have been renewed."""


_PROMISED = {"describe_table": "Table", "describe_time_to_live": "TimeToLiveDescription", "scan": "Items"}
"""What is in every answer to these methods. The others may answer with next to nothing."""


def check_answer(response: dict[str, Any], method: str) -> None:
    """Raise `ForeignAnswerError` for what a portal, a proxy or another server has answered; a look at headers only."""
    about = response["ResponseMetadata"]
    kind = about.get("HTTPHeaders", {}).get("content-type")
    # Without the type, as from a client that somebody has stubbed, something must have been understood.
    readable = len(response) > 1 if kind is None else ("json" in kind or "cbor" in kind)
    if "RequestId" not in about or not readable or _PROMISED.get(method, "ResponseMetadata") not in response:
        raise ForeignAnswerError


def is_worth_another_try(error: Exception) -> bool:
    """Whether the same request may succeed a moment later, and botocore has not tried it again."""
    cure, _ = _BY_CODE.get(getattr(error, "code", None) or "", (None, ""))
    response = getattr(error.__cause__, "response", None) or {}
    return cure is Cure.STORE and not response.get("ResponseMetadata", {}).get("RetryAttempts")


def translate(
    error: Exception,
    operation: str,
    table: str,
    key: str | None = None,
    *,
    create: bool = False,
    discovered: bool = False,
) -> Exception:
    """The exception to raise for `error`, which becomes its ``__cause__`` unless that would show a credential.

    Args:
        error: what was caught.
        operation, table, key: what was asked.
        create: whether a missing table is to be created, so that nobody needs to be told of that option.
        discovered: whether the name of the key was looked up, so that it is looked up again.
    """
    if isinstance(error, DynmemoError):
        return error
    translated = _translate(error, operation, table, key, create=create, discovered=discovered)
    if getattr(translated, "code", None) not in QUOTES_SECRETS:
        translated.__cause__ = error
    return translated


def _translate(
    error: Exception, operation: str, table: str, key: str | None, *, create: bool, discovered: bool
) -> Exception:
    answer = answered(error)
    code, message = (answer["Error"].get(name, "") for name in ("Code", "Message"))
    if code == "ConditionalCheckFailedException":
        return ConditionNotMetError(answer.get("Item"))
    if code == "ResourceNotFoundException":
        return InvalidTableError(f"the DynamoDB table {table!r} {_GONE if create else _MISSING}")
    if code == "ValidationException" and any(text in message for text in _WRONG_KEY_TEXTS):
        return InvalidTableError(f"the DynamoDB table {table!r} {_OTHER_KEY if discovered else _WRONG_KEY}")
    if code == "ValidationException" and any(text in message for text in _TOO_LARGE_TEXTS):
        return ValueTooLargeError("the row is larger than the 400 KB of a DynamoDB item; store a smaller value")
    where = f"on the DynamoDB table {table!r}"
    if code.isdigit():  # no error of DynamoDB's: botocore gives the HTTP status instead, and all of the page as message
        text = f"{operation} {where} failed: {_OTHER} (HTTP status {code})"
        return StoreUnavailableError(text, operation=operation, table=table, key=key, code=code)
    _, text = _BY_CODE.get(code, (Cure.PEOPLE, "DynamoDB refused the request"))
    return unavailable(error, operation, where, text.replace("{operation}", operation), table=table, key=key)


def answered(error: Exception) -> dict[str, Any]:
    """What a service answered that did not do what was asked; an empty error where there is no answer."""
    response = getattr(error, "response", None)
    return response if isinstance(response, dict) else {"Error": {}}


def unavailable(
    error: Exception, operation: str, where: str, text: str, *, table: str, key: str | None = None
) -> StoreUnavailableError:
    """Our error for what a service answered, which `text` explains, or for having had no answer."""
    answer = answered(error)
    code, message = answer["Error"].get("Code", ""), answer["Error"].get("Message", "")
    if not answer["Error"]:
        code, text = (type(error).__name__, _OTHER) if _is_from_parser(error) else _of_class(error)
    elif code not in QUOTES_SECRETS:
        # botocore names the member of ThrottlingException as the other two do not.
        throttling = answer.get("ThrottlingReasons") or answer.get("throttlingReasons") or []
        reasons = [str(reason.get("reason", "")) for reason in throttling]
        text = f"{text} ({'; '.join(filter(None, (code, message, *reasons)))})"
    return StoreUnavailableError(
        f"{operation} {where} failed: {text}",
        operation=operation,
        table=table,
        key=key,
        request_id=answer.get("ResponseMetadata", {}).get("RequestId"),
        code=code,
        is_throttled=code in THROTTLED,
    )


def _of_class(error: Exception) -> tuple[str, str]:
    """Name and text of the nearest class in the table; others may quote what was sent and are only named."""
    name = type(error).__name__
    for known in type(error).__mro__:
        if known.__name__ in _BY_CLASS:
            details = f" ({error})" if str(error) else ""
            return known.__name__, _BY_CLASS[known.__name__] + details
    return name, f"boto3 raised {name}"


def _is_from_parser(error: Exception) -> bool:
    """Whether botocore stumbled over the answer itself, with whatever error, since it was no JSON object."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(frame.f_globals.get("__name__") == "botocore.parsers" for frame in frames)
