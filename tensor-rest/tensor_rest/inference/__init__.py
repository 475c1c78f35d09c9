"""Models, classification and feedback, without HTTP."""
