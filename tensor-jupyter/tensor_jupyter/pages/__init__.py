"""Pages to read in a browser: one file each, without scripts and external resources.

    run        a run of the pipeline: decision, curves, mistakes, lineage; and its record, which `compare` reads
    compare    versions and runs side by side
    charts     drawn by matplotlib, as SVG that follows the page's light and dark colours
    render     the templates, by Jinja with everything escaped

They lie in `<LAB_DATA>/reports/<model>/`, which JupyterLab shows as `reports`. TensorFlow is not imported here.
"""
