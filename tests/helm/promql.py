"""What an expression asks for: its series, their labels, and what is grouped by."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import promql_parser

from tests.helm.chart import CHART, NAMESPACE, RELEASE

FROM_PROMETHEUS: Final = frozenset({"namespace", "pod", "instance", "job"})
"""Labels that a target has; the application knows nothing of them."""

DASHBOARD: Final = CHART / "dashboards" / "giftcheck.json"


class Selector(NamedTuple):
    """One series selector: `=` and `=~` by label (there are no others), and as PromQL."""

    name: str
    equal: Mapping[str, str]
    like: Mapping[str, str]
    text: str


class Asked(NamedTuple):
    """All selectors of an expression, and all labels that it groups or matches by."""

    selectors: tuple[Selector, ...]
    labels: frozenset[str]


def asked_by(expression: str) -> Asked:
    """Parse an expression.

    Raises:
        ValueError: it is none.
    """
    selectors: list[Selector] = []
    labels: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            selectors.append(_selector(node))
        elif isinstance(node, promql_parser.MatrixSelector):
            selectors.append(_selector(node.vector_selector))
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            labels.update(node.modifier.labels)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return Asked(tuple(selectors), frozenset(labels))


def _selector(node: promql_parser.VectorSelector) -> Selector:
    equal: dict[str, str] = {}
    like: dict[str, str] = {}
    for matcher in node.matchers.matchers:
        is_equal = matcher.op == promql_parser.MatchOp.Equal
        assert is_equal or matcher.op == promql_parser.MatchOp.Re, node.prettify()
        (equal if is_equal else like)[matcher.name] = matcher.value
    return Selector(node.name or "", equal, like, node.prettify())


def filled_in(query: str, rate_interval: str = "1m", time_range: str = "1h") -> str:
    """A dashboard's query as Grafana would ask it, for all pods of the release."""
    for variable, value in {
        "$__rate_interval": rate_interval,
        "$__range": time_range,
        "$namespace": NAMESPACE,
        "$pod": f"{RELEASE}-.*",
    }.items():
        query = query.replace(variable, value)
    assert "$" not in query, query
    return query
