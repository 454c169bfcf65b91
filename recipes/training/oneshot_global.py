"""One magnitude cut by a ranking over all layers, by our engine."""

import tf_unilth
from recipes.training.method_settings import Settings, TrainingSetup

_BEGIN = 0.5  # As that of `oneshot`.


def setup(settings: Settings) -> TrainingSetup:
  """Returns UniLTH with one round, without plateau, rewind and ramp.

  It is `oneshot` for what tfmot cannot cut, such as whole channels. The cut
  follows the end of an epoch, and all layers are ranked together.

  Args:
    settings: of the run.
  """
  begin = settings.begin_fraction
  begin = _BEGIN if begin is None else begin
  schedule = tf_unilth.IterativeSparsity(
    settings.target_sparsity, rounds=1, **settings.schedule
  )
  without_plateau = {'patience': None, 'max_dense_fraction': begin}
  callback = tf_unilth.UniLTH(
    ramp=tf_unilth.L2Ramp(limit=0),
    finetune_fraction=1.0,
    **(without_plateau if begin else {'pretrained': True}),
    **settings.callback,
  )
  return TrainingSetup(schedule, [callback], callback)
