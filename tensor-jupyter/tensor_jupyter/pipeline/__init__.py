"""The pipeline from data to a tested, served model: one table of steps, run here by doit, or by Argo Workflows.

    steps        the table: what each step needs, reads, writes and depends on; the only definition of the graph
    parameters   the settings of all steps, from pipeline.yaml, the environment and flags
    stamps       hashes of inputs, outputs, parameters, command and release: whether a step has to run, and why
    external     what a step depends on, or has left, outside the pipeline's folder
    execute      one step: lock, staging folder, body, stamp, rename
    runner       all steps by doit, branches in parallel, with a summary
    checks       the checks of the gate, each with its threshold
    bodies       what the steps do

Importing this package is cheap; the bodies import TensorFlow.
"""
