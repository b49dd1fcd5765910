/**
 * Compares training and evaluation steps of the wasm engine with eager PyTorch, stock tfjs wasm, the cpu oracle and itself
 * on other thread counts. The contenders of a comparison take turns, each in a process of its own; what counts is the ratio of
 * the medians over all turns. Run it on an idle machine:
 *
 *   node --import tsx bench/step.ts [comparison …] [--turns 3] [--python python3]
 *
 * ConvNeXt is PyTorch's export of the peer's own network, for which Python needs the package `onnx` too.
 */
import {spawnSync} from 'node:child_process';
import {existsSync, mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {parseArgs} from 'node:util';

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {turns: {type: 'string', default: '3'}, python: {type: 'string', default: 'python3'}},
});
const root = path.resolve(import.meta.dirname, '..');
/** The script that the project's targets were measured with, where it is at hand; it knows ResNet20's training step only. */
const reference = path.join(root, '../shared/bench/pytorch_step.py');

interface Contender {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

const ours = (name: string, ...args: string[]): Contender => ({
  name,
  command: process.execPath,
  args: ['--import', 'tsx', path.join(root, 'bench/engine.ts'), ...args],
});
const pytorch = (...args: string[]): Contender => {
  const knows = !args.includes('--model') && !args.includes('--kind') && existsSync(reference);
  const script = knows ? reference : path.join(root, 'bench/pytorch_peer.py');
  return {name: 'eager PyTorch', command: values.python, args: [script, ...args]};
};
const full = ['--weight-bits', '32', '--activation-bits', '32'];
const resnet18 = ['--model', 'resnet18', '--batch', '16', '--steps', '5'];
const a8 = ['--activation-bits', '8'];
const mobilenet = ['--model', 'mobilenet-v2', '--batch', '64', '--steps', '5'];
const yolo = ['--model', 'yolov4-tiny', '--batch', '8', '--steps', '4'];
const vit = ['--model', 'vit', '--batch', '64', '--steps', '4', ...a8];
const folder = mkdtempSync(path.join(tmpdir(), 'sdq-bench-'));
const convnext = path.join(folder, 'convnext-atto.onnx');
const convnextSteps = ['--batch', '16', '--steps', '4', ...a8];

/** The first contender is the one that the ratios are of. */
const comparisons: Readonly<Record<string, readonly Contender[]>> = {
  'resnet20-w4a4': [ours('wasm'), pytorch()],
  'resnet20-fp': [ours('wasm', ...full), pytorch(...full)],
  'resnet20-search': [ours('search', '--kind', 'search', '--activation-bits', '32'), ours('full precision', ...full)],
  'resnet20-evaluate': [ours('wasm', '--kind', 'evaluate', ...full), pytorch('--kind', 'evaluate', ...full)],
  'resnet20-threads': [ours('2 threads', '--steps', '8'), ours('1 thread', '--threads', '1', '--steps', '8')],
  resnet18: [ours('wasm', ...resnet18), pytorch(...resnet18)],
  'mobilenet-v2-fp': [ours('wasm', ...mobilenet, ...full), pytorch(...mobilenet, ...full)],
  'mobilenet-v2-w4a8': [ours('wasm', ...mobilenet, ...a8), pytorch(...mobilenet, ...a8)],
  'vit-w4a8': [ours('wasm', ...vit), pytorch(...vit)],
  'convnext-atto-w4a8': [
    ours('wasm', '--model', convnext, ...convnextSteps),
    pytorch('--model', 'convnext-atto', ...convnextSteps),
  ],
  'yolov4-tiny-fp': [ours('wasm', ...yolo, ...full), pytorch(...yolo, ...full)],
  'yolov4-tiny-w4a8': [ours('wasm', ...yolo, ...a8), pytorch(...yolo, ...a8)],
  'stock-tfjs': [
    ours('wasm', '--batch', '32'),
    ours('stock tfjs wasm', '--engine', 'tfjs-wasm', '--batch', '32', '--steps', '2'),
  ],
  'cpu-oracle': [ours('wasm', '--batch', '4'), ours('cpu oracle', '--engine', 'cpu', '--batch', '4', '--steps', '1')],
};

interface Timing {
  readonly imagesPerSecond: {readonly median: number};
  readonly stepMs: {readonly median: number};
  readonly peakRssMiB?: number;
}

/** One turn; null where the contender cannot run here: the error output says why. */
function turn({command, args}: Contender): Timing | null {
  const {status, stdout, error} = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (error !== undefined) console.error(error.message);
  return status === 0 && stdout !== '' ? (JSON.parse(stdout) as Timing) : null;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
}

console.log('| comparison         | contender          |      step |  images/s |  peak MiB | first is × as fast |');
const names = positionals.length > 0 ? positionals : Object.keys(comparisons);
for (const name of names) {
  const contenders = comparisons[name];
  if (contenders === undefined) {
    throw new Error(`no comparison "${name}"; there are ${Object.keys(comparisons).join(', ')}`);
  }
  const usesExport = contenders.some(({args}) => args.includes(convnext));
  if (usesExport) turn(pytorch('--model', 'convnext-atto', '--export', convnext));
  const timings = contenders.map((): Timing[] => []);
  for (let i = 0; i < Number(values.turns); i++) {
    for (const [k, contender] of contenders.entries()) {
      const timing = turn(contender);
      if (timing !== null) timings[k]!.push(timing);
    }
  }
  const speeds = timings.map((all) => median(all.map(({imagesPerSecond}) => imagesPerSecond.median)));
  for (const [k, contender] of contenders.entries()) {
    if (timings[k]!.length === 0) {
      console.log(`${name}: ${contender.name} cannot run here`);
      continue;
    }
    const ms = median(timings[k]!.map(({stepMs}) => stepMs.median));
    const rss = Math.max(...timings[k]!.map(({peakRssMiB}) => peakRssMiB ?? 0));
    const ratio = k === 0 || timings[0]!.length === 0 ? '' : (speeds[0]! / speeds[k]!).toFixed(2);
    const cells = [name, contender.name, `${ms.toFixed(0)} ms`, speeds[k]!.toFixed(1), rss.toFixed(0), ratio];
    console.log(`| ${cells.map((cell, i) => (i < 2 ? cell.padEnd(18) : cell.padStart(9))).join(' | ')} |`);
  }
}
rmSync(folder, {recursive: true});
