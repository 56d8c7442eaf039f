"""Starts worker processes, alone or under torchrun, hears what they say, and ends them."""
