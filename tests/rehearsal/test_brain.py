"""The rehearsed mind: deterministic, never silent, and good enough to make the shipped teams work."""

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

import mob
from mob.definition.model import RehearsalRule
from mob.rehearsal.brain import Brain, Reply, brain_for
from mob.rehearsal.phrases import as_speech, is_failure, is_order, known
from mob.rehearsal.scene import Called, Entry, Returned, Said, Scene
from mob.rehearsal.slots import fill_arguments
from mob.rehearsal.words import content_words, sentences
from mob.values import ToolSchema

DEFINITIONS = Path(__file__).parents[2] / "definitions"
STRING = {"type": "string"}
PROPERTY = settings(deadline=None, max_examples=60)


def tool(name_: str, description: str = "", **properties: object) -> ToolSchema:
    return ToolSchema(name_, description, {"type": "object", "properties": properties, "required": list(properties)})


ASK_MENU = tool("ask_menu", "Ask menu: knows dishes and prices.", question=STRING)
TO_MANAGER = tool("hand_off_to_manager", "Hand over to the manager: complaints.", reason=STRING)
BOOK = tool("book_table", "Book a table.", name=STRING, guests={"type": "integer"}, time=STRING)
FREE = tool("free_tables", "Say which tables are free at a time.", time=STRING)
HOST = (
    "You are the host. Ask the menu about dishes. "
    "We are open from noon to eleven. There is free parking behind the house."
)


def ask(
    question: str, *tools: ToolSchema, brain: Brain | None = None, before: tuple[Entry, ...] = (), **scene
) -> Reply:
    entries = (*before, Said("user", question))
    return (brain or Brain()).reply(Scene(scene.pop("instructions", HOST), entries, tools, **scene))


def team_tools(definition, identity: str) -> list[ToolSchema]:
    parameter = {"ask": "question", "tell": "message", "hand_off": "reason"}
    name = {"ask": "ask_", "tell": "tell_", "hand_off": "hand_off_to_"}
    return [
        tool(name[via] + route.to, definition.profile_of(route.to).peer_description, **{parameter[via]: STRING})
        for route in definition.routes
        if route.origin == identity
        for via in route.via
    ]


def in_team(team: str, identity: str, question: str, *tools: ToolSchema) -> Reply:
    definition = mob.load(str(DEFINITIONS / team))
    profile = definition.profile_of(identity)
    told = "\n\n".join([profile.instructions, *(definition.skills[name] for name in profile.skills)])
    scene = Scene(told, (Said("user", question),), (*team_tools(definition, identity), *tools))
    return brain_for(definition, identity).reply(scene)


@pytest.mark.parametrize(
    ("question", "call"),
    [
        ("What does the mushroom risotto cost?", "ask_menu"),
        ("Do you have anything vegan?", "ask_menu"),
        ("book a table for two at eight", "ask_bookings"),
        ("Is there a table free at seven?", "ask_bookings"),
        ("Let me talk to the manager", "hand_off_to_manager"),
        ("over to your manager, please", "hand_off_to_manager"),
        ("I want to complain!", "hand_off_to_manager"),
    ],
)
def test_the_front_desk_asks_whoever_knows(question, call):
    reply = in_team("front-desk.toml", "host", question)
    assert [planned.name for planned in reply.calls] == [call]
    assert question in reply.calls[0].arguments.values()


def test_the_front_desk_says_itself_what_it_knows():
    assert in_team("front-desk.toml", "host", "When are you open?").say.startswith("We are open from noon")
    about = in_team("front-desk.toml", "host", "Tell me about the restaurant.")
    assert about.say.startswith("I am the host of the Olive Tree")
    assert len(sentences(about.say)) >= 3, "there must be something to interrupt"


def test_the_specialists_answer_and_act():
    assert "14 euros" in in_team("front-desk.toml", "menu", "What does the mushroom risotto cost?").say
    reply = in_team("front-desk.toml", "bookings", "book a table for two at eight", FREE, BOOK)
    assert [planned.name for planned in reply.calls] == ["book_table"]
    assert reply.calls[0].arguments["guests"] == 2
    assert reply.calls[0].arguments["time"] == "20:00"


def test_the_panel_hands_over_and_the_newsroom_asks_and_tells():
    assert in_team("panel.toml", "chair", "What does a tram line cost?").calls[0].name == "hand_off_to_planner"
    assert in_team("newsroom.toml", "editor", "What happened at the harbour?").calls[0].name == "ask_reporter"
    assert in_team("newsroom.toml", "editor", "print it").calls[0].name == "tell_archive"


def test_without_a_team_file_the_descriptions_decide():
    assert ask("What does the soup cost?", ASK_MENU, TO_MANAGER).calls[0].name == "ask_menu"
    assert ask("Let me speak to the manager, please", ASK_MENU, TO_MANAGER).calls[0].name == "hand_off_to_manager"
    assert ask("Where can I park?", ASK_MENU, TO_MANAGER).say == "There is free parking behind the house."


def test_a_tool_is_called_once_in_a_turn_and_its_answer_is_spoken():
    turn = (Said("user", "What does the soup cost?"), Called("c1", "ask_menu"), Returned("c1", "It costs 6 euros"))
    brain = Brain()
    assert brain.reply(Scene(HOST, turn, (ASK_MENU,))) == Reply("I asked menu. It costs 6 euros.")
    spoken = (*turn, Said("assistant", "I asked menu. It costs 6 euros."))
    assert brain.reply(Scene(HOST, spoken, (ASK_MENU,))).calls == ()
    again = brain.reply(Scene(HOST, (*spoken, Said("user", "What does the fish cost?")), (ASK_MENU,)))
    assert again.calls[0].arguments == {"question": "What does the fish cost?"}


def test_a_failed_tool_is_admitted():
    turn = (Said("user", "x"), Called("c1", "ask_menu"), Returned("c1", "The call timed out after 30 s."))
    assert Brain().reply(Scene(HOST, turn, (ASK_MENU,))).say.startswith("I am sorry, I could not reach menu.")


def test_several_results_are_all_spoken():
    turn = (
        Said("user", "x"),
        Called("c1", "ask_menu"),
        Called("c2", "free_tables"),
        Returned("c1", "6 euros"),
        Returned("c2", '{"free": ["window", "corner"]}'),
    )
    assert Brain().reply(Scene(HOST, turn)).say == "I asked menu. 6 euros. free: window; corner."


def test_a_hand_over_note_is_greeted_with_its_reason():
    note = Said("system", "The floor was handed to you by host. Reason: the guest lost an umbrella")
    told = "Lost umbrellas are kept at the bar.\n\nParties can have the terrace."
    reply = Brain(name="manager").reply(Scene(told, (note,)))
    assert reply.say == (
        "Hello, this is manager. I was told: the guest lost an umbrella. Lost umbrellas are kept at the bar."
    )


def test_rules_come_first_and_are_obeyed_to_the_letter():
    brain = Brain(
        rules=[
            RehearsalRule(when="soup vegan", say="Yes, it is.", after_ms=250),
            RehearsalRule(when="/book(ing)?/", call="book_table", arguments={"name": "Ada"}),
            RehearsalRule(when="boss", hand_off="manager", say="Gladly."),
            RehearsalRule(when="moon", call="fly"),
        ]
    )
    assert ask("Is the SOUP vegan?", ASK_MENU, brain=brain) == Reply("Yes, it is.", after_ms=250)
    booked = ask("booking for 3 at nine", BOOK, brain=brain).calls[0]
    assert booked.arguments == {"name": "Ada", "guests": 3, "time": "21:00"}
    handed = ask("I want the boss", TO_MANAGER, brain=brain)
    assert (handed.say, handed.calls[0].name) == ("Gladly.", "hand_off_to_manager")
    assert "no such tool" in ask("to the moon", brain=brain).say


def test_an_evil_pattern_takes_no_time():
    brain = Brain(rules=[RehearsalRule(when="/(a+)+b/", say="never")])
    assert ask("a" * 3000, brain=brain).say


def test_tool_choice():
    question = "What does the soup cost?"
    assert ask(question, ASK_MENU, tool_choice="none").calls == ()
    assert ask("hello", ASK_MENU, TO_MANAGER, tool_choice="required").calls
    assert ask("hello", ASK_MENU, BOOK, tool_choice="book_table").calls[0].name == "book_table"
    called = (Said("user", "hello"), Called("c", "ask_menu"))
    assert Brain().reply(Scene(HOST, called, (ASK_MENU,), "required")).calls == ()


def test_small_talk_images_and_ignorance():
    assert ask("Hello!").say.startswith("Hello! I am the host.")
    assert "welcome" in ask("thank you").say
    assert "Goodbye" in ask("bye").say
    assert "I am the host" in ask("Who are you?").say
    assert "do not know" in ask("What is the capital of France?").say
    image = Said("user", "", ("a PNG picture of 640 by 480 pixels",))
    assert "640 by 480" in Brain().reply(Scene(HOST, (image,))).say
    assert Brain().reply(Scene("", ())).say


WORDS = st.lists(
    st.sampled_from(
        [
            "what",
            "does",
            "the",
            "soup",
            "cost",
            "book",
            "a",
            "table",
            "for",
            "two",
            "at",
            "eight",
            "hello",
            "manager",
            "ask",
            "menu",
            "parking",
            "xyzzy",
            "7",
            "—",
        ]
    ),
    max_size=10,
).map(" ".join)
ENTRIES = st.lists(
    st.one_of(
        st.builds(Said, st.sampled_from(["user", "assistant", "system"]), WORDS),
        st.builds(Called, st.sampled_from("ab"), st.sampled_from(["ask_menu", "book_table", "gone"])),
        st.builds(Returned, st.sampled_from("abc"), WORDS),
    ),
    max_size=6,
).map(tuple)


@PROPERTY
@given(ENTRIES, st.sampled_from(["auto", "none", "required", "ask_menu", "gone"]), st.integers(0, 3))
def test_every_scene_has_a_reply_and_always_the_same(entries, choice, seed):
    scene = Scene(HOST, entries, (ASK_MENU, BOOK, TO_MANAGER), choice)
    reply = Brain(seed=seed).reply(scene)
    assert reply.say or reply.calls
    assert reply == Brain(seed=seed).reply(scene)
    offered = {t.name: t for t in scene.tools}
    for call in reply.calls:
        assert set(offered[call.name].parameters["required"]) <= set(call.arguments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("book a table for two at eight", {"name": "Guest", "guests": 2, "time": "20:00"}),
        ("Table for 4 people at 19:30 under Ada Lovelace", {"name": "Ada Lovelace", "guests": 4, "time": "19:30"}),
        ("half past seven, we are three, my name is Bob", {"name": "Bob", "guests": 3, "time": "19:30"}),
        ("for two at 9 am", {"name": "Guest", "guests": 2, "time": "09:00"}),
    ],
)
def test_arguments_of_a_booking(text, expected):
    assert fill_arguments(BOOK, text)[0] == expected


def test_arguments_of_other_tools():
    weather = tool("get_weather", "Weather in a city.", city=STRING, unit={"enum": ["celsius", "fahrenheit"]})
    assert fill_arguments(weather, "How warm is it in New York, in fahrenheit?")[0] == {
        "city": "New York",
        "unit": "fahrenheit",
    }
    price = tool("dish_price", "What a dish costs.", dish=STRING)
    assert fill_arguments(price, "What does the mushroom risotto cost?") == ({"dish": "mushroom risotto"}, 1)
    hours = tool("hours", "When we are open.", day=STRING)
    assert fill_arguments(hours, "When are you open on Monday?")[0] == {"day": "Monday"}
    add = tool("add", "Add.", a={"type": "number"}, b={"type": "integer", "maximum": 10})
    assert fill_arguments(add, "what is 1.5 plus forty")[0] == {"a": 1.5, "b": 10}


def test_what_was_said_earlier_fills_what_is_missing():
    assert fill_arguments(BOOK, "yes, book it", earlier="A table for five at seven")[0]["guests"] == 5


SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "integer", "minimum": 3},
            {"type": "number", "maximum": 0},
            {"type": "boolean"},
            {"enum": ["a", 2]},
            {"type": ["null", "string"]},
            {"anyOf": [{"type": "null"}, {"type": "integer"}]},
            {"type": "string", "format": "date"},
            {},
        ]
    ),
    lambda inner: st.one_of(
        st.builds(lambda i: {"type": "array", "items": i, "minItems": 1}, inner),
        st.builds(lambda i: {"type": "object", "properties": {"x": i}, "required": ["x"]}, inner),
    ),
    max_leaves=4,
)


@PROPERTY
@given(st.dictionaries(st.sampled_from(["time", "day", "people", "name", "q", "city", "text"]), SCHEMAS), WORDS)
def test_arguments_have_the_types_that_the_schema_asks_for(properties, text):
    arguments, said = fill_arguments(tool("t", "d", **properties), text)
    given = {name for name, spec in properties.items() if "null" not in spec.get("type", ())}
    assert given <= set(arguments) <= set(properties)
    assert 0 <= said <= len(properties)
    kinds = {"string": str, "integer": int, "number": int | float, "boolean": bool, "array": list, "object": dict}
    for name, value in arguments.items():
        spec = properties[name]
        if isinstance(spec.get("type"), str):
            assert isinstance(value, kinds[spec["type"]])
        if "enum" in spec:
            assert value in spec["enum"]


def test_orders_are_not_spoken_and_markdown_is_read():
    assert is_order("Always be brief.")
    assert is_order("If somebody complains, hand over to the manager.")
    assert not is_order("We are open at noon.")
    assert [s.text for s in known("You are the cook. Never lie. You find us here.")] == [
        "I am the cook.",
        "You find us here.",
    ]
    listed = sentences("# Soups\n- **Tomato**: 6 euros\n- Leek,\n  7 euros\n\nFish is out. Sorry!")
    assert [s.text for s in listed] == ["Tomato: 6 euros.", "Leek, 7 euros.", "Fish is out.", "Sorry!"]
    assert "soup" in content_words(listed[0].found_by)


def test_output_as_speech():
    assert as_speech('{"table_size": 4, "free": true}') == "table size: 4, free: yes."
    assert as_speech("{not json") == "{not json."
    assert as_speech("") == "There was no answer."
    assert len(as_speech("word " * 1000)) < 1300


@pytest.mark.parametrize(
    "output",
    [
        "The tool book_table failed: no such table",
        "book_table failed: ValueError: no",
        "book_table was not run: give 'time', a text that is not empty.",
        "book_table did not end within 30 s and was given up.",
        "menu did not answer within 20 s; go on without the answer",
        "host cannot ask menu: that would close the circle host -> menu -> host",
        "menu has no route to ask host",
        "this request has travelled 8 members, the limit is 8",
        "menu is not running and cannot take the floor",
    ],
)
def test_failures_are_known_by_their_words(output):
    assert is_failure(output)


@pytest.mark.parametrize("output", ["The window table is booked.", "No table is free at 20:00.", "14 euros", "{}"])
def test_answers_are_no_failures(output):
    assert not is_failure(output)


def test_the_list_of_the_team_is_not_spoken():
    told = (
        "You are the host.\n\n## Your team\nYou are host, one of the members of x.\n- menu (dishes): ask with ask_menu."
    )
    assert [s.text for s in known(told)] == ["I am the host."]


@pytest.mark.parametrize("reason", ["I want to talk to the manager", "thank you, back to the manager"])
def test_who_is_only_asked_for_offers_help(reason):
    note = Said("system", f"host gives you the floor.\nReason: {reason}")
    assert Brain(name="manager").reply(Scene("You are the manager.", (note,))).say == (
        "Hello, this is manager. How can I help?"
    )
