"""The embedded data set: ten drawn classes, made without any download."""
