"""Files, stages and checkpoints on disk, each guarded by its digest."""
