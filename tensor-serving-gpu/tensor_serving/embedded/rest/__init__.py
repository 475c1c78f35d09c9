"""TensorFlow Serving's REST API: HTTP/1.1 and JSON in front of the same models gRPC serves.

http        bounds on a request's head, which uvicorn lacks
app         the ASGI application: bounds on bodies, memory and time, gzip, errors as JSON
routes      the paths
bodies      how large a body may be, and decompressing it
json_parse  a body as a document, bounded
json_in     a document's tensors, without Python work per element
json_out    tensors and results as JSON
examples    the tf.Examples of classify and regress
status      the responses to GET
"""
