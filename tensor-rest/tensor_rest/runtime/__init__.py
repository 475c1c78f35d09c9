"""What all layers may use: request context, responses, threads and greenlets. It knows no route and no model."""
