"""The node that scores generated images against real ones."""
