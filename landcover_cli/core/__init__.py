"""Values and pure functions that every room shares: types, grid, digests, windows. No file is opened here."""
