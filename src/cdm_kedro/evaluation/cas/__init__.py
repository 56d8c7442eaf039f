"""Classification Accuracy Score: how well a classifier trained on generated images knows real ones."""
