"""From gradients to updates: the optimizers, the schedulers of their learning rates, clipping, and what is frozen."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from trainables.errors import UserError

RATES = ("lr", "initial_lr", "max_lr", "min_lr")  # what a parameter group holds of its learning rate
BASES = ("base_lrs", "max_lrs")  # and what a scheduler does


@dataclass(frozen=True, eq=False)
class TrainedPart:
    """One optimizer over one part of the model ("loss": over the losses' proxies), and its schedulers by occasion."""

    name: str
    optimizer: torch.optim.Optimizer
    on_epoch: LRScheduler | None = None
    on_step: LRScheduler | None = None
    on_val: LRScheduler | None = None

    @property
    def parameters(self) -> list[Tensor]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    @property
    def schedulers(self) -> list[LRScheduler]:
        return [scheduler for scheduler in (self.on_epoch, self.on_step, self.on_val) if scheduler is not None]

    def state_dict(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer.state_dict(),
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
        }

    def load_state_dict(self, state: dict[str, Any], force_lr: bool, scheduled: bool = False) -> None:
        """force_lr: the learning rates stay the configured ones; the schedules go on from there, at their place.

        scheduled: so do they, and weight decay; a rate is as far down its schedule as the saved one, and one whose
        configured value is the saved one's keeps every bit.
        """
        decays = [group["weight_decay"] for group in self.optimizer.param_groups if "weight_decay" in group]
        groups = [{key: group[key] for key in RATES if key in group} for group in self.optimizer.param_groups]
        bases = [
            {key: list(value) for key, value in vars(scheduler).items() if key in BASES}
            for scheduler in self.schedulers
        ]
        self.optimizer.load_state_dict(state["optimizer"])
        for scheduler, saved in zip(self.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        if not force_lr and not scheduled:
            return
        if scheduled and decays:
            for group, decay in zip(self.optimizer.param_groups, decays, strict=True):
                group["weight_decay"] = decay
        for group, rates in zip(self.optimizer.param_groups, groups, strict=True):
            # a schedule that starts low has written its first rate over the configured one
            configured = rates.get("initial_lr", rates["lr"])
            came_to = group["lr"] / group["initial_lr"] if scheduled and group.get("initial_lr") else 1.0
            unchanged = scheduled and group.get("initial_lr", group["lr"]) == configured
            group.update(rates, lr=group["lr"] if unchanged else configured * came_to)
        for scheduler, rates in zip(self.schedulers, bases, strict=True):
            vars(scheduler).update(rates)
            scheduler._last_lr = [group["lr"] for group in self.optimizer.param_groups]


@dataclass(frozen=True, eq=False)
class Optimization:
    """Every trained part, stepped together. clip: the largest norm of all their gradients together, None: any."""

    parts: Sequence[TrainedPart]
    scaler: torch.amp.GradScaler
    clip: float | None = None
    log_norm: bool = False

    def zero_grad(self) -> None:
        for part in self.parts:
            part.optimizer.zero_grad(set_to_none=True)

    def scaled(self, gradient: Tensor) -> Tensor:
        scaled: Tensor = self.scaler.scale(gradient)
        return scaled

    def step(self) -> Tensor | None:
        """One update from gradients that were `scaled`. The norm of them all before clipping, if it is asked for.

        In float16 a gradient that overflowed is no update: then neither a norm nor a scheduler's step.
        """
        moved = [any(parameter.grad is not None for parameter in part.parameters) for part in self.parts]
        norm = self._clipped(moved)
        for part, has_gradient in zip(self.parts, moved, strict=True):
            if has_gradient:
                self.scaler.step(part.optimizer)
            else:
                part.optimizer.step()  # changes nothing, but its schedulers want to see it called
        scale = self.scaler.get_scale() if self.scaler.is_enabled() else 0.0
        self.scaler.update()
        if self.scaler.is_enabled() and self.scaler.get_scale() < scale:
            return None
        for part in self.parts:
            if part.on_step is not None:
                part.on_step.step()
        return norm

    def after_epoch(self) -> None:
        """The schedulers on epochs; they count through a warm-up too."""
        for part in self.parts:
            if part.on_epoch is not None:
                part.on_epoch.step()

    def after_validation(self, value: float) -> None:
        """The schedulers on validations. value: of the principal metric, the higher the better."""
        for part in self.parts:
            if isinstance(part.on_val, ReduceLROnPlateau):
                part.on_val.step(value)
            elif part.on_val is not None:
                part.on_val.step()

    def train_only(self, chosen: Iterable[Tensor] | None) -> None:
        """Of the model only these parameters are trained from now on; None: every one that has an optimizer.

        The losses' proxies are no part of the model: they go on.
        """
        kept = None if chosen is None else {id(parameter) for parameter in chosen}
        for part in self.parts:
            for parameter in part.parameters:
                parameter.requires_grad_(kept is None or part.name == "loss" or id(parameter) in kept)

    def follow(self) -> None:
        """The optimizers' states to where their parameters are now."""
        for part in self.parts:
            # which of its numbers live beside the parameter and which on the CPU is known to the optimizer alone
            part.optimizer.load_state_dict(part.optimizer.state_dict())

    def rates(self) -> dict[str, float]:
        """The learning rate of each part."""
        return {part.name: float(part.optimizer.param_groups[0]["lr"]) for part in self.parts}

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts], "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any], force_lr: bool = False, scheduled: bool = False) -> None:
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved, force_lr, scheduled)
        self.scaler.load_state_dict(state["scaler"])

    def _clipped(self, moved: Sequence[bool]) -> Tensor | None:
        if self.clip is None and not self.log_norm:
            return None
        parameters: list[Tensor] = []
        for part, has_gradient in zip(self.parts, moved, strict=True):
            if has_gradient:
                self.scaler.unscale_(part.optimizer)
                parameters += part.parameters
        return torch.nn.utils.clip_grad_norm_(parameters, math.inf if self.clip is None else self.clip)


def check_length(parts: Sequence[TrainedPart], *, epochs: int, steps: int, validations: int) -> None:
    """UserError: a one-cycle schedule that ends before the training does. The numbers are those of a whole training."""
    for part in parts:
        occasions = {"epoch": (part.on_epoch, epochs), "step": (part.on_step, steps), "val": (part.on_val, validations)}
        for occasion, (scheduler, count) in occasions.items():
            if isinstance(scheduler, OneCycleLR) and scheduler.total_steps < count:
                raise UserError(
                    f"optimizer.{part.name}.scheduler_on_{occasion}: OneCycleLR ends after {scheduler.total_steps} "
                    f"steps, the training takes {count}: total_steps={count}"
                )
