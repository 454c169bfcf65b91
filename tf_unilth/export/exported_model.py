"""ExportedModel: the report of `export_saved_model`."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ExportedModel:
  """The verified result of `export_saved_model`; prints as a report.

  Args:
    path: the directory of the SavedModel.
    packed: the number of packed weights.
    dense_bytes: the size of all weights and biases in memory.
    stored_bytes: the size of all weights and biases as stored.
    total_bytes: the size of all files.
    zeros: the number of zeros in weights with at least two dimensions.
    zeros_kept: the number of those zeros after loading.
    weight_difference: the largest absolute difference of weights after loading.
    output_difference: the largest absolute difference of outputs after loading;
      `None` if outputs were not compared.
    compared_on: the inputs of the comparison, or why there was none.
    notes: remarks, one sentence each.
  """

  path: str
  packed: int
  dense_bytes: int
  stored_bytes: int
  total_bytes: int
  zeros: int
  zeros_kept: int
  weight_difference: float
  output_difference: float | None
  compared_on: str
  notes: tuple[str, ...] = ()

  @property
  def ratio(self) -> float:
    """The size of the weights in memory divided by their size on disk."""
    return self.dense_bytes / self.stored_bytes if self.stored_bytes else 1.0

  def __str__(self) -> str:
    weights = f'weights differ by at most {self.weight_difference:.2g}'
    outputs = 'outputs not compared'
    if self.output_difference is not None:
      outputs = f'outputs differ by at most {self.output_difference:.2g}'
    return '\n'.join(
      (
        f'{self.path}: {self.total_bytes:,} bytes, verified by loading it',
        f'weights: {self.dense_bytes:,} bytes dense, {self.stored_bytes:,} '
        f'stored{self._ratio_text()}; {self._packed_text()}',
        f'zeros: {self.zeros_kept:,} of {self.zeros:,} kept; '
        + (
          weights if self.weight_difference else 'weights the same to the bit'
        ),
        f'{outputs} ({self.compared_on})',
        *(f'note: {note}' for note in self.notes),
      )
    )

  def _ratio_text(self) -> str:
    return f', {self.ratio:.3g} times smaller' if self.ratio > 1.05 else ''

  def _packed_text(self) -> str:
    if self.packed:
      return f'{self.packed} packed'
    return 'none packed' + ('' if self.zeros else ': there are no zeros')
