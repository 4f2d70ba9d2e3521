"""The command line: one thin file per command group, shared options declared once."""
