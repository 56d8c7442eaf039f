"""Nodes that draw single images and write the report."""
