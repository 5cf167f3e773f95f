# Copied from translator/prompt/error.py by tools/pack_shared.py: edit it there.
"""What is wrong with a prompt, and how far one may go."""

DEEPEST = 200
"""Brackets that may be open at once. A1111 has no limit; there 200 round ones weigh 1.9e8."""

LONGEST_SCHEDULE = 2_000_000
"""Characters of all texts that a schedule makes of one part of a prompt."""


class PromptError(ValueError):
    """A prompt on which A1111 itself fails, or beyond all bounds; the message says why."""
