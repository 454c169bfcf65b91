"""Lottery tickets for Keras models, found or made, on tfmot's pruning API."""

from tf_unilth.checkpoint import TicketCheckpoint
from tf_unilth.checkpoint_file import CheckpointError
from tf_unilth.directory_lock import DirectoryInUseError
from tf_unilth.dlth import DLTH
from tf_unilth.early_stopping import TicketEarlyStopping
from tf_unilth.export import export_saved_model
from tf_unilth.fixed_mask import FixedMask
from tf_unilth.learning_rate import StagedLearningRate
from tf_unilth.lth import LTH
from tf_unilth.prune import prune_low_magnitude
from tf_unilth.regularization import L2Ramp
from tf_unilth.resume import CheckpointAndResume
from tf_unilth.sparsity_schedule import IterativeSparsity
from tf_unilth.strip import strip_pruning
from tf_unilth.summary import SparsitySummary, sparsity_summary
from tf_unilth.tflite import export_tflite
from tf_unilth.ticket import Ticket
from tf_unilth.ticket_file import TicketFileError
from tf_unilth.unilth import UniDLTH, UniLTH
from tf_unilth.verification import ExportedModel
from tf_unilth.wrapper import PruneLowMagnitude

__all__ = [
  'DLTH',
  'LTH',
  'CheckpointAndResume',
  'CheckpointError',
  'DirectoryInUseError',
  'ExportedModel',
  'FixedMask',
  'IterativeSparsity',
  'L2Ramp',
  'PruneLowMagnitude',
  'SparsitySummary',
  'StagedLearningRate',
  'Ticket',
  'TicketCheckpoint',
  'TicketEarlyStopping',
  'TicketFileError',
  'UniDLTH',
  'UniLTH',
  'export_saved_model',
  'export_tflite',
  'prune_low_magnitude',
  'sparsity_summary',
  'strip_pruning',
]
