import {copyFileSync, mkdirSync, rmSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';

import {keepWeights, keptFiles, keptWeightsOf} from '../../../src/phases/kept-weights.ts';
import {buildGraph, readWeights, type Session} from '../../../src/phases/session.ts';
import {onnx} from '../../../src/plugins/models/onnx.ts';
import {Registry} from '../../../src/plugin-api/registry.ts';
import {classification} from '../../../src/plugins/tasks/classification.ts';
import type {Run} from '../../../src/runs/run-directory.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const folder = temporaryFolder();
const fixtures = path.resolve(import.meta.dirname, '../../fixtures');

test('a run keeps the weights of an ONNX file and of the file beside it, and never reads them again', () => {
  mkdirSync(path.join(folder, 'run'));
  // Its constants are in dynamo.onnx.data.
  for (const name of ['dynamo.onnx', 'dynamo.onnx.data']) {
    copyFileSync(path.join(fixtures, name), path.join(folder, name));
  }
  const [model, weights] = [path.join(fixtures, 'dynamo.onnx'), path.join(folder, 'dynamo.onnx')];
  const {input} = onnx.build(onnx.defaults, {file: model});
  const registry = new Registry(['model', 'task']);
  registry.add({...onnx, build: (_, options) => onnx.build(onnx.defaults, options)});
  registry.add(classification);
  const [channels, height, width] = input.shape;
  const session = {
    registry,
    dataset: {classes: ['a', 'b', 'c'], train: {kind: 'images'}, channels, height, width},
    task: {outputs: 3},
    config: {model: {name: 'onnx', options: {file: model}}, task: {name: 'classification', options: {}}},
  } as unknown as Session;
  const run = {path: (name: string) => path.join(folder, 'run', name)} as unknown as Run;

  const copy = keepWeights(session, run, keptFiles.start, weights);
  expect(copy).toBe(path.join(folder, 'run', 'start.safetensors'));
  rmSync(weights);
  expect(keepWeights(session, run, keptFiles.start, weights)).toBe(copy);
  const graph = buildGraph(session, session.config.model);
  const original = readWeights(graph, model);
  expect(original.size).toBeGreaterThan(0);
  for (const found of [readWeights(graph, copy), keptWeightsOf(run, graph, keptFiles.start, weights)]) {
    expect([...found].map(([name, {shape, data}]) => [name, shape, [...data]])).toEqual(
      [...original].map(([name, {shape, data}]) => [name, shape, [...data]]),
    );
  }
  expect(() => keepWeights(session, run, keptFiles.teacher, weights)).toThrow(`Cannot read ${weights}`);
});
