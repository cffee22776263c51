"""Objects of packages without a reader of their own: they are taken apart, and what they only remember is left out."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pandas as pd
import sklearn.feature_extraction.text as sk_text
import sklearn.linear_model as sk_linear
import sklearn.neighbors as sk_neighbors
import statsmodels.api as sm
import sympy
import toolz
from scipy import stats
from sklearn.utils import Bunch

if TYPE_CHECKING:
    from collections.abc import Callable

POINTS = np.array([[0.0, 1.0], [1.0, 0.5], [2.0, 3.0], [4.0, 1.5]])
TEXTS = ["a cat", "a dog and a cat"]
X = sympy.Symbol("x")


class Named(sympy.Function):  # type: ignore[misc]
    pass


def _of(*values: float) -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 1, 2, 2], "b": values})


def _joined(a: str, b: str) -> str:
    return a + b


# How one is made, of what, of what else, and a use of it.
OBJECTS: dict[str, tuple[Callable[[Any], Any], Any, Any, Callable[[Any], object]]] = {
    "graph": (
        nx.path_graph,
        3,
        4,
        lambda graph: (graph.nodes, graph.edges, graph.adj, graph.degree, nx.is_tree(graph)),
    ),
    "expression": (
        lambda power: sympy.sin(X) ** power + 1,
        2,
        3,
        lambda one: (one.is_positive, one.diff(X), hash(one)),
    ),
    "own function": (lambda power: Named(X) ** power, 2, 3, lambda one: (one.is_real, one.diff(X), hash(one))),
    "symbol": (lambda name: sympy.Symbol(name, positive=True), "x", "y", lambda one: (one.is_real, hash(one))),
    "groups": (
        lambda values: _of(*values).groupby("a"),
        (1, 2, 3, 4),
        (1, 2, 3, 5),
        lambda one: (one.groups, one.sum()),
    ),
    "window": (lambda size: _of(1, 2, 3, 4).rolling(size), 2, 3, lambda one: one.mean()),
    "distribution": (lambda scale: stats.norm(1, scale), 2, 3, lambda one: (one.rvs(), one.cdf(1))),
    "curried function": (toolz.curry(_joined), "a", "b", lambda one: one("c")),
    "model": (lambda alpha: sk_linear.Ridge(alpha).fit(POINTS, POINTS[:, 0]), 1, 2, lambda one: one.predict(POINTS)),
    "bunch": (lambda data: Bunch(data=data), 1, 2, lambda one: (one.data, one._set_deprecated)),
    "neighbours": (
        lambda count: sk_neighbors.NearestNeighbors(n_neighbors=count).fit(POINTS),
        *(1, 2, lambda one: one.kneighbors(POINTS)),
    ),
    "vocabulary": (
        lambda words: sk_text.TfidfVectorizer(stop_words=words).fit(TEXTS),
        *(["a"], ["and"], lambda one: one.transform(TEXTS)),
    ),
    "results": (
        lambda column: sm.OLS(POINTS[:, column], sm.add_constant(POINTS[:, 1 - column])).fit(),
        *(0, 1, lambda one: (one.rsquared, one.resid, one.bse, str(one.params))),
    ),
}


def different() -> dict[str, object]:
    return {
        f"~{name}{which}": make(given)
        for name, (make, one, other, _) in OBJECTS.items()
        for which, given in (("", one), (", other", other))
    }


def equal() -> dict[str, tuple[object, ...]]:
    used = {
        f"{name} before and after use": (make(one), _used(make(one), use))
        for name, (make, one, _, use) in OBJECTS.items()
    }
    bunch = Bunch(data=1)
    return {**used, "bunch and its copy": (bunch, pickle.loads(pickle.dumps(bunch)))}


def _used(value: object, use: Callable[[Any], object]) -> object:
    use(value)
    return value
