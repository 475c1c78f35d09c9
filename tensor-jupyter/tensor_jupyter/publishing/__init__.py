"""From a model to one that is served, and what happens to it afterwards.

    export      a trained Keras model becomes a version: written, loaded back, its golden samples replayed, one rename
    importing   the same for .keras, .h5 and SavedModel files that people have
    gate        the numbers a version has to reach before it is promoted, and the report of them
    registry    labels, promotion, rollback, retry and deletion, through serving.json
    served      what the gateway lists as served

below them: staging, replay, graph, card, serving_settings. Importing this package is cheap; `export`, `importing`,
`release_gate`, `replay` and `graph` bring TensorFlow.
"""
