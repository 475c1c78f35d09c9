"""What a model says of images, without HTTP and without Flask."""
