"""Files written whole or not at all, their hashes, and .npz archives."""
