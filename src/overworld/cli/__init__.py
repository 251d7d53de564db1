"""The command line: speaks HTTP only. A command's module, and what is slow to import, is imported when it runs."""
