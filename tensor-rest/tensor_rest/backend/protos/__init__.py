"""TensorFlow Serving's wire without TensorFlow: our own messages with its field numbers, and tensors to and from NumPy.

The rule of this folder: it knows bytes and arrays, never HTTP, models' meaning or settings.
"""
