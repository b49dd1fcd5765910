import {readFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';

const root = path.resolve(import.meta.dirname, '../../../../..');
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');

interface Panel {
  readonly y?: string;
  readonly table?: string;
  readonly spec?: string;
  readonly fields?: Readonly<Record<string, string>>;
}

const panels = JSON.parse(read('examples/dashboards/wandb-panels.json')) as readonly Panel[];

/** The names of docs/metrics.md, with a phase and a layer put in. */
const metrics = [...read('docs/metrics.md').matchAll(/`([a-zA-Z]+\/[a-zA-Z/]+)`/g)].flatMap(([, name]) =>
  ['pretrain', 'search', 'train'].map((phase) => name!.replace('PHASE', phase).replace('LAYER', 'layer1.0.conv1')),
);

test('every pattern of the panels finds a metric of docs/metrics.md', () => {
  expect(metrics).toContain('dbp/layer1.0.conv1/beta');
  for (const {y} of panels) {
    if (y === undefined) continue;
    const names = new Set(metrics.filter((name) => new RegExp(y).test(name)));
    // As many as the pattern has alternatives.
    expect({y, found: names.size >= y.split('|').length}).toEqual({y, found: true});
  }
});

test('the chart takes the columns of the table that a run logs', () => {
  const source = read('src/phases/run.ts');
  for (const {fields, spec, table} of panels) {
    if (spec === undefined) continue;
    expect(source).toContain(`'${table!}'`);
    const columns = /\['layer',[^\]]*\]/.exec(source)![0];
    for (const column of Object.values(fields!)) expect(columns).toContain(`'${column}'`);
    const named = [...read(`examples/dashboards/${spec}`).matchAll(/\$\{field:(\w+)\}/g)].map(([, name]) => name!);
    expect(new Set(named)).toEqual(new Set(Object.keys(fields!)));
  }
});
