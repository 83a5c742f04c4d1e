"""Runs the cells of a notebook in order, as Jupyter would, and tells as JSON what examples/explore.ipynb found."""

import contextlib
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

notebook = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
for cell in cells:
    # What one person's photos gave is nothing for everybody's copy of it.
    assert cell["outputs"] == [] and cell["execution_count"] is None, cell["id"]

found = {}
with contextlib.redirect_stdout(sys.stderr):
    for cell in cells:
        exec(compile("".join(cell["source"]), cell["id"], "exec"), found)

print(
    json.dumps(
        {
            "rows": len(found["results"]),
            "by_label": found["counts"].to_dict(),
            "by_label_and_cluster": int(found["labels_by_clusters"].to_numpy().sum()),
            "on_the_map": None if found["places"] is None else len(found["places"]),
            "photo": found["PHOTO"],
            "most_alike": found["most_alike"][["path", "similarity"]].to_dict("records"),
            "kept": found["kept"],
            "shares": found["shares"].tolist(),
            "figures": len(plt.get_fignums()),
        }
    )
)
