"""Cut a live member off and see what its history keeps: the words that were played. Run: python examples/barge_in.py"""

import trio

import mob

HEARD_MS = 1200


async def main() -> None:
    definition = mob.load("definitions/front-desk.toml")
    async with mob.open_mob(definition, rehearse=True) as desk:
        host = desk.member("host")
        async with host.open_live() as live:
            await live.send_text("Tell me about the restaurant.")
            async for event in live:
                match event:
                    case mob.AudioDelta(item_id=item_id, start_ms=start) if start >= HEARD_MS:
                        # A loudspeaker reports how far it has played; this one stops here.
                        live.played(item_id, HEARD_MS)
                        await live.interrupt()
                    case mob.TurnCommitted(turn=turn):
                        break
        message = next(item for item in turn.items if isinstance(item, mob.AgentMessage))
        print(f"heard {message.heard_ms} of {message.generated_ms} ms: {message.text!r}")


trio.run(main)
