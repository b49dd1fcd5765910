// A step of action.yml: checks each strategy against each hardware profile, estimates its cost, and writes a Markdown table.
// Environment: STRATEGIES (a shell pattern), HARDWARE (names with spaces between them). Exits with 4 when a strategy is refused.
import {spawnSync} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import path from 'node:path';

const [, , output] = process.argv;
const words = (text = '') => text.split(/\s+/).filter((word) => word !== '');
/** The sdq that is installed, else that of the project. */
const env = {...process.env, PATH: [process.env.PATH, path.resolve('node_modules/.bin')].join(path.delimiter)};

/** The result object, which is there when a check failed too; else the error's message. */
function sdq(...args) {
  const {error, status, stdout} = spawnSync('sdq', [...args, '--json'], {
    encoding: 'utf8',
    env,
    shell: process.platform === 'win32',
  });
  if (error !== undefined) throw error;
  const result = JSON.parse(stdout);
  return {status, result, message: result.error?.message};
}

/** The shell expands the pattern: braces and stars as in a workflow's `run`. */
function expand(pattern) {
  const {stdout} = spawnSync(
    'bash',
    ['-c', `shopt -s nullglob globstar; printf '%s\\n' ${pattern.replace(/[^\w./*?{},[\] -]/g, '')}`],
    {
      encoding: 'utf8',
    },
  );
  return stdout.split('\n').filter((file) => file !== '');
}

const number = (value, digits = 3) =>
  value === null || value === undefined ? '–' : Number(value.toPrecision(digits)).toLocaleString('en-US');
const plain = (value) => (typeof value === 'string' ? value : JSON.stringify(value));
const cell = (text) => String(text).replaceAll('|', '\\|').replaceAll('\n', ' ');

const files = expand(process.env.STRATEGIES ?? '');
const hardware = words(process.env.HARDWARE);
const rows = [];
const problems = [];
let refused = false;
for (const file of files) {
  const shown = sdq('strategy', 'show', file);
  if (shown.message !== undefined) {
    refused = true;
    problems.push(`- \`${cell(file)}\`: ${cell(shown.message)}`);
    continue;
  }
  const {summary} = shown.result;
  for (const name of hardware) {
    const checked = sdq('strategy', 'validate', file, '--hardware', name);
    const violations = checked.result.violations ?? [];
    if (checked.status !== 0) {
      refused = true;
      const reasons =
        checked.message === undefined
          ? violations.map(
              ({layer, rule, found, allowed}) => `${layer}: ${rule} ${plain(found)}; allowed: ${plain(allowed)}`,
            )
          : [checked.message];
      problems.push(...reasons.slice(0, 5).map((reason) => `- \`${cell(file)}\` on ${cell(name)}: ${cell(reason)}`));
      if (reasons.length > 5) problems.push(`- … and ${reasons.length - 5} more`);
    }
    const {totals} = sdq('hardware', 'estimate', name, '--strategy', file).result;
    rows.push([
      file,
      name,
      checked.status === 0 ? '✓' : '✗',
      number(summary.meanWeightBits),
      totals === undefined || totals.latencyUs === null ? '–' : number(totals.latencyUs / 1000),
      number(totals?.energyUj),
      number(totals?.weightMemoryKiB),
    ]);
  }
}
const head = ['strategy', 'hardware', 'runs', 'mean weight bits', 'latency, ms', 'energy, µJ', 'weights, KiB'];
const line = (cells) => `| ${cells.map(cell).join(' | ')} |`;
writeFileSync(
  output,
  [
    '### Quantization strategies',
    '',
    ...(files.length === 0 ? [`No file fits \`${process.env.STRATEGIES}\`.`] : []),
    ...(rows.length === 0 ? [] : [line(head), line(head.map((_, i) => (i < 3 ? '---' : '--:'))), ...rows.map(line)]),
    ...(problems.length === 0 ? [] : ['', '**Refused**', '', ...problems]),
    '',
    'Latency and energy are modelled, for one sample.',
    '',
  ].join('\n'),
);
if (files.length === 0) process.exitCode = 3;
else if (refused) process.exitCode = 4;
