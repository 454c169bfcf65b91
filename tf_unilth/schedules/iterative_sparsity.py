"""IterativeSparsity: the pruning schedule of the ticket algorithms."""

import uuid
from typing import Any

from tf_unilth.argument_checks import check_float, check_int, check_option
from tf_unilth.schedules.engine_class import EngineClass
from tf_unilth.selection import channels, layer_shares, round_sparsity

# Without a ticket callback, the graph contains a table of all rounds.
_MAX_STANDALONE_ROUNDS = 100_000


class IterativeSparsity(EngineClass):
  """Prunes in rounds to a target sparsity.

  Round r = 1 ... R prunes to the sparsity s_r = 1 - (1 - s)^(r / R) (geometric)
  or s_r = s (1 - (1 - r / R)^3) (cubic). Exactly round(s_r * n) of the n
  wrapped weights that share the schedule are then zero. Layers with different
  schedules are ranked separately, each to its own target. A schedule serves one
  model.

  Layers wrapped with tfmot's `block_size` or `sparsity_m_by_n` are pruned by
  blocks or groups. All layers that share a schedule must have the same units.
  Exactly round(s_r * n) of n blocks are pruned, or round(s_r / s * n) of n
  groups. The last round prunes all groups, so the target sparsity must be the
  m / n of `sparsity_m_by_n`.

  With `prune_low_magnitude(model, schedule, structure='channels')`, a target is
  a share of the wrapped weights or of the model's FLOPs, and the fewest whole
  channels go that reach it. The share that is gone is then a little higher.

  With a ticket callback (`UniLTH`, `UniDLTH`, `LTH`, `DLTH`), the callback ends
  the rounds and writes the masks. Without one, and with a `begin_step`, it is
  an ordinary tfmot schedule for `UpdatePruningStep`: round r is at pruning step
  begin_step + (r - 1) * frequency, and tfmot ranks each layer separately.

  Args:
    target_sparsity: s, the fraction of zeros in [0, 1). 0 disables pruning.
      With `sparsity_m_by_n=(m, n)` it is m / n, to six digits, or 0.
    prune_fraction: p, the largest fraction of the remaining weights that a
      round prunes, in (0, 1). Determines the number of rounds.
    rounds: R, at least 1. `None` derives it from `prune_fraction`, with fewer
      rounds if the budget is short. A given number that does not fit the budget
      raises an error in `fit`.
    pace: `'geometric'` or `'cubic'`. `None` is cubic for UniLTH and UniDLTH,
      geometric for LTH and DLTH.
    scope: `'global'` ranks all weights together, `'layer'` prunes each layer to
      the same sparsity, and `'erk'` to the Erdos-Renyi-kernel sparsity. Random
      tickets (UniDLTH, DLTH) are always drawn per layer, so `'global'` is the
      same as `'layer'`. `None` is global for UniLTH and LTH, erk for UniDLTH,
      layer for DLTH.
    begin_step: the pruning step of the first round without a ticket callback,
      at least 1. tfmot counts from 1. `None` requires a ticket callback.
    frequency: pruning steps between rounds without a ticket callback, at least
      1.
    of: what `target_sparsity` is a share of: `'weights'`, or `'flops'`, the
      floating-point operations of a forward pass, which needs
      `structure='channels'`.

  Raises:
    ValueError: an argument is out of range.

  >>> schedule = IterativeSparsity(0.9, rounds=2, begin_step=10, frequency=5)
  >>> [(bool(fire), round(float(sparsity), 3))
  ...  for fire, sparsity in map(schedule, (9, 10, 14, 15, 20))]
  [(False, 0.0), (True, 0.788), (False, 0.788), (True, 0.9), (False, 0.9)]

  Geometric rounds with p = 0.2 are from LTH (Frankle & Carbin 2019), the cubic
  pace is from Zhu & Gupta (2017). The UniLTH paper says only "iterative
  magnitude pruning"; its pace, rounds and scope are this library's choice.
  """

  def __init__(
    self,
    target_sparsity: float,
    prune_fraction: float = 0.2,
    rounds: int | None = None,
    pace: str | None = None,
    scope: str | None = None,
    begin_step: int | None = None,
    frequency: int = 100,
    of: str = 'weights',
  ):
    self._init_engine()
    self.target_sparsity = float(
      check_float('target_sparsity', target_sparsity, '[0, 1)')
    )
    self.prune_fraction = float(
      check_float('prune_fraction', prune_fraction, '(0, 1)')
    )
    self.rounds = check_int('rounds', rounds, 1, none=True)
    self.pace = check_option('pace', pace, round_sparsity.PACES, none=True)
    self.scope = check_option('scope', scope, layer_shares.SCOPES, none=True)
    self.begin_step = check_int('begin_step', begin_step, 1, none=True)
    self.frequency = check_int('frequency', frequency, 1)
    self.of = check_option('of', of, channels.COSTS)
    needed = self.rounds_needed('cubic') if begin_step is not None else 0
    if needed > _MAX_STANDALONE_ROUNDS:
      raise ValueError(
        f'begin_step needs {_MAX_STANDALONE_ROUNDS} rounds at most, but rounds='
        f'{rounds} and prune_fraction={self.prune_fraction} give {needed}.'
      )
    # Identifies the layers that share a schedule when a model is loaded.
    self.group = uuid.uuid4().hex

  def sparsity_at(self, completed: int, rounds: int, pace: str) -> float:
    """Returns the sparsity s_r after a round, in [0, 1).

    Args:
      completed: r, the number of completed rounds, in [0, rounds].
      rounds: R, at least 1.
      pace: the pace if the schedule sets none.
    """
    return round_sparsity.sparsity_at_round(
      self.target_sparsity, completed, rounds, self.pace or pace
    )

  def rounds_needed(self, pace: str) -> int:
    """Returns `rounds`, or the number of rounds that `prune_fraction` needs.

    Args:
      pace: the pace if the schedule sets none.
    """
    return self.rounds or round_sparsity.rounds_needed(
      self.target_sparsity, self.prune_fraction, self.pace or pace
    )

  def with_target(self, target_sparsity: float) -> 'IterativeSparsity':
    """Returns a copy with another target, for layers ranked separately.

    Args:
      target_sparsity: the fraction of zeros in [0, 1).
    """
    arguments = self._arguments() | {'target_sparsity': target_sparsity}
    return IterativeSparsity(**arguments)

  def _arguments(self) -> dict[str, Any]:
    arguments = {
      'target_sparsity': self.target_sparsity,
      'prune_fraction': self.prune_fraction,
      'rounds': self.rounds,
      'pace': self.pace,
      'scope': self.scope,
      'begin_step': self.begin_step,
      'frequency': self.frequency,
    }
    if self.of != 'weights':  # Files of 0.1.0 have no `of`.
      arguments['of'] = self.of
    return arguments

  def get_config(self) -> dict[str, Any]:
    """Returns the registered class name and a config, as tfmot does.

    The config has the arguments and the group, which lets loaded layers share a
    schedule again.
    """
    # With the bare class name that tfmot writes, Keras reloads the schedule as
    # a string, without an error.
    return {
      'class_name': f'tf_unilth>{type(self).__name__}',
      'config': {**self._arguments(), 'group': self.group},
    }

  @classmethod
  def from_config(cls, config: dict[str, Any]) -> Any:
    """Returns a schedule from the result of `get_config`.

    Args:
      config: the result, or only its inner config.
    """
    arguments = dict(config.get('config', config))
    group = arguments.pop('group', None)
    schedule = cls(**arguments)
    if group is not None:
      schedule.group = group
    return schedule
