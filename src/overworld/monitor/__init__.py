"""The monitor: asks running games who plays, reads what they use, writes activity and usage; decides nothing."""
