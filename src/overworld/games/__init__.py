"""The catalogue: games as data files, their schema, config-file writers, launch rendering and query protocols."""
