"""What the tests of team files share: parsing a text with nothing behind it, and valid texts to start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mob.definition.findings import Finding
from mob.definition.model import MobDefinition
from mob.definition.parse import parse_definition

BASE = Path("/nowhere")

SMALL = """\
[mob]
id = "small"

[profiles.host]
model = "gpt-realtime-2"
"""

WIDE = """\
[mob]
id = "wide"
description = "Every section that is built."
entry = "ann"
orchestrator = "host"

[profiles.host]
model = "gpt-realtime-2"
voice = "marin"
output = "audio"
instructions = "Greet people."
fallback = ["gpt-realtime-1.5"]

[profiles.host.turn_detection]
mode = "server_vad"
silence_duration_ms = 400

[profiles.clerk]
model = "my-model"
provider = "ollama"
peer_description = "Knows prices."
skills = ["prices"]
tools = ["find", "buy"]
params = { temperature = 0.2, nested = { list = [1, 2] } }

[members.ann]
profile = "host"

[members.ben]
profile = "host"
voice = "cedar"

[members.cleo]
profile = "clerk"

[wiring]
role_wiring = [{ a = "host", b = "clerk" }]
routes = [
  { from = "ann", to = "ben", via = ["hand_off"] },
  { from = "ben", to = "ann", via = ["hand_off", "ask"] },
]

[topology]
mode = "strict"
rules = [
  { from_role = "*", to_role = "*", allowed = true },
]

[tools.find]
python = "shop:find"

[tools.buy]
python = "shop:buy"
effect = "write"
on_interrupt = "keep"
timeout_s = 3
description = "Buys."

[skills.prices]
content = "A train costs 30 euros."

[models.own]
provider = "vllm"
context_window = 1000

[providers.vllm]
base_url = "http://10.0.0.2:8000/v1"
headers = { "X-Team" = "mob" }

[limits]
max_hops = 4
turn_timeout_s = 20

[budget]
max_tokens = 100000

[budget.members.ann]
max_turns = 5

[[rehearsal.host]]
when = "/^hello/"
say = "Hello!"
after_ms = 50

[[rehearsal.clerk]]
when = "buy"
call = "buy"
arguments = { what = "train" }
"""


def parse(
    text: str, files: Mapping[str, str] | None = None, import_tool=None
) -> tuple[MobDefinition | None, tuple[Finding, ...]]:
    """Parse with `files` (by name) beside the team file."""

    def read_file(path: Path) -> str:
        name = str(path.relative_to(BASE))
        if name not in (files or {}):
            raise FileNotFoundError(name)
        return (files or {})[name]

    return parse_definition(text, base_dir=BASE, read_file=read_file, import_tool=import_tool)


def errors_of(text: str, **kwargs) -> list[str]:
    """The codes of the errors."""
    return [finding.code for finding in parse(text, **kwargs)[1] if finding.severity == "error"]


def good(text: str, **kwargs) -> MobDefinition:
    """The definition of a text that has to be without error."""
    definition, findings = parse(text, **kwargs)
    assert definition is not None, "\n".join(map(str, findings))
    return definition
