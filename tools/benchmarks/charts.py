"""Bars of medians, with lines from the lowest to the highest sample: a file for each part, as SVG and as PNG."""

import os


def draw(works, summary, folder):
    """The files that were written; none, with a message, where matplotlib is missing."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        print("no charts: matplotlib is missing (Debian package python3-matplotlib)")
        return []
    written = []
    for part in dict.fromkeys(work.part for work in works):
        charts = []
        for work in (w for w in works if w.part == part and w.chart):
            entries = [e for e in summary if e["work"] == work.name and e["metric"] == work.chart]
            if entries:
                charts.append((work, entries))
        if charts:
            written += _draw_part(pyplot, part, charts, folder)
    return written


def _draw_part(pyplot, part, charts, folder):
    figure, axes = pyplot.subplots(
        len(charts), 1, figsize=(9, 2.6 * len(charts)), squeeze=False, layout="constrained"
    )
    for axis, (work, entries) in zip(axes[:, 0], charts):
        entries = entries[::-1]  # the first one on top
        medians = [e["median"] for e in entries]
        below = [e["median"] - e["min"] for e in entries]
        above = [e["max"] - e["median"] for e in entries]
        colours = ["C0" if e["system"].startswith("thole") else "C7" for e in entries]
        axis.barh([e["system"] for e in entries], medians, color=colours, xerr=[below, above])
        axis.set_title(f"{work.name}: {work.chart}, {entries[0]['unit']}", fontsize="medium")
        axis.set_xlim(left=0)
    files = [os.path.join(folder, f"{part}.{kind}") for kind in ("svg", "png")]
    for file in files:
        figure.savefig(file)
    pyplot.close(figure)
    return files
