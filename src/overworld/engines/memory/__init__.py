"""An engine whose servers exist only in memory, for tests and benchmarks: a world that can be made to misbehave."""

from overworld.engines.memory.console import MemoryConsole
from overworld.engines.memory.engine import Fault, MemoryEngine
from overworld.engines.memory.world import Behaviour, MemoryWorld

__all__ = ["Behaviour", "Fault", "MemoryConsole", "MemoryEngine", "MemoryWorld"]
