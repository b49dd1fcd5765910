/** The load of the machine under the names of MLflow's system metrics (3.17), and this process beside it. */
import type {SystemSample} from '../../../plugin-api/tracker.ts';
import {namedFigures, type FigureName} from '../../../tracking/named-figures.ts';
import type {Entry} from './entries.ts';

const megabyte = 1e6;

/** Below `system/`. Those of the process are ours. */
const figures: readonly FigureName[] = [
  ['cpu_utilization_percentage', 'cpuPercent', 1],
  ['system_memory_usage_megabytes', 'memoryUsedBytes', megabyte],
  ['system_memory_usage_percentage', 'memoryPercent', 1],
  ['disk_usage_percentage', 'diskPercent', 1],
  ['disk_usage_megabytes', 'diskUsedBytes', megabyte],
  ['disk_available_megabytes', 'diskAvailableBytes', megabyte],
  ['network_receive_megabytes', 'networkReceivedBytes', megabyte],
  ['network_transmit_megabytes', 'networkSentBytes', megabyte],
  ['gpu_N_memory_usage_percentage', 'gpu.N.memoryPercent', 1],
  ['gpu_N_memory_usage_megabytes', 'gpu.N.memoryBytes', megabyte],
  ['gpu_N_utilization_percentage', 'gpu.N.percent', 1],
  ['gpu_N_power_usage_watts', 'gpu.N.powerWatts', 1],
  ['gpu_N_power_usage_percentage', 'gpu.N.powerPercent', 1],
  ['process_cpu_utilization_percentage', 'processCpuPercent', 1],
  ['process_memory_usage_megabytes', 'processMemoryBytes', megabyte],
];

/**
 * The step is the second of the run: it grows over processes that resume the run without anything to remember.
 * @param startedAt milliseconds since 1970-01-01 UTC
 */
export function systemEntries({metrics, ts}: SystemSample, startedAt: number): readonly Entry[] {
  const step = Math.max(0, Math.round((ts - startedAt) / 1000));
  return Object.entries(namedFigures(figures, metrics)).map(([name, value]) => ({
    list: 'metrics',
    item: {key: `system/${name}`, value, timestamp: ts, step},
  }));
}
