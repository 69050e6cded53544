"""What goes wrong while a devnet is built or run, told to a person."""

from __future__ import annotations


class DevnetError(Exception):
    """A devnet can not go on; the text names the cause and, after a semicolon, the mend."""
