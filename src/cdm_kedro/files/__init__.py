"""Files written whole or not at all, their hashes, .npz archives and CSV tables."""
