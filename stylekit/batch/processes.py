"""Several processes on one list of work, as ``accelerate launch`` or torchrun started them; on one machine or many."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process is number `index` of `count`."""

    index: int = 0
    count: int = 1

    def wait(self) -> None:
        """For the others to come here too."""
        self.gather(None)

    def gather(self, said: Any) -> list[Any]:
        """What every process has to say here, in their order; all of them learn it. It must be small, and picklable."""
        if self.count == 1:
            return [said]
        from accelerate.utils import gather_object

        return gather_object([said])


@contextmanager
def processes() -> Iterator[Processes]:
    """Those that were started together; one, where nothing says otherwise."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    try:
        yield Processes(index=state.process_index, count=state.num_processes)
    finally:
        state.destroy_process_group()
