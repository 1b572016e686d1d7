"""What a channel's client wishes otherwise than the member's profile has it, and whether the model can do that.

The wishes come with the options that the channel is opened with and change with `refresh`. They are laid over the
configuration of every seed, so that they hold again after each reopening.
"""

from __future__ import annotations

from attrs import define, evolve, fields

from mob.definition.model import ModelCapabilities
from mob.live.inputs import Refresh
from mob.live.ports import ChannelOptions
from mob.providers.commands import SessionConfig
from mob.values import Modality, ToolSchema, TurnDetection


@define(slots=True)
class Overrides:
    """The wishes in force; None: as the seed has it. `extra_instructions` stand below whatever instructions there are.

    `auto_respond` and `barge_in` rule the channel itself; where they are False, the provider must not do by itself
    what mob does not do either.
    """

    instructions: str | None = None
    tools: tuple[ToolSchema, ...] | None = None
    voice: str | None = None
    turn_detection: TurnDetection | None = None
    output: Modality | None = None
    extra_instructions: str | None = None
    auto_respond: bool = True
    barge_in: bool = True

    @classmethod
    def of(cls, options: ChannelOptions) -> Overrides:
        """Those that a channel begins with."""
        return cls(
            voice=options.voice,
            turn_detection=options.turn_detection,
            output=options.output,
            extra_instructions=options.instructions,
            auto_respond=options.auto_respond,
            barge_in=options.barge_in,
        )

    def take(self, change: Refresh) -> None:
        """Change what the change names."""
        for attribute in fields(Overrides):
            value = getattr(change, attribute.name)
            if value is not None:
                setattr(self, attribute.name, value)

    def over(self, config: SessionConfig) -> SessionConfig:
        """The configuration with the wishes laid over it."""
        instructions = config.instructions if self.instructions is None else self.instructions
        return evolve(
            config,
            instructions="\n\n".join(part for part in (instructions, self.extra_instructions) if part),
            tools=config.tools if self.tools is None else self.tools,
            voice=config.voice if self.voice is None else self.voice,
            output=self.output or config.output,
            turn_detection=self._detection(self.turn_detection or config.turn_detection),
        )

    def _detection(self, wanted: TurnDetection) -> TurnDetection:
        return evolve(
            wanted,
            create_response=wanted.create_response and self.auto_respond,
            interrupt_response=wanted.interrupt_response and self.barge_in,
        )


def misfit(
    model: ModelCapabilities, *, voice: str | None, output: Modality | None, turn_detection: TurnDetection | None
) -> str | None:
    """What of these the model cannot do, as a sentence; None when nothing. What the catalogue does not know may be."""
    if voice is not None and model.voices and voice not in model.voices:
        return f"{model.id} has no voice {voice!r:.60}; it has {', '.join(model.voices)}"
    if output is not None and output not in model.output_modalities:
        return f"{model.id} does not answer with {output}; it answers with {', '.join(model.output_modalities)}"
    if turn_detection is not None and model.turn_modes and turn_detection.mode not in model.turn_modes:
        return f"{model.id} has no turn mode {turn_detection.mode!r}; it has {', '.join(model.turn_modes)}"
    return None
