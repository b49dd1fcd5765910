"""Prints the names that MLflow's own monitors log, as JSON. The one of GPUs runs on a stand-in for pynvml, with one GPU."""
import json
import sys
import types

import mlflow.system_metrics.metrics.gpu_monitor as gpu
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

memory, rates = types.SimpleNamespace(used=1, total=2), types.SimpleNamespace(gpu=1)
gpu.pynvml = sys.modules['pynvml'] = types.SimpleNamespace(
    NVMLError=OSError,
    nvmlInit=lambda: None,
    nvmlDeviceGetCount=lambda: 1,
    nvmlDeviceGetHandleByIndex=lambda index: index,
    nvmlDeviceGetMemoryInfo=lambda handle: memory,
    nvmlDeviceGetUtilizationRates=lambda handle: rates,
    nvmlDeviceGetPowerUsage=lambda handle: 1,
    nvmlDeviceGetEnforcedPowerLimit=lambda handle: 2,
)
names = []
for monitor in (CPUMonitor(), DiskMonitor(), NetworkMonitor(), gpu.GPUMonitor()):
    monitor.collect_metrics()
    names += monitor.aggregate_metrics()
print(json.dumps(names))
