"""What an operator does to an installation at its own machine: bring it back, change its keys, set up its bucket."""

from overworld.upkeep.b2_commands import b2
from overworld.upkeep.recovery_commands import recover, recovery

COMMANDS = (recover, recovery, b2)
