/** The load of the machine under the names of W&B's system charts. */

const mebibyte = 2 ** 20;

/** Name at W&B, below `system.`; name of the figure; what it is divided by. */
const figures: readonly (readonly [string, string, number])[] = [
  // W&B's `cpu` is that of the process, as a share of all cores.
  ['cpu', 'processCpuPercent', 1],
  ['cpu.all.cpu_percent', 'cpuPercent', 1],
  ['memory_percent', 'memoryPercent', 1],
  ['proc.memory.availableMB', 'memoryAvailableBytes', mebibyte],
  ['proc.memory.rssMB', 'processMemoryBytes', mebibyte],
  ['proc.memory.percent', 'processMemoryPercent', 1],
];

/** @param metrics of `systemMetrics`; figures that it lacks are left out */
export function systemValues(metrics: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return Object.fromEntries(
    figures.flatMap(([name, figure, divisor]): [string, number][] => {
      const value = metrics[figure];
      return value === undefined ? [] : [[name, value / divisor]];
    }),
  );
}

/** A line of the stream of system metrics. @param ts, startedAt milliseconds since 1970-01-01 UTC */
export function systemLine(values: Readonly<Record<string, number>>, ts: number, startedAt: number): string {
  const named = Object.fromEntries(Object.entries(values).map(([name, value]) => [`system.${name}`, value]));
  return JSON.stringify({_wandb: true, _timestamp: ts / 1000, _runtime: Math.max(0, ts - startedAt) / 1000, ...named});
}
