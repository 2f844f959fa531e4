"""What a model says of images that it has not been evaluated on, and whether these are like those that it has."""
