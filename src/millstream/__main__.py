"""``python -m millstream``."""

from millstream.cli.app import command

command()
