"""Gradual magnitude pruning by a ranking over all layers, by our engine."""

import tf_unilth
from recipes.training.method_settings import (
  GRADUAL_UPDATES,
  Settings,
  TrainingSetup,
)


def setup(settings: Settings) -> TrainingSetup:
  """Returns UniLTH without plateau, rewind and ramp.

  What is left is the gradual pruning of Zhu & Gupta (2017), with the cubic pace
  s_i = s (1 - (1 - i / n)^3), in rounds of equal length, but for the ranking:
  all layers are ranked together, as UniLTH ranks them. So this is what the
  other parts of UniLTH have to improve. Pruning begins at the end of an epoch.

  Args:
    settings: of the run.

  Raises:
    ValueError: it would end before it begins.
  """
  begin, end = settings.gradual_span
  # At least two steps each, of which an epoch's end may take one.
  rounds = max(1, int((end - begin) * settings.steps / 2))
  rounds = min(rounds, GRADUAL_UPDATES)
  schedule = tf_unilth.IterativeSparsity(
    settings.target_sparsity, **{'rounds': rounds, **settings.schedule}
  )
  without_plateau = {'patience': None, 'max_dense_fraction': begin}
  callback = tf_unilth.UniLTH(
    ramp=tf_unilth.L2Ramp(limit=0),
    finetune_fraction=(1 - end) / (1 - begin),
    **(without_plateau if begin else {'pretrained': True}),
    **settings.callback,
  )
  return TrainingSetup(schedule, [callback], callback)
