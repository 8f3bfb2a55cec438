"""What must stay the same while a training is interrupted, and what is said where it did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric

from bench.train import distributed
from bench.train.guards import Guards


def environment(fabric: Fabric) -> dict[str, Any]:
    """What must stay the same for a resumed training to end in the same bits."""
    return {
        "torch": str(torch.__version__),
        "instruction set": torch.backends.cpu.get_cpu_capability(),
        "device": distributed.device_name(fabric.device),
        "processes": fabric.world_size,
        "threads": torch.get_num_threads(),
        "precision": distributed.precision_name(fabric),
    }


def tell_resumed(
    guards: Guards,
    said: Mapping[str, str],
    before: Mapping[str, Any],
    here: Mapping[str, Any],
    refused: Sequence[str],
) -> None:
    """Say again what was said before an interruption, and what has changed since.

    before, here  the environment then and now
    refused       the checkpoints whose hash refused them
    """
    for guard, sentence in said.items():
        guards.say(guard, sentence)
    changes = [
        f"{name} {value} became {here.get(name)}"
        for name, value in before.items()
        if here.get(name) != value
    ]
    if changes:
        guards.say(
            "environment",
            f"resumed in another environment ({'; '.join(changes)}): the result need not be "
            "what an unbroken training gives",
        )
    if refused:
        guards.say(
            "damaged checkpoint",
            f"{refused[0]} was damaged: its hash refused it, and the state before was taken up",
        )
