"""A member whose sound is not the vendor's 24 kHz is refused by name: its sound would be too fast or too slow."""

from __future__ import annotations

import pytest
from attrs import evolve
from gateway_doors import dialled, open_doors

from mob.server.gateway import door


@pytest.mark.parametrize("rates", [{"input_rate": 16000}, {"output_rate": 16000}])
async def test_a_member_with_another_rate_of_sound_is_refused_by_name(autojump_clock, monkeypatch, rates):
    ability_of = door.ability_of

    def other(ref):
        ability = ability_of(ref)
        return evolve(ability, model=evolve(ability.model, **rates))

    monkeypatch.setattr(door, "ability_of", other)
    async with open_doors() as doors, dialled(doors, greet=False) as wire:
        assert await wire.until_closed() == (4000, "invalid_request_error.capability_unavailable")
        error = wire.of("error")[-1]["error"]
        assert "16000 Hz" in error["message"]
        assert list(doors.realm.channels) == []
