"""What a method is told, and what it needs to train a model."""

import dataclasses
from typing import Any

import tf_unilth

# The updates of gradual pruning, where there are so many steps.
GRADUAL_UPDATES = 60

TicketCallback = (
  tf_unilth.LTH | tf_unilth.DLTH | tf_unilth.UniLTH | tf_unilth.UniDLTH
)


@dataclasses.dataclass(frozen=True)
class TrainingSetup:
  """What a method needs to train a model.

  Args:
    schedule: to wrap the model with; `None` for a dense model, not wrapped.
    callbacks: of `fit`.
    ticket: the ticket callback among them, `None` if there is none.
  """

  schedule: Any
  callbacks: list[Any]
  ticket: TicketCallback | None = None


@dataclasses.dataclass(frozen=True)
class Settings:
  """The arguments of a training setup.

  Args:
    target_sparsity: fraction of zeros in [0, 1).
    steps: training steps of the whole run.
    seed: of random tickets.
    rate: the run's learning-rate schedule; `None` to try the arguments only.
    lr_restart: whether tfmot's methods restart the schedule when they begin to
      prune; ticket callbacks always do, if it can be restarted.
    begin_fraction: fraction of the steps after which a baseline begins to
      prune, and hypersparse with its penalty; `None` for 0.2, for oneshot and
      oneshot_global 0.5.
    end_fraction: fraction of the steps after which gmp, gmp_global and
      hypersparse are at their target.
    schedule: further arguments of `IterativeSparsity`.
    callback: further arguments of the ticket callback.
    keras: the module of the run's Keras.
  """

  target_sparsity: float
  steps: int
  seed: int
  rate: Any
  lr_restart: bool
  begin_fraction: float | None
  end_fraction: float
  schedule: dict[str, Any]
  callback: dict[str, Any]
  keras: Any

  @property
  def gradual_span(self) -> tuple[float, float]:
    """The fractions of the steps at which gradual pruning begins and ends.

    Raises:
      ValueError: it would end before it begins.
    """
    begin = 0.2 if self.begin_fraction is None else self.begin_fraction
    if not begin < self.end_fraction:
      raise ValueError(
        f'--begin_fraction must be below --end_fraction={self.end_fraction}, '
        f'but is {begin}.'
      )
    return begin, self.end_fraction
