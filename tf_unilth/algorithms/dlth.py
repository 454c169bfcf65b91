"""DLTH: random sparse network transformation (RST), one-shot or iterative."""

from tf_unilth.algorithms.pruning_run import PruningRun
from tf_unilth.algorithms.pruning_scores import Random
from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.schedules.l2_ramp import L2Ramp


class DLTH(TicketCallback):
  """Transforms a random subnetwork: L2 ramp from the first step, then pruning.

  A random mask is drawn from `seed`. From the first step, the weights that it
  will remove get the loss 1/2 lambda(t) sum w^2 with a rising lambda, which
  moves their information into the others (random sparse network
  transformation, RST). Then they are pruned, and the others are finetuned.

  There is one round unless the schedule sets `rounds`. More rounds are
  RST-Iter: each transforms and prunes the next slice of the same random order.
  (The authors' code restores pruned weights between the rounds; here a pruned
  weight is never restored.) DLTH needs the steps per epoch at the first step.

  Args:
    ramp: the L2 ramp. `None`: a ramp with the shrink exponent of the authors'
      settings (A = 650), or the largest that is stable in a short round, that
      rises over half of the round. The authors' own is
      `L2Ramp(limit=1.0, increment=1e-4, interval=5)`.
    finetune_fraction: the share of the steps after the last round, in [0, 1].
      1 prunes before the first step: with `L2Ramp(limit=0)`, this trains a
      random ticket from scratch.
    seed: the seed of the random mask, at least 0.
    verbose: 0 is silent, 1 prints a line per event, 2 a line per round too.

  Raises:
    ValueError: an argument is out of its range; in `fit`, the target cannot be
      reached.
    FloatingPointError: in `fit`, a weight, an optimizer slot or the loss is not
      finite.

  >>> callback = DLTH(finetune_fraction=0.6, seed=1)

  A model that is already trained needs no argument: the ramp acts on its
  weights from the first step, as it does on new ones.

  From Bai et al. (ICLR 2022), "Dual Lottery Ticket Hypothesis", and its code:
  increment, interval, limit, hold and one-shot cut. The budget form, the share
  of finetuning and the learning rate's restart at it are our choices.
  """

  shrink_exponent = 650.0

  def __init__(
    self,
    ramp: L2Ramp | None = None,
    finetune_fraction: float = 0.5,
    seed: int = 0,
    verbose: int = 1,
  ):
    ramp = L2Ramp() if ramp is None else ramp
    super().__init__(Random(seed), ramp, finetune_fraction, verbose)

  def rounds_wanted(self, run: PruningRun) -> int:
    """Returns the rounds that a schedule sets, or 1."""
    return run.pruner.explicit_rounds or 1

  def on_run_begin(self, run: PruningRun) -> None:
    """Begins the first ramp."""
    run.timeline.require_steps('DLTH begins its ramp at the first step')
    run.rounds.begin(0, 'drew a random mask')

  def on_finetuning(self, run: PruningRun) -> None:
    """Restarts the learning rate for the finetuning."""
    done = run.timeline.round_end(run.state.round)
    run.restart_decay(run.timeline.steps - done)
