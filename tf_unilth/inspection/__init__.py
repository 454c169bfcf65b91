"""What a file contains, and how two files differ.

`import tf_unilth` does not import it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tf_unilth.engines import private_name_check

if TYPE_CHECKING:
  from tf_unilth.inspection.command import main
  from tf_unilth.inspection.contents import Contents
  from tf_unilth.inspection.kernels import KernelValues, read_kernels
  from tf_unilth.inspection.output_comparison import compare_outputs
  from tf_unilth.inspection.readers import (
    UnreadableError,
    kind_of,
    read,
    with_read_errors,
  )
  from tf_unilth.inspection.ticket_comparison import compare_tickets
  from tf_unilth.inspection.weight_mismatch import weight_mismatch

# The module of each public name, imported when the name is first used.
_MODULES = {
  'Contents': 'contents',
  'KernelValues': 'kernels',
  'UnreadableError': 'readers',
  'compare_outputs': 'output_comparison',
  'compare_tickets': 'ticket_comparison',
  'kind_of': 'readers',
  'main': 'command',
  'read': 'readers',
  'read_kernels': 'kernels',
  'weight_mismatch': 'weight_mismatch',
  'with_read_errors': 'readers',
}

__all__ = [
  'Contents',
  'KernelValues',
  'UnreadableError',
  'compare_outputs',
  'compare_tickets',
  'kind_of',
  'main',
  'read',
  'read_kernels',
  'weight_mismatch',
  'with_read_errors',
]


def __getattr__(name: str) -> Any:
  if name not in _MODULES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  if _MODULES[name] in ('command', 'readers'):  # They import TensorFlow.
    private_name_check.check('inspection', of=('tensorflow',))
  module = importlib.import_module(f'{__name__}.{_MODULES[name]}')
  value = globals()[name] = getattr(module, name)
  return value
