"""DLTH: random sparse network transformation (RST), one-shot or iterative."""

from tf_unilth.algorithms.pruning_scores import Random
from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.schedules.l2_ramp import L2Ramp


class DLTH(TicketCallback):
  """Makes a random subnetwork win: ramped L2 from the first step, then a cut.

  A random mask is drawn from `seed`; the weights that it will remove get the
  loss 1/2 lambda(t) sum w^2 with a rising lambda from the first step on, which
  extrudes what they know into the rest (random sparse network transformation,
  RST). Then they are cut and the rest is finetuned.

  One round unless the schedule says `rounds`: with more it is RST-Iter, each
  round transforming and cutting the next slice of the same random order. (The
  authors' code gives cut weights back between the rounds; here what is cut
  stays cut.) Needs to know the steps of an epoch before the first one.

  Args:
    ramp: the penalty. `None`: as strong as the authors' settings (A = 650), or
      as is stable in a short round, rising over half of it. The authors'
      own: `L2Ramp(limit=1.0, increment=1e-4, interval=5)`.
    finetune_fraction: the share of the steps after the last round, in [0, 1].
      1 cuts before the first step: with `L2Ramp(limit=0)`, a random ticket
      trained from scratch.
    seed: what the ticket is drawn from, at least 0.
    verbose: 0 is silent, 1 a line per event, 2 a line per round too.

  Raises:
    ValueError: an argument is out of its range; in `fit`, whatever would keep
      it from ending at the target.
    FloatingPointError: in `fit`, a wrapped weight or the loss is not finite.

  >>> callback = DLTH(finetune_fraction=0.6, seed=1)

  There is no dense stage to leave out for a model that is trained already: the
  ramp is on its weights from the first step, as it is on new ones.

  From Bai et al. (ICLR 2022), "Dual Lottery Ticket Hypothesis", and its code:
  increment, interval, limit, hold and one-shot cut. The budget form, the share
  of finetuning and the learning rate's restart at it are our choices.
  """

  _shrink_exponent = 650.0

  def __init__(
    self,
    ramp: L2Ramp | None = None,
    finetune_fraction: float = 0.5,
    seed: int = 0,
    verbose: int = 1,
  ):
    ramp = L2Ramp() if ramp is None else ramp
    super().__init__(Random(seed), ramp, finetune_fraction, verbose)

  def _rounds_wanted(self) -> int:
    return self._pruner.explicit_rounds or 1

  def _on_run_begin(self) -> None:
    self._timeline.require_steps('DLTH begins its ramp at the first one')
    self._begin_rounds(0, 'a ticket is drawn')

  def _on_finetuning(self) -> None:
    self._restart_decay(
      self._timeline.steps - self._timeline.round_end(self.rounds)
    )
