"""A run of W&B's own client with all that sdq sends of one: `wandb_run.py FOLDER`, a git checkout with the files named below."""

import os
import sys
import time

import wandb

os.chdir(sys.argv[1])
run = wandb.init(
    project="parity",
    entity="me",
    id="python",
    name="shown",
    group="g",
    job_type="j",
    notes="n",
    tags=["t"],
    config={"lr": 0.1},
    settings=wandb.Settings(save_code=True, x_stats_sampling_interval=0.1),
)
run.define_metric("step")
run.define_metric("search/loss", step_metric="step")
print("Engine wasm")
run.log({"search/loss": 0.5, "step": 1}, step=1)
run.log({"bits-per-layer": wandb.Table(columns=["layer", "bits"], data=[["conv1", 4]])})
box = {"position": {"minX": 0, "minY": 0, "maxX": 1, "maxY": 1}, "class_id": 0, "box_caption": "a"}
boxes = {"predictions": {"box_data": [box], "class_labels": {0: "a"}}}
run.log({"test-0": wandb.Image("test-0.png", boxes=boxes)})
artifact = wandb.Artifact("strategy", "strategy")
artifact.add_file("strategy.json")
try:
    # Logs it, says that the run uses it, and then asks the server for more than a made-up one knows.
    run.use_artifact(artifact)
except ValueError:
    pass
run.summary["search/meanWeightBits"] = 3.9
time.sleep(0.5)
run.mark_preempting()
run.finish(exit_code=143)
