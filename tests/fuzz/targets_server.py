"""The parsers of the server that need no server: heads, secrets, paths, bodies, configurations, definitions, files."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import seeds
from fuzzing import Target, is_text, must
from targets_protocol import fits, is_finite, text_of

from mob.definition.findings import CODES
from mob.definition.model import MobDefinition
from mob.errors import DefinitionError, MobError, RequestInvalid, StoreError, Unauthorized, UsageError
from mob.jsontext import read_json
from mob.providers.openai_chat.server import ChatRefused
from mob.providers.openai_realtime.checks import Refusal
from mob.providers.openai_realtime.schema import SESSION
from mob.providers.openai_realtime.server_session import ServerSession
from mob.server.channels import tokens
from mob.server.chat import request as chat_request
from mob.server.front import auth, port as front, routes
from mob.server.front.routes import Route, SocketRoute
from mob.server.limits import DoorLimits
from mob.server.livesocket import terms
from mob.server.realm import config, documents, records, standalone
from mob.server.realm.records import RealmFiles
from mob.server.rest import reading
from mob.web import streams

LIMITS = DoorLimits()
SECRET = "a-secret-of-the-tests"


def read(data: bytes) -> Any:
    """The value, as every door reads it; None when it is none."""
    try:
        return read_json(data)
    except ValueError:
        return None


# -- HTTP --------------------------------------------------------------------------------------------------------------

GATES = (auth.Gatekeeper(), auth.Gatekeeper(SECRET), auth.Gatekeeper(None, ("https://mob.example",), ("mob.example",)))


async def _nothing(_: Any) -> None:
    return None


TABLE = routes.Table(
    [
        Route(method, path, _nothing, "")
        for method, path in (
            ("GET", "/sessions/{session_id}/history"),
            ("POST", "/mobs/{mob}/members/{member}/turns"),
            ("GET", "/v1/models/{mob}/{member}"),
            ("POST", "/v1/chat/completions"),
            ("GET", "/openapi.json"),
        )
    ],
    [SocketRoute("/live/ws", _nothing, ""), SocketRoute("/v1/realtime", _nothing, "")],
)


def check_head(data: bytes) -> None:
    """A head, or none; where it leads, who is let in and on which terms are decided, or refused by a field."""
    head = streams._parse_head(data)
    if head is None:
        return
    must(isinstance(head.is_upgrade, bool), "no answer")
    _check_query(head.query)
    found = TABLE.find("GET", head.path)
    must((found.route is None) == (not found.params) or found.route is not None, "parameters of no route")
    TABLE.find_socket(head.path)
    shown = auth.bearer_of(head.headers)
    for gate in GATES:
        for ask in (gate.check, gate.check_origin):
            try:
                ask(head.headers)
            except Unauthorized as refused:
                must(is_text(refused.message, 100_000), "no sentence")
                must(SECRET not in str(front.body_of(refused)), "the secret is told")
                json.dumps(front.body_of(refused)).encode()
        must(gate.secret is None or gate.knows(shown) == (shown == SECRET), "a wrong secret opens")
    _check_terms(head.query)


def _check_query(query: dict[str, str]) -> None:
    must(len(query) <= 50, "a query without an end")
    must(all(type(key) is str and type(value) is str for key, value in query.items()), "no words")


def _check_terms(query: dict[str, str]) -> None:
    try:
        agreed = terms.terms_of(query)
    except RequestInvalid as refused:
        must(refused.field, f"no field: {refused.message}")
        must(is_text(refused.message, 300), "no sentence")
        return
    fits(agreed)
    book = tokens.TokenBook(max_tokens=4)
    try:
        book.peek(agreed.shown, "live", now=0.0, channel=agreed.channel)
    except MobError as refused:
        must(refused.code == "token_refused", refused.code)
    else:
        must(condition=False, what="a token that nobody has minted lets in")


def check_path(data: bytes) -> None:
    """Where a path leads; a secret that is shown is known or not."""
    path = data.decode("latin-1")
    found = TABLE.find("GET", path)
    must(all(type(value) is str for value in found.params.values()), "no words")
    for shown in (path, text_of(data), "\ud800"):
        must(GATES[1].knows(shown) == (shown == SECRET), "a wrong secret opens")
        auth.is_loopback(shown)
        GATES[2].allows(shown)


# -- bodies ------------------------------------------------------------------------------------------------------------


def check_chat(data: bytes) -> None:
    """A chat request, or the vendor's refusal in its own shape."""
    try:
        asked = chat_request.read_chat(data, LIMITS)
    except ChatRefused as refused:
        error = json.loads(refused.body.decode(), parse_constant=float)["error"]
        must(refused.status == 400, "another status")
        must(is_text(error["message"], 1000), "no sentence")
        whole = "frame" in error["message"]
        must(error["param"] or whole, f"no parameter: {error['message']}")
        return
    fits(asked.request)
    must(is_finite(asked.request.params), "a number without an end")


def check_body(data: bytes) -> None:
    """The parameters of a REST request, one by one."""
    call: Any = SimpleNamespace(request=SimpleNamespace(body=data))
    try:
        params = reading.body_params(call)
        reading.check_known(params, "text", "images", "timeout_s")
        must(type(params.maybe_text("text") or "") is str, "no text")
        for image in reading.images_of(params, LIMITS):
            fits(image)
        whole = params.maybe_whole("timeout_s", least=1, most=3600)
        must(whole is None or 1 <= whole <= 3600, "out of bounds")
    except RequestInvalid as refused:
        check_refusal(refused)


def check_refusal(refused: MobError) -> None:
    """A refusal that can be sent: with its field, and a sentence."""
    must(getattr(refused, "field", None) is not None, f"no field: {refused.message[:200]}")
    must(is_text(refused.message), f"no sentence: {refused.message[:200]}")


def check_session(data: bytes) -> None:
    """The session of a client secret: checked as the wire checks it."""
    wanted = read(data)
    session = ServerSession("sess_1", "ann", expires_at=None)
    try:
        checked = SESSION(wanted, "session")
        session.update(dict(checked), has_spoken=False, is_responding=False)  # type: ignore[call-overload]
    except Refusal as refusal:
        must(is_text(refusal.message), "no sentence")
        must(refusal.param, f"no parameter: {refusal.message}")
    else:
        must(is_finite(json.loads(json.dumps(session.echo(), allow_nan=False))), "a number without an end")
        fits(session.config)


# -- documents ---------------------------------------------------------------------------------------------------------


def check_config(data: bytes) -> None:
    """A configuration or a patch: in force, or refused by its field."""
    values = read(data)
    if not isinstance(values, dict):
        return
    for nulls in (False, True):
        try:
            config.check_head(values, nulls=nulls)
        except RequestInvalid as refused:
            check_refusal(refused)
            continue
        before = {"agent": {"model": "gpt-5.6-sol"}}
        realm = config.RealmConfig(head=config.patched(before, values) if nulls else values)
        must(type(realm.default_model) is str, "no model")
        json.dumps(realm.composed, allow_nan=False)


def check_definition(data: bytes) -> None:
    """A team as JSON: a definition, or findings that say what is wrong and where."""
    document = read(data)
    if not isinstance(document, dict):
        return
    try:
        found = documents.definition_of(document)
    except DefinitionError as refused:
        must(any(finding.severity == "error" for finding in refused.findings), "no finding")
        for finding in refused.findings:
            must(finding.code in CODES, f"an unknown code {finding.code}")
            must(is_text(finding.message), "no sentence")
            str(finding).encode()
        must(is_text(refused.message, 15_000), "no sentence")
    else:
        must(isinstance(found, MobDefinition), "no definition")


def check_kept_session(data: bytes) -> None:
    """A session as it was kept: its definition, or refused."""
    document = read(data)
    if not isinstance(document, dict):
        return
    try:
        spec = standalone.spec_of(document)
    except RequestInvalid as refused:
        check_refusal(refused)
        return
    fits(spec)
    must(isinstance(spec.definition, MobDefinition), "no definition")


class _Folder:
    """A realm's directory, made when it is first used and gone with the process."""

    def __init__(self) -> None:
        self.root: Path | None = None

    def file(self, name: str) -> Path:
        if self.root is None:
            shared = Path("/dev/shm")
            self.root = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
            atexit.register(shutil.rmtree, self.root)
        directory = self.root / "realms" / "r"
        directory.mkdir(parents=True, exist_ok=True)
        return directory / name


FOLDER = _Folder()


def check_realm_file(data: bytes) -> None:
    """What a realm keeps in a file: records of the types that they promise, or an error that names the file."""
    _check_file("realm.json", data)


def check_config_file(data: bytes) -> None:
    """What a realm keeps of its configuration."""
    _check_file("config.json", data)


def _check_file(name: str, data: bytes) -> None:
    path = FOLDER.file(name)
    path.write_bytes(data)
    try:
        files = records.find_realm("r", root=path.parents[2])
    except (StoreError, UsageError) as refused:
        must(name in refused.message, f"it does not name the file: {refused.message}")
        must(is_text(refused.message), "no sentence")
        return
    finally:
        path.unlink()
        (path.parent / "realm.json").unlink(missing_ok=True)
    must(isinstance(files, RealmFiles), "no realm")
    for record in files.records.values():
        fits(record)
    must(type(files.config.default_model) is str, "no model")
    json.dumps(files.config.composed, allow_nan=False)


TARGETS = (
    Target("heads of requests", check_head, raw=tuple(seeds.HEADS)),
    Target("paths and secrets", check_path, raw=(*(path.encode() for path in seeds.PATHS), SECRET.encode())),
    Target("chat requests", check_chat, tuple(seeds.CHATS)),
    Target("bodies of turns", check_body, tuple(seeds.TURNS)),
    Target("sessions of client secrets", check_session, (seeds.SESSION,)),
    Target("configurations", check_config, tuple(seeds.CONFIG)),
    Target("definitions as JSON", check_definition, (seeds.DEFINITION,)),
    Target("kept sessions", check_kept_session, (seeds.REALM[0]["records"][0]["document"],)),
    Target("realm.json", check_realm_file, tuple(seeds.REALM)),
    Target("config.json", check_config_file, tuple(seeds.REALM_CONFIG)),
)
