"""TensorFlow Serving's REST API: HTTP/1.1 and JSON in front of the same models the gRPC door serves.

http         a bound on a request's head, which uvicorn lacks
app          the ASGI application: bounds on bodies, memory and time, gzip, errors as JSON
routes       what the paths mean
bodies       how large a body may be, and unpacking one
json_in      a body's tensors, without Python work per element
json_strict  the same element by element: says what is wrong with a value, in the real server's words
json_out     tensors and results as JSON
examples     the tf.Examples of classify and regress
status       what GET answers
"""
