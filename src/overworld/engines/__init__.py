"""Where servers run, behind two ports (base.py): memory (tests), local (processes on this machine)."""
