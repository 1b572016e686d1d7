"""What a member is told about itself, and how its provider session is configured."""

from __future__ import annotations

from mob.definition.catalogue import catalogue
from mob.definition.model import Member, MobDefinition, ModelCapabilities, Profile, Route
from mob.sessions.instructions import build_config, build_instructions
from mob.values import ToolSchema, TurnDetection

LIVE = catalogue()["gpt-realtime-2"]
WRITER = ModelCapabilities("writer", "p", "openai-chat", tool_params={"reasoning_effort": "none"})
LOOK = ToolSchema("look", "Look.", {"type": "object"})


def team(*members: str, **changes) -> MobDefinition:
    profiles = {name: Profile(name, "writer", peer_description=f"Knows  {name}.") for name in members}
    return MobDefinition("desk", profiles, {name: Member(name, name) for name in members}, **changes)


def test_the_authors_words_come_first_then_skills_then_the_team():
    """Each under a heading, so that the author's words stand alone."""
    definition = team("host", "menu", description="A front desk.", skills={"dishes": "Soup is 6 euros.\n", "x": "no"})
    profile = Profile("host", "writer", instructions="  You are the host.\n", skills=("dishes", "gone"))
    routes = [Route("host", "menu", ("ask", "hand_off")), Route("host", "guest", ("tell",))]
    assert build_instructions(definition, "host", profile, routes) == (
        "You are the host.\n\n"
        "## Skill: dishes\nSoup is 6 euros.\n\n"
        "## Your team\nYou are host, one of the members of desk: A front desk.\n"
        "- menu (Knows menu.): ask with ask_menu, hand the conversation over with hand_off_to_menu.\n"
        "- guest: tell with tell_guest.\n"
        "Say all that they need to know: other members do not hear this conversation."
    )


def test_a_member_on_its_own_is_told_of_no_team():
    """Nothing but its instructions."""
    assert build_instructions(team("host"), "host", Profile("host", "m", instructions="Hi."), []) == "Hi."
    assert build_instructions(team("host"), "host", Profile("host", "m"), []) == ""


def test_a_live_configuration_speaks_with_its_voice_at_the_models_rates():
    """What the profile wishes, as the model can."""
    spec = TurnDetection("semantic_vad", eagerness="low")
    profile = Profile("host", LIVE.id, voice="marin", turn_detection=spec, params={"speed": 1.1})
    config = build_config(profile, LIVE, instructions="Hi.", tools=[LOOK])
    assert (config.voice, config.output, config.instructions) == ("marin", "audio", "Hi.")
    assert (config.input_rate, config.output_rate) == (LIVE.input_rate, LIVE.output_rate)
    assert config.turn_detection == TurnDetection("semantic_vad", eagerness="low")
    assert config.tools == (LOOK,)
    assert config.params["speed"] == 1.1
    assert config.transcription_model == LIVE.transcription_model
    assert build_config(Profile("host", LIVE.id, output="text"), LIVE, instructions="", tools=[]).output == "text"


def test_a_text_configuration_has_no_voice_and_what_tools_need():
    """`tool_params` only with tools; the profile's own params win."""
    profile = Profile("host", "writer", voice="marin")
    with_tools = build_config(profile, WRITER, instructions="", tools=[LOOK])
    assert (with_tools.voice, with_tools.output) == (None, "text")
    assert with_tools.params == {"reasoning_effort": "none"}
    assert build_config(profile, WRITER, instructions="", tools=[]).params == {}
    own = Profile("host", "writer", params={"reasoning_effort": "low"})
    assert build_config(own, WRITER, instructions="", tools=[LOOK]).params == {"reasoning_effort": "low"}


def test_a_model_without_tools_is_offered_none():
    """The catalogue says so."""
    deaf = ModelCapabilities("deaf", "p", "openai-chat", tools=False, tool_params={"x": 1})
    config = build_config(Profile("host", "deaf"), deaf, instructions="", tools=[LOOK])
    assert (config.tools, config.params) == ((), {})
