"""The node that bounds the bits per dimension of real images."""
