"""KernelEncoding: how a TFLite file stores and runs a kernel, in words."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class KernelEncoding:
  """How a TFLite file stores and runs one kernel.

  Args:
    name: the name of the kernel, as in `sparsity_summary`.
    sparsity: the fraction of its weights that are zero, in [0, 1].
    encoding: `'sparse 1x4'` if blocks of 4 inputs that are zero are skipped
      (`'sparse 1x16'` in int8); `'dense speed'` if it is stored sparse but
      decoded when the file is loaded; `'dense'`; or `'not found'` if the
      converter has split or rewritten it.
    reason: why it is not faster, and what would be; may be empty.
    zeros_kept: the number of the kernel's zeros that the file has; `None` if
      it is not found.
  """

  name: str
  sparsity: float
  encoding: str
  reason: str = ''
  zeros_kept: int | None = None


def encoding_lines(kernels: Sequence[KernelEncoding]) -> list[str]:
  """Returns a line per encoding and reason, with the kernels that have it.

  Args:
    kernels: as `find_kernels` returns them.

  >>> encoding_lines([KernelEncoding('a', 0.9, 'sparse 1x4'),
  ...   KernelEncoding('b', 0.1, 'dense', 'it has few zeros')])
  ['sparse 1x4: a', 'dense: b (it has few zeros)']
  """
  groups: dict[tuple[str, str], list[str]] = {}
  for kernel in kernels:
    group = groups.setdefault((kernel.encoding, kernel.reason), [])
    group.append(kernel.name)
  return [
    f'{encoding}: {_shortened(names)}' + (f' ({reason})' if reason else '')
    for (encoding, reason), names in groups.items()
  ]


def _shortened(names: list[str], most: int = 6) -> str:
  if len(names) <= most:
    return ', '.join(names)
  return f'{", ".join(names[: most - 1])} and {len(names) - most + 1} more'
