"""The OpenAPI page and the server agree: no request brings a 500, or an undocumented answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.http_service import browser, http_service, run

EXAMPLES = 6  # of each operation
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseSchema]:
    with http_service(tmp_path_factory.mktemp("schema")) as service:
        with browser(service) as http:
            run(http, "first")
        app = browser(service, loopback=False).app
        yield schemathesis.openapi.from_asgi("/v1/openapi.json", app)


def test_every_answer_is_documented(page: BaseSchema) -> None:
    operations = [found.ok() for found in page.get_all_operations()]
    assert len(operations) > 15
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def check(case: Case) -> None:
            headers = {} if case.method == "GET" else {"Content-Type": "application/json"}
            case.call_and_validate(headers=headers, checks=CHECKS)

        check()
