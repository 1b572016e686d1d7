"""The OpenAPI document says the truth: schemathesis reads it, and tries what it promises and what it forbids."""

from __future__ import annotations

from contextlib import suppress

import pytest
import schemathesis
import trio
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from rest_doors import ask, open_doors, served
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from mob.server.rest.schemas import COMPONENTS, component

FREE = {"/v1/chat/completions", "/v1/realtime/client_secrets"}
"""Their bodies are the vendor's: what else it and we refuse of them, no schema can say."""
ENDLESS = "/events"


@pytest.mark.real_socket
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
async def test_law_26_what_is_described_is_what_is_served(mode):
    async with open_doors() as doors, served(doors) as url:
        session = doors.realm.mob("front-desk").session_id("menu")
        known = {"mob": "front-desk", "member": "menu", "session_id": session, "model": "menu"}
        operations = await trio.to_thread.run_sync(try_everything, url, known, mode)
        assert operations == len(doors.routes) - 1, "all but the document itself"
        assert (await ask(doors, "GET", "/readyz")).status == 200


def try_everything(url: str, known: dict[str, str], mode: GenerationMode) -> int:
    """Every operation, with ids that there are and with any; the number of operations."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    count = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        count += 1
        excluded = [positive_data_acceptance] if operation.path in FREE else []
        names = {name: value for name, value in known.items() if f"{{{name}}}" in operation.path}
        for path_parameters in (names, None) if names and not operation.path.endswith(ENDLESS) else (None,):
            try_one(operation.as_strategy(generation_mode=mode, path_parameters=path_parameters), excluded)
    return count


def try_one(cases, excluded) -> None:
    @seed(1)
    @settings(max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def run(case) -> None:
        case.call_and_validate(excluded_checks=excluded)

    with suppress(Unsatisfiable):  # nothing can be wrong with what takes nothing
        run()


async def test_the_document_is_whole(autojump_clock):
    async with open_doors() as doors:
        body = (await ask(doors, "GET", "/openapi.json")).json
        assert body["openapi"] == "3.1.0"
        for route in doors.routes:
            operation = body["paths"][route.path][route.method.lower()]
            assert operation["summary"]
            assert str(route.status) in operation["responses"]
        names = [op["operationId"] for path in body["paths"].values() for op in path.values()]
        assert len(set(names)) == len(names)
        assert all(ref in COMPONENTS or ref == "Error" for ref in references(body))


def references(value) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_only_components_that_there_are_can_be_named():
    with pytest.raises(KeyError):
        component("Nothing")
