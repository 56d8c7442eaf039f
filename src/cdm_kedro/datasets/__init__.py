"""Kedro datasets. Saves are atomic: a path under data/ holds a finished file or nothing."""

from cdm_kedro.datasets.files import FileDataset, FolderDataset, ImageDataset
from cdm_kedro.datasets.text import CurveDataset, JSONDataset, TextDataset

__all__ = ["CurveDataset", "FileDataset", "FolderDataset", "ImageDataset", "JSONDataset", "TextDataset"]
