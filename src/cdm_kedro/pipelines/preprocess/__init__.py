"""Crops an image folder and stores it as FFCV files at every resolution."""
