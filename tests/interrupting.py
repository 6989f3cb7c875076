"""Ctrl-C at a known place."""

import os
import signal

from souron.training import trainer


def stop_after(turns, monkeypatch, steps=3):
    """Let training behave as if Ctrl-C came after so many slices, of so many steps each.

    Returns the slices as they come.
    """
    slices: list[trainer.Trainer] = []
    go = trainer.Trainer.go

    def slow(self, seconds, asked_to_stop=lambda: False):
        slices.append(self)
        if len(slices) > turns:
            os.kill(os.getpid(), signal.SIGINT)
        end = self.step + steps
        go(self, 1e9, lambda: asked_to_stop() or self.step >= end)

    monkeypatch.setattr(trainer.Trainer, "go", slow)
    return slices
