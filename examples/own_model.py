"""A live channel with no team: connect, give it a tool, talk. Dials a rehearsed provider served beside it.

Run: python examples/own_model.py
"""

import trio

import mob
from mob.rehearsal.serve import open_rehearsal


def opening_hours(day: str) -> str:
    """When we are open.

    Args:
        day: A day of the week.
    """
    return f"On {day} we are open from nine to six."


async def main() -> None:
    async with (
        open_rehearsal(None) as provider,
        mob.connect_realtime(
            provider="openai",
            model="gpt-realtime-2",
            instructions="You are the voice of a shop. Ask your tools for facts.",
            tools=[opening_hours],
            base_url=provider.base_url(None),
        ) as live,
    ):
        await live.send_text("When are you open on monday?")
        async for event in live:
            match event:
                case mob.AudioDelta():
                    live.played(event)
                case mob.ToolFinished(name=name, output=output):
                    print(f"{name}: {output}")
                case mob.TurnCommitted(turn=turn):
                    print(turn.agent_text)
                    break


trio.run(main)
