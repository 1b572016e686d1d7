"""What a member is told about itself before anything is said: its instructions, its skills, its team.

The order is the author's own words first; what mob adds stands behind a heading, so that a model (and a rehearsed one)
can tell the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from mob.definition.model import MobDefinition, ModelCapabilities, Profile, Route
from mob.providers.commands import SessionConfig
from mob.values import ToolSchema, TurnDetection, Via

_WAYS: dict[Via, str] = {
    "ask": "ask with ask_{to}",
    "tell": "tell with tell_{to}",
    "hand_off": "hand the conversation over with hand_off_to_{to}",
}


def build_instructions(definition: MobDefinition, identity: str, profile: Profile, routes: Sequence[Route]) -> str:
    """The instructions of this member. `routes` are those that start at it, as they are now."""
    sections = [profile.instructions.strip()]
    sections += [
        f"## Skill: {name}\n{definition.skills[name].strip()}" for name in profile.skills if name in definition.skills
    ]
    if len(definition.members) > 1:
        sections.append(_team(definition, identity, routes))
    return "\n\n".join(section for section in sections if section)


def _team(definition: MobDefinition, identity: str, routes: Sequence[Route]) -> str:
    about = f": {definition.description.strip()}" if definition.description.strip() else "."
    lines = [f"## Your team\nYou are {identity}, one of the members of {definition.id}{about}"]
    for route in routes:
        if route.to not in definition.members:
            known = ""
        else:
            known = " ".join(definition.profile_of(route.to).peer_description.split())
        ways = ", ".join(_WAYS[via].format(to=route.to) for via in route.via)
        lines.append(f"- {route.to}{f' ({known})' if known else ''}: {ways}.")
    if routes:
        lines.append("Say all that they need to know: other members do not hear this conversation.")
    return "\n".join(lines)


def build_config(
    profile: Profile, model: ModelCapabilities, *, instructions: str, tools: Sequence[ToolSchema]
) -> SessionConfig:
    """What the provider session is told: the profile's wishes, within what the catalogue says the model can do."""
    speaks = model.realtime and "audio" in model.output_modalities
    offered = tuple(tools) if model.tools else ()
    return SessionConfig(
        instructions=instructions,
        voice=profile.voice if speaks else None,
        output=(profile.output or "audio") if speaks else "text",
        tools=offered,
        turn_detection=profile.turn_detection or TurnDetection(),
        input_rate=model.input_rate or 24000,
        output_rate=model.output_rate or 24000,
        transcription_model=model.transcription_model,
        params={**(model.tool_params if offered else {}), **profile.params},
    )
