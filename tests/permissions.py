"""Whether IAM would allow what dynmemo asks of DynamoDB, if it had the policy that `dynmemo policy` prints.

All requests of this process, and of the workers of a fleet, are looked at as they leave it. Those of the tests' own
clients do not count: they are sent outside of a store and without its user agent.
"""

from __future__ import annotations

import json
import sys
import threading
from fnmatch import fnmatchcase
from typing import Any

from botocore.httpsession import URLLib3Session

from dynmemo.stores.dynamodb import DynamoDBStore

SCANNING = {"extent"}
"""What of a store needs ``--scans``, beside scans themselves."""
BEYOND = {"examine", "create_table"}
"""What tries permissions, and what prepares a table."""


def allowed(policy: dict[str, Any], operation: str, body: dict[str, Any], key_name: str = "id") -> bool:
    """Whether a policy allows a request, as IAM sees it."""
    asked_for = [body[part] for part in ("Key", "Item") if part in body]
    for asked in body.get("RequestItems", {}).values():
        writes = asked if isinstance(asked, list) else [{"Get": {"Key": key}} for key in asked["Keys"]]
        rows: list[dict[str, Any]] = [next(iter(write.values())) for write in writes]
        asked_for += [row["Key" if "Key" in row else "Item"] for row in rows]
    keys: list[str] = [row.get(key_name, next(iter(row.values())))["S"] for row in asked_for]
    for statement in policy["Statement"]:
        condition = statement.get("Condition", {}).get("ForAllValues:StringLike", {"dynamodb:LeadingKeys": ["*"]})
        patterns = condition["dynamodb:LeadingKeys"]
        if f"dynamodb:{operation}" in statement["Action"]:
            return all(any(fnmatchcase(key, like) for like in patterns) for key in keys)
    return False


class Permissions:
    """The requests of all stores of this process that their policies do not allow.

    Args:
        patch: whose `setattr` puts the watch there: pytest's, where it is to end.
    """

    def __init__(self, patch: Any) -> None:
        self.refused: list[str] = []
        self._here = threading.local()
        send_request, send = DynamoDBStore._send, URLLib3Session.send

        def of_store(store: DynamoDBStore, *args: Any, **kwargs: Any) -> Any:
            self._here.store = store
            try:
                return send_request(store, *args, **kwargs)
            finally:
                self._here.store = None

        def leaves(session: URLLib3Session, request: Any) -> Any:
            self._look(request)
            return send(session, request)

        patch.setattr(DynamoDBStore, "_send", of_store)
        patch.setattr(URLLib3Session, "send", leaves)

    def _look(self, request: Any) -> None:
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        store: DynamoDBStore | None = getattr(self._here, "store", None)
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        if not operation or (store is None and "lib/dynmemo" not in headers["user-agent"]):
            return
        callers = _callers()
        if store is not None and callers & BEYOND:
            return
        needs_scans = operation == "Scan" or bool(callers & SCANNING)
        if store is None or not allowed(
            store.policy(scans=needs_scans), operation, json.loads(request.body), _key_name(store)
        ):
            self.refused.append(f"{operation} for {sorted(callers)}")


def _key_name(store: DynamoDBStore) -> str:
    known = store._connection._names
    return "id" if known is None else known.key


def _callers() -> set[str]:
    """The names of the functions that run."""
    frame, names = sys._getframe(), set()
    while frame.f_back is not None:
        frame = frame.f_back
        if "dynmemo" in frame.f_code.co_filename:
            names.add(frame.f_code.co_name)
    return names


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
