"""What of a pretrained model learns when: the head alone, then the body, at once or by stages."""

from __future__ import annotations

from torch import nn

from bench.errors import MethodError
from bench.method import Recipe
from bench.train.models import head_names, layers


class Freezing:
    """The freezing of a fine-tuning; none where the weights are from scratch.

    A new head on random features teaches nothing, so freezing needs pretrained weights. In the
    first `frozen_epochs` only the head learns. Then, over `unfreeze_epochs`, the body's stages
    thaw one after the other from the head down. Frozen modules stay in evaluation mode, so their
    batch norms do not move.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, *, pretrained: bool) -> None:
        self.model = model
        self.frozen_epochs = recipe.freeze_epochs if pretrained else 0
        self.thawing_epochs = recipe.unfreeze_epochs if pretrained else 0
        if self.frozen_epochs and not head_names(model):
            raise MethodError(
                "freeze_epochs: the model has no get_classifier() that tells its head"
            )
        self.stages = layers(model, coarse=True) if self.thawing_epochs else {}

    def start_phase(self, *, head_only: bool) -> None:
        """Say which parameters the phase's optimizer gets: the head's, or all of them."""
        head = head_names(self.model)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in head or not head_only)

    def enter(self, epoch: int) -> None:
        """Put the model into training mode for an epoch, but for what is frozen in it."""
        if epoch < self.frozen_epochs:
            self.model.train(mode=False)
            self.model.get_classifier().train()  # type: ignore[operator]
            return
        self.model.train()
        if self.stages:
            self._thaw_until(epoch)

    def _thaw_until(self, epoch: int) -> None:
        """Freeze the stages whose turn has not come."""
        depth = max(self.stages.values())
        # with the head's group, all thaw at once after the last of these epochs
        thawed = (epoch - self.frozen_epochs + 1) / (self.thawing_epochs + 1)
        frozen = {
            name for name, stage in self.stages.items() if depth - stage >= thawed * (depth + 1)
        }
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in frozen)
        for name, module in self.model.named_modules():
            own = [f"{name}.{key}" for key, _ in module.named_parameters(recurse=False)]
            if own and frozen.issuperset(own):
                module.eval()
