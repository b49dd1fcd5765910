/** The network of `train.distillation`, whose outputs are learned in phase 2, and in the search with `search.distillation`. */
import type * as tf from '@tensorflow/tfjs-core';

import {invalidInput} from '../errors.ts';
import type {Targets} from '../training/task.ts';
import type {Graph, Weights} from '../graph/graph.ts';
import {createNetwork, type Network} from '../graph/network.ts';
import type {Run} from '../runs/run-directory.ts';
import {keptFiles, keptWeightsOf} from './kept-weights.ts';
import type {PhaseContext} from './phase.ts';
import {buildGraph, createModel, readWeights, type Session} from './session.ts';

/** The network whose outputs are learned; undefined for `none`. */
export function createTeacher({session, run}: PhaseContext, fullPrecision: string): Network | undefined {
  const {teacher} = session.config.train.distillation;
  if (teacher === 'none') return undefined;
  if (teacher === 'self') return createModel(session, fullPrecision);
  const {graph, weights} = readTeacher(session, run, teacher);
  return createNetwork(graph, weights);
}

/**
 * What a step minimises: the distance to the teacher's outputs where there are any, else to the labels.
 * @param outputs of the network, one tensor each
 * @returns scalar
 */
export function learningLoss(
  {config, task}: Session,
  outputs: readonly tf.Tensor[],
  targets: Targets,
  teacherOutputs: readonly tf.Tensor[] | undefined,
): tf.Tensor {
  return teacherOutputs === undefined
    ? task.loss(outputs, targets)
    : task.distillationLoss(outputs, teacherOutputs, targets, config.train.distillation);
}

type OtherTeacher = Exclude<Session['config']['train']['distillation']['teacher'], string>;

function readTeacher(
  session: Session,
  run: Run,
  {model, options = {}, weights}: OtherTeacher,
): {graph: Graph; weights: Weights} {
  const graph = buildGraph(session, {name: model, options});
  return {graph, weights: keptWeightsOf(run, graph, keptFiles.teacher, weights)};
}

/** @throws SdqError (exit 3) when the teacher is another model whose weights cannot be used, or the search lacks one */
export function checkTeacher(session: Session): void {
  const {search, train} = session.config;
  const {teacher} = train.distillation;
  if (teacher === 'none' && search.distillation) {
    throw invalidInput(
      'search-without-teacher',
      '/search/distillation is true, and /train/distillation/teacher is none: the search has no teacher to learn from.',
      ['--set train.distillation.teacher=self', '--set search.distillation=false'],
    );
  }
  if (typeof teacher === 'string') return;
  readWeights(buildGraph(session, {name: teacher.model, options: teacher.options ?? {}}), teacher.weights);
}

/** Copies the weights of a teacher that is another model into the run's folder. @throws SdqError (exit 3, exit 6) */
export function keepTeacher({session, run}: Pick<PhaseContext, 'session' | 'run'>): void {
  const {teacher} = session.config.train.distillation;
  if (typeof teacher !== 'string') readTeacher(session, run, teacher);
}
