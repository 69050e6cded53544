"""Writes the generated parts of the documentation: `python -m scripts.diagrams`."""

from __future__ import annotations

from pathlib import Path

from protocol.rounds.phases import mermaid

ROUNDS = Path(__file__).resolve().parents[1] / "docs" / "rounds.md"
BEGIN = "<!-- generated from protocol/rounds/phases.py: begin -->\n"
END = "<!-- generated: end -->\n"


def with_diagram(page: str) -> str:
    """The page with its state diagram drawn anew."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}```mermaid\n{mermaid()}```\n{END}{after}"


if __name__ == "__main__":
    ROUNDS.write_text(with_diagram(ROUNDS.read_text()))
