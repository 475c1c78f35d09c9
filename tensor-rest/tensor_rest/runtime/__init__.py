"""What all layers may use: the request's context, answers, threads and greenlets. It knows no route and no model."""
