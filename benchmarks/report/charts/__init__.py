"""The report's figures, one kind a file, drawn by Matplotlib.

Matplotlib writes crisp SVG of some kilobytes that needs no script; interactive libraries (Plotly, Bokeh)
would put megabytes of JavaScript into a page that is to be read in ten years.
"""
