"""Pages to read in a browser: one file each, without scripts and external resources.

    run        a run of the pipeline: decision, curves, mistakes, lineage; and its record, which `compare` reads
    compare    versions and runs side by side
    charts     drawn by matplotlib, as SVG that follows the page's light and dark colours
    render     the templates, by Jinja with everything escaped

The pages of runs and of drift are in `<LAB_DATA>/reports/<model>/`, which JupyterLab shows as `reports`; that of a
comparison is written where the user wants it. Only `compare` imports TensorFlow, to read the versions' cards.
"""
