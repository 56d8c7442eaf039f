"""Images: folders, crops, resampling, FFCV files, and the embedded data set."""
