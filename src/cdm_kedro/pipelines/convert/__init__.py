"""The node that converts published weights into a model of the cascade."""
