"""The fields of a ticket, as they go between a model, a ticket and a file."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class TicketData:
  """The fields of a ticket, not checked.

  Args:
    masks: boolean masks by kernel name, True where a weight is kept.
    rewind_weights: values by weight name; `None` if there are none.
    method: the name of the method that made the ticket, if it is known.
    seed: the seed of a random ticket, at least 0.
    provenance: further facts about the ticket, as JSON can hold them.
  """

  masks: Mapping[str, np.ndarray]
  rewind_weights: Mapping[str, np.ndarray] | None
  method: str | None
  seed: int | None
  provenance: Mapping[str, Any]
