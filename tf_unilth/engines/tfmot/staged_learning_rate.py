"""Makes StagedLearningRate a learning-rate schedule of tf_keras."""

from tf_unilth.engines import tensorflow_rate
from tf_unilth.engines.tfmot.keras_access import keras, register
from tf_unilth.schedules.staged_learning_rate import StagedLearningRate

StagedLearningRate.join(
  'tf_keras',
  keras.optimizers.schedules.LearningRateSchedule,
  tensorflow_rate.rate,
)
register(StagedLearningRate)
# HDF5 files and SavedModels store the class name of an optimizer's schedule
# without its package.
keras.utils.get_custom_objects()['StagedLearningRate'] = StagedLearningRate
