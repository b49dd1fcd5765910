/** A run keeps its own copies of the weights that it starts from, so that it can be resumed whatever becomes of the files. */
import {existsSync} from 'node:fs';

import type {Graph, Weights} from '../graph/graph.ts';
import type {Run} from '../runs/run-directory.ts';
import {writeModelFile} from './model-file.ts';
import {buildGraph, readWeights, startWeights, type Session} from './session.ts';

/** Names of the copies in the run's folder. */
export const keptFiles = {
  /** What `pretrain`, `search` and `train` start from. */
  start: 'start.safetensors',
  /** The network in full precision: the teacher `self`, and what `run` starts from. */
  fullPrecision: 'full-precision.safetensors',
  /** Of a teacher that is another network. */
  teacher: 'teacher.safetensors',
} as const;

/**
 * @param file safetensors or ONNX; read once, when the run has no copy yet
 * @returns the weights, all that the graph has
 * @throws SdqError (exit 3) when the file is broken or does not fit the graph, (exit 6) when the copy cannot be written
 */
export function keptWeightsOf(run: Run, graph: Graph, name: string, file: string): Weights {
  const copy = run.path(name);
  if (existsSync(copy)) return readWeights(graph, copy);
  const weights = readWeights(graph, file);
  writeModelFile(copy, weights);
  return weights;
}

/** What full-precision training starts from (`startWeights`), from the run's copy where it has one. */
export function keptStart(session: Session, run: Run, graph: Graph): Weights {
  const copy = run.path(keptFiles.start);
  if (existsSync(copy)) return readWeights(graph, copy);
  const weights = startWeights(session, graph);
  if (session.config.model.weights !== undefined) writeModelFile(copy, weights);
  return weights;
}

/** `keptWeightsOf` the session's model. @returns the path of the copy */
export function keepWeights(session: Session, run: Run, name: string, file: string): string {
  const copy = run.path(name);
  if (!existsSync(copy)) keptWeightsOf(run, buildGraph(session, session.config.model), name, file);
  return copy;
}
