"""Lottery tickets for Keras models, found or made, on tfmot's pruning API."""

import importlib
from typing import TYPE_CHECKING, Any

from tf_unilth.engines import import_hook as _import_hook

if TYPE_CHECKING:
  from tf_unilth.algorithms.dlth import DLTH
  from tf_unilth.algorithms.lth import LTH
  from tf_unilth.algorithms.ticket_checkpoint import TicketCheckpoint
  from tf_unilth.algorithms.ticket_early_stopping import TicketEarlyStopping
  from tf_unilth.algorithms.unilth import UniDLTH, UniLTH
  from tf_unilth.compression.shrink import shrink
  from tf_unilth.compression.shrink_report import ShrinkReport, shrink_report
  from tf_unilth.engines.kernel_sparsity import SparsitySummary
  from tf_unilth.engines.pruning_api import (
    prune_low_magnitude,
    sparsity_summary,
    strip_pruning,
  )
  from tf_unilth.engines.tfmot.pruning_wrapper import PruneLowMagnitude
  from tf_unilth.export.export_saved_model import export_saved_model
  from tf_unilth.export.export_tflite import export_tflite
  from tf_unilth.export.exported_model import ExportedModel
  from tf_unilth.files.checkpoint_errors import (
    CheckpointError,
    DirectoryInUseError,
  )
  from tf_unilth.files.directory_lock import DirectoryLock
  from tf_unilth.resume.checkpoint_and_resume import CheckpointAndResume
  from tf_unilth.schedules.fixed_mask import FixedMask
  from tf_unilth.schedules.iterative_sparsity import IterativeSparsity
  from tf_unilth.schedules.l2_ramp import L2Ramp
  from tf_unilth.schedules.staged_learning_rate import StagedLearningRate
  from tf_unilth.tickets.ticket import Ticket
  from tf_unilth.tickets.ticket_file import TicketFileError

# The module of each public name, imported when the name is first used.
_MODULES = {
  'DLTH': 'algorithms.dlth',
  'LTH': 'algorithms.lth',
  'CheckpointAndResume': 'resume.checkpoint_and_resume',
  'CheckpointError': 'files.checkpoint_errors',
  'DirectoryInUseError': 'files.checkpoint_errors',
  'DirectoryLock': 'files.directory_lock',
  'ExportedModel': 'export.exported_model',
  'FixedMask': 'schedules.fixed_mask',
  'IterativeSparsity': 'schedules.iterative_sparsity',
  'L2Ramp': 'schedules.l2_ramp',
  'PruneLowMagnitude': 'engines.tfmot.pruning_wrapper',
  'ShrinkReport': 'compression.shrink_report',
  'SparsitySummary': 'engines.kernel_sparsity',
  'StagedLearningRate': 'schedules.staged_learning_rate',
  'Ticket': 'tickets.ticket',
  'TicketCheckpoint': 'algorithms.ticket_checkpoint',
  'TicketEarlyStopping': 'algorithms.ticket_early_stopping',
  'TicketFileError': 'tickets.ticket_file',
  'UniDLTH': 'algorithms.unilth',
  'UniLTH': 'algorithms.unilth',
  'export_saved_model': 'export.export_saved_model',
  'export_tflite': 'export.export_tflite',
  'prune_low_magnitude': 'engines.pruning_api',
  'shrink': 'compression.shrink',
  'shrink_report': 'compression.shrink_report',
  'sparsity_summary': 'engines.pruning_api',
  'strip_pruning': 'engines.pruning_api',
}

__all__ = [
  'DLTH',
  'LTH',
  'CheckpointAndResume',
  'CheckpointError',
  'DirectoryInUseError',
  'DirectoryLock',
  'ExportedModel',
  'FixedMask',
  'IterativeSparsity',
  'L2Ramp',
  'PruneLowMagnitude',
  'ShrinkReport',
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
  'shrink',
  'shrink_report',
  'sparsity_summary',
  'strip_pruning',
]


# Keras must know the classes that files of wrapped models name.
_import_hook.install()


def __getattr__(name: str) -> Any:
  if name not in _MODULES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  module = importlib.import_module(f'{__name__}.{_MODULES[name]}')
  value = globals()[name] = getattr(module, name)
  return value


def __dir__() -> list[str]:
  return sorted(__all__)
