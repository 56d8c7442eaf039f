from tiny_cascade import models, one_thread, real

__all__ = ["models", "one_thread", "real"]
