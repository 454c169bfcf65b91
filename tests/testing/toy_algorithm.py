"""A new algorithm, as CONTRIBUTING.md says how to add one."""

from tf_unilth.algorithms.pruning_run import PruningRun
from tf_unilth.algorithms.pruning_scores import Magnitude
from tf_unilth.algorithms.ticket_callback import TicketCallback


class OneShot(TicketCallback):
  """Trains, prunes by magnitude, once by default, and finetunes.

  Args:
    finetune_fraction: the share of the steps after the pruning, in [0, 1].
    verbose: 0 is silent, 1 prints a line per event.
  """

  def __init__(self, finetune_fraction: float = 0.5, verbose: int = 1):
    super().__init__(Magnitude(), None, finetune_fraction, verbose)

  def rounds_wanted(self, run: PruningRun) -> int:
    """Returns the rounds that the schedule sets, or 1."""
    return run.pruner.explicit_rounds or 1

  def on_run_begin(self, run: PruningRun) -> None:
    """Plans the rounds."""
    run.timeline.require_steps('OneShot plans its rounds at the first step')
    run.rounds.begin(0, 'trains before it prunes')

  def on_finetuning(self, run: PruningRun) -> None:
    """Restarts the learning rate."""
    run.restart_decay(run.timeline.steps - run.step)
