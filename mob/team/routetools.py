"""Routes as tools that a session can call: asking, telling, and handing the floor over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from mob.sessions.events import MessageSent, RunEvent
from mob.sessions.tools import BadArguments, ToolContext, ToolFunction
from mob.team.floor import FloorMachine
from mob.team.post import Post
from mob.team.routing import RouteTool


@frozen(slots=True)
class RouteTools:
    """Makes them. Asking is given up when the asker is interrupted."""

    post: Post
    machine: FloorMachine
    publish: Callable[[RunEvent], object]

    def make(self, member: str, tool: RouteTool) -> ToolFunction:
        """The tool by which `member` takes this route. Time is bounded by the post, or nothing waits."""

        async def call(arguments: dict[str, Any], context: ToolContext) -> str:
            text = _text(tool, arguments)
            match tool.via:
                case "ask":
                    return await self.post.ask(member, tool.to, text, cause=context.cause)
                case "tell":
                    await self.post.tell(member, tool.to, text, cause=context.cause)
                    return f"{tool.to} has been told."
                case "hand_off":
                    self._hand_off(member, tool.to, text, context.cause.hops + 1)
                    return f"{tool.to} has the floor when this turn ends."

        # What is told stays told, and a hand-over of an answer that was cut is none: both are done once or not at all.
        return ToolFunction(
            tool.schema,
            call,
            effect="read" if tool.via == "ask" else "write",
            keeps_running=tool.via == "tell",
            ends_turn=tool.via == "hand_off",
        )

    def _hand_off(self, member: str, to: str, reason: str, hops: int) -> None:
        self.post.check_route(member, to, "hand_off")
        self.machine.request(member, to, reason, hops=hops)
        self.publish(MessageSent(member=member, origin=member, to=to, via="hand_off", text=reason))


def _text(tool: RouteTool, arguments: dict[str, Any]) -> str:
    value = arguments.get(tool.argument)
    if not isinstance(value, str) or not value.strip():
        raise BadArguments(f"{tool.schema.name} was not run: give {tool.argument!r}, a text that is not empty.")
    unknown = ", ".join(sorted(arguments.keys() - {tool.argument}))
    if unknown:
        raise BadArguments(f"{tool.schema.name} was not run: it takes {tool.argument!r} alone, not {unknown}.")
    return value
