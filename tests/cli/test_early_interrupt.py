"""Ctrl-C while a command is still being imported is an interruption like any other."""

import importlib

import pytest

from mob.cli.main import main


def test_ctrl_c_during_the_import_of_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)

    assert main(["models"]) == 130
    assert capsys.readouterr().err == ""
