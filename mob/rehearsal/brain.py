"""The rehearsed model's mind, such as it is: what to say or call next, given what came over the wire.

It is a simulation and pretends to nothing else. The first of these that applies decides:

    1. a tool has just answered          say its answer; when it failed, say that
    2. a system message came last        greet, with the reason (this is how a hand-over arrives)
    3. a rehearsal rule matches          say, call or hand over as the rule says
    4. the user asks for a member        hand over, ask or tell, when there is such a tool
    5. `tool_choice` leaves no choice    call that tool
    6. small talk                        greet, thank, introduce itself
    7. a tool fits the words better      call it, with arguments out of the words, once in a user turn
       than any sentence it was told
    8. a sentence it was told fits       say it and what belongs to it
    9. nothing                           say that it does not know, and what it knows about

"Fits" is TF-IDF over its instructions (which is where skills arrive too), the tools' descriptions, and what the team
file says of the members behind route tools. Deterministic: the same seed and conversation give the same reply.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import evolve, field, frozen

from mob.definition.model import MobDefinition, RehearsalRule
from mob.definition.patterns import matcher
from mob.rehearsal.phrases import (
    MOST_SENTENCES,
    as_speech,
    facts,
    is_broad,
    is_failure,
    known,
    readable,
    small_talk,
)
from mob.rehearsal.routing import asks_for_somebody, requested, route_of, tool_words, weigh
from mob.rehearsal.scene import Moment, Result, Scene, read_scene
from mob.rehearsal.slots import fill_arguments
from mob.rehearsal.words import Index, Sentence
from mob.values import ToolSchema

_TOOL_FITS = 0.22
_SENTENCE_FITS = 0.2
_BELONGS = 0.6
_REASON = re.compile(r"\b(?:reason|because|about this)\b\W{0,3}\s*(.+)", re.IGNORECASE | re.DOTALL)


@frozen(slots=True)
class PlannedCall:
    """A tool to call, with its arguments."""

    name: str
    arguments: dict[str, Any] = field(factory=dict, hash=False)


@frozen(slots=True)
class Reply:
    """What to do: words, then calls. It thinks for `after_ms` first."""

    say: str = ""
    calls: tuple[PlannedCall, ...] = ()
    after_ms: int = 0


class Brain:
    """One member's mind.

    `name` is who it is, when that is known; `rules` are the team file's for its profile; `team_words` gives for each
    member what the team file says about it, so that routing can look further than a tool's one-line description.
    `instructions` are what it goes by when none come over the wire.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        rules: Sequence[RehearsalRule] = (),
        team_words: Mapping[str, str] | None = None,
        instructions: str = "",
        seed: int = 0,
    ) -> None:
        self._name = name.replace("_", " ") if name else None
        self._rules = [(matcher(rule.when), rule) for rule in rules]
        self._team_words = dict(team_words or {})
        self._instructions = instructions
        self._seed = seed

    def reply(self, scene: Scene) -> Reply:
        """What to say or call next. Never nothing."""
        if not scene.instructions.strip():
            scene = evolve(scene, instructions=self._instructions)
        moment = read_scene(scene)
        tools = () if scene.tool_choice == "none" else tuple(t for t in scene.tools if t.name not in moment.called)
        if moment.results:
            return Reply(_speak_results(moment.results))
        if moment.note is not None:
            return Reply(self._answer_note(moment.note, scene))
        if reply := self._by_rule(moment, tools, scene):
            return reply
        if wanted := requested(moment.question, tools):
            return self._use(wanted[0], moment, passing_on=wanted[1])
        if scene.tool_choice not in ("auto", "none") and (tool := self._demanded(moment, tools, scene.tool_choice)):
            return self._use(tool, moment)
        if moment.unread_s:
            return Reply(
                f"I heard {moment.unread_s:.1f} seconds of sound that is no tone speech. I am rehearsed, and can read "
                "nothing else."
            )
        if not moment.question and not moment.images:
            return Reply(f"Hello! {self._introduction(scene)} How can I help?")
        if words := small_talk(moment.question, self._introduction(scene)):
            return Reply(words)
        return self._by_fit(moment, tools, scene)

    def _by_rule(self, moment: Moment, tools: Sequence[ToolSchema], scene: Scene) -> Reply | None:
        for matches, rule in self._rules:
            if not matches(moment.question):
                continue
            name = f"hand_off_to_{rule.hand_off}" if rule.hand_off else rule.call
            if name is None:
                return Reply(rule.say or "", after_ms=rule.after_ms)
            if tool := next((t for t in tools if t.name == name), None):
                arguments = {**fill_arguments(tool, moment.question, earlier=moment.earlier)[0], **rule.arguments}
                words = rule.say if rule.say is not None else self._before(tool, moment)
                return Reply(words, (PlannedCall(name, arguments),), rule.after_ms)
            if name not in {t.name for t in scene.tools}:
                return Reply(f"My rehearsal rule wants {name}, and I have no such tool.", after_ms=rule.after_ms)
        return None

    def _demanded(self, moment: Moment, tools: Sequence[ToolSchema], choice: str) -> ToolSchema | None:
        if choice != "required":
            return next((tool for tool in tools if tool.name == choice), None)
        if not tools:
            return None
        fits = Index([tool_words(tool, self._team_words) for tool in tools]).fit(moment.question)
        return tools[int(fits.argmax())]

    def _by_fit(self, moment: Moment, tools: Sequence[ToolSchema], scene: Scene) -> Reply:
        told = known(scene.instructions)
        index = Index([s.found_by for s in told] + [tool_words(tool, self._team_words) for tool in tools])
        fits = index.fit(moment.question)
        own = fits[: len(told)]
        scores = [weigh(t, float(f), moment.question) for t, f in zip(tools, fits[len(told) :], strict=True)]
        best, best_own = max(scores, default=0.0), float(own.max(initial=0.0))
        if best >= _TOOL_FITS and best > best_own:
            return self._use(tools[scores.index(best)], moment)
        if moment.images:
            return Reply(f"I see {readable(moment.images)}. I am rehearsed, so that is all I can tell.")
        if best_own >= _SENTENCE_FITS:
            return Reply(_answer(told, own, broad=is_broad(moment.question)))
        return Reply(self._does_not_know(moment, told, scene))

    def _answer_note(self, note: str, scene: Scene) -> str:
        """Greets, says why it was called, and answers at once when it has a sentence for that."""
        found = _REASON.search(note)
        reason = " ".join((found[1] if found else note).split())
        hello = f"Hello, this is {self._name}." if self._name else "Hello!"
        if asks_for_somebody(reason):
            return f"{hello} How can I help?"
        told = known(scene.instructions)
        fits = Index([s.found_by for s in told]).fit(reason)
        answer = _answer(told, fits) if fits.max(initial=0.0) >= _SENTENCE_FITS else "How can I help?"
        return f"{hello} I was told: {as_speech(reason)} {answer}"

    def _use(self, tool: ToolSchema, moment: Moment, *, passing_on: str | None = None) -> Reply:
        words = passing_on if passing_on is not None else moment.question
        arguments, _ = fill_arguments(tool, words, earlier=moment.earlier)
        return Reply(self._before(tool, moment), (PlannedCall(tool.name, arguments),))

    def _before(self, tool: ToolSchema, moment: Moment) -> str:
        """What is said before a hand-over; other calls are made without a word."""
        route = route_of(tool.name)
        if route is None or route.verb != "hand_off":
            return ""
        return self._choose(moment, "I will put you through to {}.", "One moment, {} will take over.").format(
            route.spoken
        )

    def _introduction(self, scene: Scene) -> str:
        told = [sentence.text for sentence in known(scene.instructions)][:MOST_SENTENCES]
        mine = [f"I am {self._name}."] if self._name and not any(text.startswith("I ") for text in told) else []
        reached = sorted({route.spoken for tool in scene.tools if (route := route_of(tool.name))})
        others = [f"With me {'are' if len(reached) > 1 else 'is'} {readable(reached)}."] if reached else []
        return " ".join([*mine, *told, *others]) or "I am a rehearsed model, and was told nothing about myself."

    def _does_not_know(self, moment: Moment, told: Sequence[Sentence], scene: Scene) -> str:
        sorry = self._choose(moment, "I am sorry, I do not know that.", "That I do not know, I am sorry.")
        reached = sorted({route.spoken for t in scene.tools if (route := route_of(t.name)) and route.verb != "tell"})
        hints = [f"What I know is this: {told[0].text}"] if told else []
        hints += [f"I can ask {readable(reached)} for you."] if reached else []
        return " ".join([sorry, *hints])

    def _choose(self, moment: Moment, *phrases: str) -> str:
        return random.Random(f"{self._seed}/{moment.earlier}/{moment.question}").choice(phrases)


def brain_for(definition: MobDefinition | None, member: str | None, *, seed: int = 0) -> Brain:
    """The mind of a member of a team; of nobody in particular without one."""
    if definition is None or member is None or member not in definition.members:
        return Brain(name=member, seed=seed)
    rules = definition.rehearsal.get(definition.members[member].profile, ())
    words = {identity: _words_about(definition, identity) for identity in definition.members if identity != member}
    profile = definition.profile_of(member)
    told = "\n\n".join([profile.instructions, *(definition.skills.get(name, "") for name in profile.skills)])
    return Brain(name=member, rules=rules, team_words=words, instructions=told, seed=seed)


def _words_about(definition: MobDefinition, identity: str) -> str:
    profile = definition.profile_of(identity)
    known = [definition.skills.get(name, "") for name in profile.skills]
    used = [f"{name} {definition.tools[name].description or ''}" for name in profile.tools if name in definition.tools]
    told = [sentence.text for sentence in facts(profile.instructions)]
    return " ".join([profile.peer_description, *told, *known, *used])


def _speak_results(results: Sequence[Result]) -> str:
    return " ".join(_speak_result(result) for result in results)


def _speak_result(result: Result) -> str:
    route = route_of(result.tool)
    if is_failure(result.output):
        what = f"reach {route.spoken}" if route else "do that"
        return f"I am sorry, I could not {what}. {as_speech(result.output)}"
    match route.verb if route else None:
        case "ask" if route:
            return f"I asked {route.spoken}. {as_speech(result.output)}"
        case "tell" if route:
            return f"I have told {route.spoken}."
        case "hand_off" if route:
            return f"Over to {route.spoken}."
    return as_speech(result.output)


def _answer(told: Sequence[Sentence], fits: npt.NDArray[np.float64], *, broad: bool = False) -> str:
    """The best sentence, others that fit nearly as well, and what follows it in its paragraph (`broad`: in all)."""
    best = int(fits.argmax())
    close = [i for i in np.argsort(-fits, kind="stable").tolist() if fits[i] >= _BELONGS * fits[best]]
    after = [i for i in range(best + 1, len(told)) if broad or told[i].paragraph == told[best].paragraph]
    chosen = list(dict.fromkeys([*close, *after]))[:MOST_SENTENCES]
    return " ".join(told[i].text for i in sorted(chosen))
