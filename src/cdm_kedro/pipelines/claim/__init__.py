"""Nodes that test the paper's claim: a cascade against one model of the same training compute."""
