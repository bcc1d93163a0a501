"""Programs compiled ahead of time for accelerators that are not here, and what they would cost there."""
