"""One file per proof system."""
