/** The load of the machine under the names of W&B's system charts. */
import {namedFigures, type FigureName} from '../../../tracking/named-figures.ts';

const mebibyte = 2 ** 20;
const gibibyte = 2 ** 30;

/** Below `system.`. */
const figures: readonly FigureName[] = [
  // W&B's `cpu` is that of the process, as a share of all cores.
  ['cpu', 'processCpuPercent', 1],
  ['cpu.all.cpu_percent', 'cpuPercent', 1],
  ['memory_percent', 'memoryPercent', 1],
  ['proc.memory.availableMB', 'memoryAvailableBytes', mebibyte],
  ['proc.memory.rssMB', 'processMemoryBytes', mebibyte],
  ['proc.memory.percent', 'processMemoryPercent', 1],
  ['disk./.usagePercent', 'diskPercent', 1],
  ['disk./.usageGB', 'diskUsedBytes', gibibyte],
  ['network.sent', 'networkSentBytes', 1],
  ['network.recv', 'networkReceivedBytes', 1],
  ['gpu.N.gpu', 'gpu.N.percent', 1],
  ['gpu.N.memoryAllocated', 'gpu.N.memoryPercent', 1],
  ['gpu.N.memoryAllocatedBytes', 'gpu.N.memoryBytes', 1],
  ['gpu.N.powerWatts', 'gpu.N.powerWatts', 1],
  ['gpu.N.powerPercent', 'gpu.N.powerPercent', 1],
  ['gpu.N.temp', 'gpu.N.celsius', 1],
];

/** @param metrics of `systemMetrics`; figures that it lacks are left out */
export const systemValues = (metrics: Readonly<Record<string, number>>): Readonly<Record<string, number>> =>
  namedFigures(figures, metrics);

/** A line of the stream of system metrics. @param ts, startedAt milliseconds since 1970-01-01 UTC */
export function systemLine(values: Readonly<Record<string, number>>, ts: number, startedAt: number): string {
  const named = Object.fromEntries(Object.entries(values).map(([name, value]) => [`system.${name}`, value]));
  return JSON.stringify({_wandb: true, _timestamp: ts / 1000, _runtime: Math.max(0, ts - startedAt) / 1000, ...named});
}
