"""Ask a member something, and read its history. Run: python examples/ask.py"""

import trio

import mob


async def main() -> None:
    definition = mob.load("definitions/front-desk.toml")
    async with mob.open_mob(definition, rehearse=True) as desk:
        answer = await desk.member("menu").ask("What does the mushroom risotto cost?")
        print(answer.text)
        for turn in desk.member("menu").history():
            print(turn.seq, turn.status, turn.user_text, "->", turn.agent_text)


trio.run(main)
