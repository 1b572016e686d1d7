"""What a member does not do for a client, though the vendor's models do: refused before it takes effect.

A setting is refused where taking it and not following it would be a lie; one that only asks for more or less of
something that nobody can check (noise reduction, tracing, reasoning effort) is taken and changes nothing. The whole
list stands in docs/gateway.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mob.definition.names import name_fault
from mob.live.overrides import misfit
from mob.providers.frames import JsonObject
from mob.providers.openai_realtime import RealtimeServer, Refusal
from mob.server.gateway.client_tools import ClientTools
from mob.server.gateway.speaker import Ability, Speaker
from mob.server.limits import DoorLimits

_CODE = "unsupported_by_member"


class Policy:
    """Looks at each legal event of one client. `watch` before use."""

    def __init__(self, tools: ClientTools, limits: DoorLimits) -> None:
        self._tools = tools
        self._limits = limits
        self._server: RealtimeServer
        self._speaker: Callable[[], Speaker]
        self._checks: dict[str, Callable[[JsonObject], None]] = {
            "session.update": lambda event: self._session(event["session"]),
            "response.create": lambda event: self._response(event.get("response") or {}),
            "conversation.item.create": self._item,
            "conversation.item.delete": self._delete,
            "input_audio_buffer.commit": self._commit,
        }

    def watch(self, server: RealtimeServer, speaker: Callable[[], Speaker]) -> None:
        """The engine whose events these are, and who the client talks with now."""
        self._server, self._speaker = server, speaker

    @property
    def _ability(self) -> Ability:
        return self._speaker().ability

    def apply(self, session: JsonObject) -> None:
        """Put a session in force that the client brings along. Refusal."""
        if session:
            self._session(session)
            self._server.session.update(session, has_spoken=False, is_responding=False)

    def __call__(self, event: JsonObject) -> None:
        """Refusal: this event is not to take effect."""
        check = self._checks.get(event["type"])
        if check is not None:
            check(event)

    # -- settings --------------------------------------------------------------------------------------------------

    def _session(self, session: JsonObject) -> None:
        before = self._server.session.config
        after = self._server.session.preview(session)
        ability = self._ability
        if ability.live:
            wrong = misfit(
                ability.model,
                voice=after.voice if after.voice != before.voice else None,
                output=after.output,
                turn_detection=after.turn_detection if after.turn_detection != before.turn_detection else None,
            )
            if wrong is not None:
                raise Refusal(_CODE, wrong, param="session")
        self._modality(after.output, "session.output_modalities")
        self._settings(session, "session")
        output = session.get("audio", {}).get("output", {})
        if output.get("speed", 1.0) != 1.0:
            raise self._refusal("session.audio.output.speed", "speaks at its own speed")
        if session.get("include"):
            raise self._refusal("session.include", "gives no log probabilities")
        self._functions(session.get("tools") or [])

    def _settings(self, wanted: JsonObject, path: str) -> None:
        """What a session and a response have in common."""
        if wanted.get("tool_choice", "auto") != "auto":
            raise self._refusal(f"{path}.tool_choice", "decides itself which tools it calls")
        if wanted.get("max_output_tokens", "inf") != "inf":
            raise self._refusal(f"{path}.max_output_tokens", "says what it has to say")
        self._text(wanted.get("instructions") or "", f"{path}.instructions")
        if wanted.get("prompt") is not None:
            raise self._refusal(f"{path}.prompt", "has its own instructions, and takes yours as text")

    def _text(self, text: str, path: str) -> None:
        most = self._limits.max_text_bytes
        if len(text.encode("utf-8", "replace")) > most:
            message = f"Invalid '{path}': string too long. Expected at most {most} bytes of UTF-8."
            raise Refusal("string_above_max_length", message, param=path)

    def _modality(self, output: str, path: str) -> None:
        if output == "audio" and not self._ability.speaks:
            raise self._refusal(path, 'has no voice: ask it for ["text"], or give its profile a voice')

    def _functions(self, tools: list[JsonObject]) -> None:
        most = self._limits.max_client_tools
        if len(tools) > most:
            message = f"Invalid 'session.tools': array too long. Expected at most {most} entries."
            raise Refusal("array_above_max_length", message, param="session.tools")
        own = {tool.name for tool in self._speaker().member.session.tools.schemas}
        taken = own - {tool.name for tool in self._tools.lent}
        for index, tool in enumerate(tools):
            path = f"session.tools[{index}]"
            if tool["type"] != "function":
                raise self._refusal(f"{path}.type", "is offered functions alone, no remote tools")
            name = tool["name"]
            fault = name_fault("tool", name)
            if fault is not None or name in taken:
                reason = fault or f"{self._ability.identity} has a tool of this name already"
                raise Refusal("invalid_value", f"Invalid '{path}.name': {reason}.", param=f"{path}.name")
            taken.add(name)

    # -- events ----------------------------------------------------------------------------------------------------

    def _response(self, response: JsonObject) -> None:
        if response.get("conversation", "auto") != "auto":
            raise self._refusal("response.conversation", "has one conversation, and answers nothing beside it")
        if response.get("input") is not None:
            raise self._refusal("response.input", "answers its own conversation; create items in it")
        if response.get("tools") is not None:
            raise self._refusal("response.tools", "is offered functions by session.update")
        self._settings(response, "response")
        output = response.get("audio", {}).get("output", {})
        if output.get("voice") not in (None, self._server.session.voice):
            raise self._refusal("response.audio.output.voice", "keeps one voice; set it by session.update")
        if output.get("format") not in (None, self._server.session.output_format):
            raise self._refusal("response.audio.output.format", "keeps one format; set it by session.update")
        if "output_modalities" in response:
            self._modality(response["output_modalities"][0], "response.output_modalities")

    def _item(self, event: JsonObject) -> None:
        item: JsonObject = event["item"]
        place = event.get("previous_item_id")
        items = self._server.items
        if place is not None and (not items or items[-1].id != place):
            raise self._refusal("previous_item_id", "has a history that only grows at its end")
        name = item.get("id")
        if name is not None and not (name.isascii() and name.isprintable()):
            raise Refusal("invalid_value", "Invalid 'item.id': printable ASCII is expected.", param="item.id")
        match item["type"], item.get("role"):
            case "function_call_output", _ if not self._tools.open(item["call_id"]):
                message = f"No call '{item['call_id'][:80]}' waits for an answer: it is unknown, answered or given up."
                raise Refusal("call_not_waiting", message, param="item.call_id")
            case ("function_call", _) | (_, "assistant"):
                raise self._refusal("item", "has its own history: what it said and called is in there")
            case _, "user":
                self._contents(item["content"])
        for part in item.get("content", []):
            self._text(part.get("text") or "", "item.content")

    def _contents(self, parts: list[dict[str, Any]]) -> None:
        kinds = {part["type"] for part in parts}
        says = any(part["type"] != "input_text" or part["text"].strip() for part in parts)
        if not says:
            raise Refusal("invalid_value", "Invalid 'item.content': it says nothing.", param="item.content")
        if "input_audio" in kinds:
            if kinds != {"input_audio"}:
                raise self._refusal("item.content", "takes sound in an item of its own")
            if self._ability.live and not self._manual:
                raise self._refusal("item.content", "hears sound by input_audio_buffer.append, or with manual turns")
        if "input_image" in kinds and "image" not in self._ability.model.input_modalities:
            raise self._refusal("item.content", f"sees no pictures ({self._ability.model.id})")

    def _delete(self, _: JsonObject) -> None:
        raise self._refusal("type", "has a history of which nothing is taken out")

    def _commit(self, _: JsonObject) -> None:
        if not self._manual:
            raise self._refusal("type", "detects turns itself; set turn_detection to null to commit them yourself")

    @property
    def _manual(self) -> bool:
        return self._server.session.config.turn_detection.mode == "manual"

    def _refusal(self, param: str, why: str) -> Refusal:
        return Refusal(_CODE, f"'{param}' is not supported here: {self._ability.identity} {why}.", param=param)
