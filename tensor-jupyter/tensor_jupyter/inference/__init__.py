"""Labels of pictures from a model: the one that is served, or one loaded here; and how well it answers.

`remote` calls the gateway, `local` loads a version into this process; both take and answer the same. `stream`
feeds them files in their order, `evaluation` measures the served one with labelled pictures, `report` shows that.
"""
