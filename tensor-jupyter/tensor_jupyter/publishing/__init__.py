"""Publish models, and manage the published versions.

    export        a trained Keras model becomes a version: written, loaded back, its golden samples replayed, one rename
    importing     the same for existing .keras, .h5 and SavedModel files
    release_gate  the thresholds that a version must reach before it is promoted, and the report
    registry      labels, promotion, rollback, retry and deletion, through serving.json
    served        what the gateway lists as served

They use staging, replay, graph, card and serving_settings. Importing this package is cheap; `export`, `importing`,
`release_gate`, `replay` and `graph` import TensorFlow.
"""
