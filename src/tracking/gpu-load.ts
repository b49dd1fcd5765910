/** Load of the NVIDIA GPUs of this machine, from `nvidia-smi`. */
import {spawnSync} from 'node:child_process';

const fields = 'index,utilization.gpu,memory.used,memory.total,power.draw,enforced.power.limit,temperature.gpu';
const timeoutMs = 5000;
const mebibyte = 2 ** 20;

/** Where the program fails once it is not started again. */
let isMissing = false;

/**
 * - `gpu.N.percent`: share of the time in which GPU N was busy
 * - `gpu.N.memoryBytes`, `gpu.N.memoryPercent`: its memory in use
 * - `gpu.N.powerWatts`, `gpu.N.powerPercent`: its power, and the share of its limit
 * - `gpu.N.celsius`: its temperature
 *
 * Figures that a GPU does not tell are left out. Empty where there is none.
 */
export function gpuLoad(): Readonly<Record<string, number>> {
  if (isMissing) return {};
  const query = [`--query-gpu=${fields}`, '--format=csv,noheader,nounits'];
  const {status, stdout} = spawnSync('nvidia-smi', query, {encoding: 'utf8', timeout: timeoutMs, windowsHide: true});
  isMissing = status !== 0;
  return isMissing ? {} : gpuFigures(stdout);
}

/** @param csv the lines of `nvidia-smi`, one for each GPU: memory in MiB, power in watts */
export function gpuFigures(csv: string): Readonly<Record<string, number>> {
  const figures = csv
    .split('\n')
    .filter((line) => line.trim() !== '')
    .flatMap((line): [string, number][] => {
      const [index = 0, percent = NaN, used = NaN, total = NaN, power = NaN, limit = NaN, celsius = NaN] = line
        .split(',')
        .map((text) => Number.parseFloat(text));
      return [
        [`gpu.${index}.percent`, percent],
        [`gpu.${index}.memoryBytes`, used * mebibyte],
        [`gpu.${index}.memoryPercent`, (100 * used) / total],
        [`gpu.${index}.powerWatts`, power],
        [`gpu.${index}.powerPercent`, (100 * power) / limit],
        [`gpu.${index}.celsius`, celsius],
      ];
    });
  return Object.fromEntries(figures.filter(([, value]) => Number.isFinite(value)));
}
