"""What a request says of a session and of a turn. Where Meerkat's requests have parameters for what is not here:

| parameter                                            | what becomes of it                                           |
|------------------------------------------------------|--------------------------------------------------------------|
| prompt, injected_context                             | the turn, and notes before it                                |
| model, provider, system_prompt, max_tokens           | the session's own, over those of the configuration           |
| additional_instructions                              | at create: below the system prompt; at a turn: a note        |
| transient_turn_context                               | a note of the turn; it stays in the history                  |
| labels, comms_name                                   | kept and shown; the name as `session_ref`                    |
| external_tools                                       | offered to this session alone, run by the client             |
| budget_limits.max_tokens                             | the session's budget; other limits are refused               |
| keep_alive, peer_meta, app_context, shell_env,       | taken: there is nothing here for them to change              |
| structured_output_retries, enable_*: false           |                                                              |
| enable_*: true, output_schema, hooks_override,       | refused as CAPABILITY_UNAVAILABLE: to pass over it would be  |
| auth_binding, provider_params, preload_skills,       | a lie                                                        |
| skill_refs, turn_tool_overlay, self_hosted_server_id |                                                              |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve

from mob.errors import CapabilityUnavailable, RequestInvalid
from mob.server.limits import DoorLimits
from mob.server.params import Params
from mob.server.realm.config import RealmConfig
from mob.server.realm.standalone import SessionSpec, check_spec
from mob.server.rpc.content import Content, contents, maybe_content
from mob.server.rpc.sessions.turns import Said

JSON = dict[str, Any]

_REFUSED: Final = {
    "output_schema": "answers are not checked against a schema here",
    "hooks_override": "there are no hooks here",
    "auth_binding": "credentials come from the server's environment only",
    "provider_params": "a vendor's own fields are not taken from a request",
    "preload_skills": "there are no skills here that a session refers to",
    "skill_refs": "there are no skills here that a turn refers to",
    "turn_tool_overlay": "a session has the same tools in every turn",
    "self_hosted_server_id": "a self-hosted server is named as a provider",
    "enable_builtins": "there are no built-in tools here",
    "enable_shell": "there is no shell here",
    "enable_memory": "there is no memory here that outlives a session",
    "enable_schedule": "there is no scheduler here",
    "enable_workgraph": "there is no work graph here",
    "enable_mob": "members are wired in a mob's definition; make one with mob/create",
    "enable_web_search": "there is no web search here",
}
_MAX_STAGED_BYTES: Final = 4 * 1024 * 1024


def refuse_unavailable(params: Params) -> None:
    """CapabilityUnavailable for what is asked for and does not exist. What is empty or off asks for nothing."""
    for name, why in _REFUSED.items():
        if params.values.get(name):
            raise CapabilityUnavailable(f"`{name}` cannot be had: {why}", field=params.where(name))
    limits = params.maybe_child("budget_limits")
    for name, value in (limits.values if limits is not None else {}).items():
        if name != "max_tokens" and value is not None:
            raise CapabilityUnavailable(
                f"`budget_limits.{name[:60]}` cannot be had: a session here has a budget of tokens only",
                field="budget_limits",
            )


def spec_from(params: Params, config: RealmConfig) -> SessionSpec:
    """The session that is to be made. RequestInvalid, CapabilityUnavailable."""
    refuse_unavailable(params)
    model, provider = params.maybe_text("model", most=200), params.maybe_text("provider", most=200)
    limits = params.maybe_child("budget_limits")
    spec = SessionSpec(
        model=model or config.default_model,
        provider=provider or (None if model else config.setting("provider", str)),
        instructions=_instructions(params, config.setting("system_prompt", str) or ""),
        max_tokens=params.maybe_whole("max_tokens", least=1) or config.setting("max_tokens", int),
        budget_tokens=None if limits is None else limits.maybe_whole("max_tokens", least=1),
        name=params.maybe_text("comms_name", most=200),
    )
    check_spec(spec)
    return spec


def respec(params: Params, spec: SessionSpec) -> SessionSpec:
    """The session as a turn wants it from now on; the same when the turn says nothing of it."""
    refuse_unavailable(params)
    model, provider = params.maybe_text("model", most=200), params.maybe_text("provider", most=200)
    changed = evolve(
        spec,
        model=model or spec.model,
        provider=provider or (None if model and model != spec.model else spec.provider),
        instructions=_prompt(params, spec.instructions),
        max_tokens=params.maybe_whole("max_tokens", least=1) or spec.max_tokens,
    )
    if changed != spec:
        check_spec(changed)
    return changed


def _instructions(params: Params, default: str) -> str:
    more = params.texts("additional_instructions", most=100)
    return "\n\n".join(part for part in (_prompt(params, default), *more) if part)


def _prompt(params: Params, default: str) -> str:
    given = params.values.get("system_prompt")
    if isinstance(given, Mapping):
        if given.get("action") != "disable":
            raise params.wrong("system_prompt", 'must be a string, or {"action": "disable"}')
        return ""
    text = params.maybe_text("system_prompt")
    return default if text is None else text


def said_from(params: Params, limits: DoorLimits, *, notes: bool) -> Said:
    """What the turn is begun with. `notes`: `additional_instructions` are the turn's, and go before it."""
    before = contents(params, "injected_context", limits)
    if any(each.images for each in before):
        raise CapabilityUnavailable("context is text here: put pictures into the prompt", field="injected_context")
    own = params.texts("additional_instructions", most=100) if notes else ()
    transient = params.maybe_text("transient_turn_context")
    context = (*(each.text for each in before), *own, *([transient] if transient else ()))
    return Said(maybe_content(params, "prompt", limits) or Content(), tuple(text for text in context if text))


def staged_from(params: Params, limits: DoorLimits) -> JSON:
    """What a session's first turn will begin with, as it is kept until then. RequestInvalid when it is too much."""
    said_from(params, limits, notes=False)
    staged = {name: params.values[name] for name in ("prompt", "injected_context") if params.values.get(name)}
    check_staged(staged)
    return staged


def check_staged(staged: Mapping[str, Any]) -> None:
    """RequestInvalid when it is more than is kept for a session that has not begun."""
    if len(json.dumps(staged)) > _MAX_STAGED_BYTES:
        raise RequestInvalid(
            f"what waits for the first turn is more than {_MAX_STAGED_BYTES // 1024} KiB; send it with that turn",
            field="prompt",
        )


def with_staged(said: Said, staged: Mapping[str, Any] | None, limits: DoorLimits) -> Said:
    """What was staged, and then what the turn itself says."""
    if not staged:
        return said
    before = said_from(Params(staged), limits, notes=False)
    texts = [text for text in (before.prompt.text, said.prompt.text) if text]
    prompt = Content("\n\n".join(texts), (*before.prompt.images, *said.prompt.images))
    return Said(prompt, (*before.context, *said.context))
