"""Bodies to arrays and back: JSON, forms, zips, .npy, tf.Example."""
