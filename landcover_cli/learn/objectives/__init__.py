"""Training objectives; one file each, each an ``Objective`` with setup, step, on_epoch_end."""
