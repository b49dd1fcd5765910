/** Load of this machine and of this process, as trackers send it beside a run's metrics. */
import {readFileSync, statfsSync} from 'node:fs';
import {availableParallelism, cpus, freemem, totalmem} from 'node:os';

import {gpuLoad} from './gpu-load.ts';

/** Counters at one moment. */
export interface Counters {
  /** A monotonic clock, in microseconds. */
  readonly time: number;
  /** CPU time of this process, over all of its threads, in microseconds. */
  readonly process: number;
  /** CPU time of the machine, summed over its cores, in milliseconds: not idle, and all of it. */
  readonly machine: {readonly busy: number; readonly total: number};
}

/** Two trackers that ask within this time get the same sample. */
const sampleMs = 1000;

const networkBefore = networkBytes();
let before = counters();
let sample: Readonly<Record<string, number>> | undefined;

/**
 * The load since the sample before, at most one sample a second. It reads counters of the kernel only. In a thread it
 * gives the figures of the whole process, with the memory of the WebAssembly engine and its threads.
 *
 * - `cpuPercent`: share of all cores that was busy, 0 to 100
 * - `processCpuPercent`: share of all cores that this process used, 0 to 100
 * - `memoryPercent`, `memoryUsedBytes`, `memoryAvailableBytes`: main memory of the machine
 * - `processMemoryBytes`, `processMemoryPercent`: resident memory of this process, and its share of main memory
 * - `diskPercent`, `diskUsedBytes`, `diskAvailableBytes`: file system of the root folder
 * - `networkSentBytes`, `networkReceivedBytes`: of the machine since this process began; Linux only
 * - those of `gpuLoad`, where `nvidia-smi` finds a GPU
 */
export function systemMetrics(): Readonly<Record<string, number>> {
  if (sample !== undefined && performance.now() - before.time / 1000 < sampleMs) return sample;
  const now = counters();
  const [total, available, resident] = [totalmem(), freemem(), process.memoryUsage.rss()];
  sample = {
    ...cpuLoad(before, now, availableParallelism()),
    memoryPercent: (100 * (total - available)) / total,
    memoryUsedBytes: total - available,
    memoryAvailableBytes: available,
    processMemoryBytes: resident,
    processMemoryPercent: (100 * resident) / total,
    ...diskLoad(),
    ...networkLoad(),
    ...gpuLoad(),
  };
  before = now;
  return sample;
}

/** CPU load between two moments; without a figure whose counter did not advance. */
export function cpuLoad(from: Counters, to: Counters, cores: number): Readonly<Record<string, number>> {
  const elapsed = (to.time - from.time) * cores;
  const total = to.machine.total - from.machine.total;
  const percent = (part: number, whole: number): number => Math.min(100, Math.max(0, (100 * part) / whole));
  return {
    ...(total > 0 ? {cpuPercent: percent(to.machine.busy - from.machine.busy, total)} : {}),
    ...(elapsed > 0 ? {processCpuPercent: percent(to.process - from.process, elapsed)} : {}),
  };
}

function counters(): Counters {
  const {system, user} = process.cpuUsage();
  const machine = {busy: 0, total: 0};
  for (const {times} of cpus()) {
    const busy = times.user + times.nice + times.sys + times.irq;
    machine.busy += busy;
    machine.total += busy + times.idle;
  }
  return {time: performance.now() * 1000, process: user + system, machine};
}

/** As `df` counts: what only the administrator may use is neither used nor available. */
function diskLoad(): Readonly<Record<string, number>> {
  const {bavail, bfree, blocks, bsize} = statfsSync('/');
  const [used, available] = [(blocks - bfree) * bsize, bavail * bsize];
  return {
    diskUsedBytes: used,
    diskAvailableBytes: available,
    diskPercent: (100 * used) / Math.max(1, used + available),
  };
}

function networkLoad(): Readonly<Record<string, number>> {
  const now = networkBytes();
  if (now === undefined || networkBefore === undefined) return {};
  return {
    networkSentBytes: Math.max(0, now.sent - networkBefore.sent),
    networkReceivedBytes: Math.max(0, now.received - networkBefore.received),
  };
}

/** Bytes since the machine started, over all interfaces; undefined where the kernel has no such table. */
function networkBytes(): {readonly sent: number; readonly received: number} | undefined {
  let table: string;
  try {
    table = readFileSync('/proc/net/dev', 'utf8');
  } catch {
    return undefined;
  }
  let [sent, received] = [0, 0];
  for (const [, counts = ''] of table.matchAll(/^\s*\S+:(.*)$/gm)) {
    const numbers = counts.trim().split(/\s+/).map(Number);
    received += numbers[0] ?? 0;
    sent += numbers[8] ?? 0;
  }
  return {sent, received};
}
