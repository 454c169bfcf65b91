"""Resuming a `fit` of a tf_keras model."""

from tf_unilth.engines import private_name_check as _private_name_check

_private_name_check.check(
  'resume/tfmot', 'resume', of=('tensorflow', 'tf_keras')
)
