import {readFileSync} from 'node:fs';

import {expect, test} from '@jest/globals';

import {gpuFigures} from '../../../src/tracking/gpu-load.ts';
import {cpuLoad, systemMetrics, type Counters} from '../../../src/tracking/system-metrics.ts';

const at = (time: number, process: number, busy: number, total: number): Counters => ({
  time,
  process,
  machine: {busy, total},
});

test('CPU load is the share of all cores between two moments', () => {
  // Two seconds on four cores: 3 of 8 core seconds were busy, 2 of them in this process.
  expect(cpuLoad(at(0, 500_000, 1000, 9000), at(2_000_000, 2_500_000, 4000, 17_000), 4)).toEqual({
    cpuPercent: 37.5,
    processCpuPercent: 25,
  });
});

test('a counter that stands still or is set back gives no figure outside of 0 to 100', () => {
  expect(cpuLoad(at(5, 5, 5, 5), at(5, 5, 5, 5), 4)).toEqual({});
  expect(cpuLoad(at(0, 9, 9, 0), at(10, 0, 0, 10), 1)).toEqual({cpuPercent: 0, processCpuPercent: 0});
  expect(cpuLoad(at(0, 0, 0, 0), at(10, 99, 99, 10), 1)).toEqual({cpuPercent: 100, processCpuPercent: 100});
});

test('a sample has finite figures, and two trackers at the same moment get the same one', () => {
  const sample = systemMetrics();
  expect(systemMetrics()).toBe(sample);
  for (const value of Object.values(sample)) expect(Number.isFinite(value)).toBe(true);
  const {memoryAvailableBytes = 0, memoryUsedBytes = 0, processMemoryBytes = 0} = sample;
  if (process.platform !== 'linux') return;
  // What the kernel says itself.
  const kib = (file: string, name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync(file, 'utf8'))?.[1]);
  expect(memoryAvailableBytes + memoryUsedBytes).toBe(kib('/proc/meminfo', 'MemTotal') * 1024);
  expect(processMemoryBytes / 1024 / kib('/proc/self/status', 'VmRSS')).toBeGreaterThan(0.5);
  expect(processMemoryBytes / 1024 / kib('/proc/self/status', 'VmRSS')).toBeLessThan(2);
});

test('the lines of nvidia-smi are the figures of each GPU; what one does not tell is left out', () => {
  expect(gpuFigures('0, 45, 1024, 4096, 120.50, 482.00, 41\n1, 0, 0, 4096, [N/A], [N/A], 30\n')).toEqual({
    'gpu.0.percent': 45,
    'gpu.0.memoryBytes': 2 ** 30,
    'gpu.0.memoryPercent': 25,
    'gpu.0.powerWatts': 120.5,
    'gpu.0.powerPercent': 25,
    'gpu.0.celsius': 41,
    'gpu.1.percent': 0,
    'gpu.1.memoryBytes': 0,
    'gpu.1.memoryPercent': 0,
    'gpu.1.celsius': 30,
  });
});
