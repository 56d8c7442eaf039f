"""Starts worker processes, alone or under torchrun, receives their events, and ends them."""
