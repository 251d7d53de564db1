"""What an operator does to an installation at its own machine: bring it back, change its keys, set up its bucket."""

from overworld.upkeep.b2_commands import b2
from overworld.upkeep.recovery_commands import recover, recovery
from overworld.upkeep.save_keys_commands import save_keys

COMMANDS = (recover, recovery, save_keys, b2)
