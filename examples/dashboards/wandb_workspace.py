"""Makes a W&B workspace for the runs of sdq, as a saved view of the project.

    pip install wandb-workspaces==0.4.13
    python wandb_workspace.py --entity ME --project sdq

The key is that of `wandb login` or WANDB_API_KEY. Metric names are those of docs/tracking.md
(`metricNames: quantity`, the default). `--print` writes the view as JSON and asks no server.
"""

import argparse

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

BUDGETS = {
    "sizeKiB": "Size of the weights (KiB)",
    "bops": "Bit operations",
    "latencyMs": "Latency (ms, modelled)",
    "energyUj": "Energy (µJ, modelled)",
}


def line(title, y, **settings):
    """Lines over the optimizer step. y: names of metrics, or one regular expression."""
    metrics = {"metric_regex": y} if isinstance(y, str) else {"y": y}
    return wr.LinePlot(title=title, x="step", title_x="optimizer step", **metrics, **settings)


def scatter(title, x, y):
    """One point for each run. x, y: names of the summary, or wr.Config."""
    return wr.ScatterPlot(title=title, x=x, y=y)


def sections(metric):
    """metric: the primary metric of the task."""
    validation = "validation" + metric[0].upper() + metric[1:]
    result = f"train/{metric}/test"
    mean_bits, target = "search/meanWeightBits", wr.Config("search.target.meanWeightBits")
    bits = (0, 9)
    return [
        ws.Section(
            name="Bits of each layer",
            is_open=True,
            panels=[
                line("Bits of the weights", "^dbp/bits/.*", range_y=bits),
                line("Bits of the input", "^dbp/activationBits/.*", range_y=bits),
                line("β: probability that a layer keeps its bits", "^dbp/(beta|activationBeta)/.*", range_y=(0, 1)),
                wr.MediaBrowser(title="Bits per layer", media_keys=["bits-chart"]),
            ],
        ),
        ws.Section(
            name="Accuracy over cost",
            is_open=True,
            panels=[scatter("Accuracy over mean bits", mean_bits, result)]
            + [scatter(f"Accuracy over {name}", f"search/{budget}/committed", result) for budget, name in BUDGETS.items()],
        ),
        ws.Section(
            name="Targets kept",
            is_open=True,
            panels=[
                line(
                    "Mean bits: at the end no line is above the target",
                    ["search/committedMeanBits", "search/expectedMeanBits", "search/scheduledMeanBits"],
                ),
                scatter("Mean bits over their target: above the diagonal is missed", target, mean_bits),
                line("Price of a mean bit (λ)", ["search/lambda"]),
                line("Temperature (τ)", ["search/tau"]),
            ]
            + [line(name, f"^search/{budget}/(committed|expected|scheduled)$") for budget, name in BUDGETS.items()],
        ),
        ws.Section(
            name="Training",
            panels=[
                line("Loss", ["pretrain/loss", "search/loss", "train/loss"]),
                line("Validation", [f"pretrain/{validation}", f"train/{validation}"]),
                line("Learning rate", ["pretrain/learningRate", "train/learningRate"]),
                line("Images per second", "^(pretrain|search|train)/imagesPerSecond$"),
            ],
        ),
    ]


def workspace(entity, project, metric):
    """metric: accuracy, or map50 of detection, mse of regression."""
    columns = [
        f"summary:fullPrecision/{metric}",
        f"summary:train/{metric}/test",
        "summary:search/meanWeightBits",
        "config:search.value.target.meanWeightBits",
        "summary:search/compression",
    ]
    return ws.Workspace(
        name="sdq",
        entity=entity,
        project=project,
        sections=sections(metric),
        settings=ws.WorkspaceSettings(x_axis="step", group_by_prefix="first"),
        runset_settings=ws.RunsetSettings(pinned_columns=columns),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make a W&B workspace for the runs of sdq.")
    parser.add_argument("--entity", required=True, help="user or team")
    parser.add_argument("--project", default="sdq")
    parser.add_argument("--metric", default="accuracy", help="of the task: accuracy, map50 or mse")
    parser.add_argument("--print", action="store_true", help="write the view as JSON and ask no server")
    args = parser.parse_args()
    view = workspace(args.entity, args.project, args.metric)
    if args.print:
        print(view._to_model().spec.model_dump_json(by_alias=True, exclude_none=True, indent=2))
    else:
        print(view.save().url)
