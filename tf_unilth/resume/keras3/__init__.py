"""Resuming a `fit` of a Keras 3 model, on any backend."""

from tf_unilth.engines import private_name_check as _private_name_check

_private_name_check.check('resume/keras3', 'resume', of=('keras',))
