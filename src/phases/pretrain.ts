/** Full-precision training with the loss of the task. */
import {present} from '../lookup.ts';
import {createNetwork} from '../graph/network.ts';
import {headParameters} from '../graph/head.ts';
import {createOptimizer, networkParameters} from '../training/optimizers.ts';
import {learningRateFactor} from '../training/schedules.ts';
import {createTrainStep} from '../training/train-step.ts';
import {detectionFiles, watchDetections} from './detections-file.ts';
import {evaluateOn} from './evaluate.ts';
import {keptStart} from './kept-weights.ts';
import {writeModelFile} from './model-file.ts';
import {runPhase, type PhaseContext} from './phase.ts';
import {byMetric, type PretrainResult} from './results.ts';
import {buildGraph, readWeights} from './session.ts';

/** @returns the kept checkpoint: the best validation epoch's, or the last one's without a validation split */
export async function pretrain(context: PhaseContext): Promise<PretrainResult> {
  const {session, run, stop} = context;
  const {config, task} = session;
  const graph = buildGraph(session, config.model);
  const network = createNetwork(graph, keptStart(session, run, graph));
  const head = headParameters(graph);
  const body = new Set(graph.parameters.map(({name}) => name).filter((name) => !head.has(name)));
  const checkpoint = run.path('full-precision.safetensors');
  const parameters = networkParameters(network);
  const optimizer = createOptimizer(config.pretrain.optimizer);
  const {epochs, schedule} = config.pretrain;
  const trainStep = createTrainStep({network, optimizer, parameters, seed: config.seed});
  try {
    const outcome = await runPhase(context, {
      name: 'pretrain',
      network,
      parameters,
      optimizer,
      epochs,
      start: async () => Promise.resolve(),
      async step({images, targets, state}, optimizerState, stepsPerEpoch) {
        const factor = learningRateFactor(schedule, state.step, epochs * stepsPerEpoch, stepsPerEpoch);
        const result = await trainStep({
          images,
          step: state.step,
          optimizerState,
          rate: factor,
          ...(state.step < config.pretrain.headEpochs * stepsPerEpoch ? {frozen: body} : {}),
          objective: (outputs) => ({
            loss: task.loss(outputs, targets),
            reported: task.reported(outputs, targets),
          }),
        });
        const learningRate = factor * config.pretrain.optimizer.learningRate;
        return {optimizerState: result.optimizerState, metrics: {...result.metrics, learningRate}};
      },
      status: () => [],
      intervalMetrics: () => ({}),
      validate: () => evaluateOn(session, network, 'validation', {}, stop.signal),
      saveBest: async () => {
        writeModelFile(checkpoint, await network.weights());
      },
      exportState: () => Promise.resolve({state: null, arrays: new Map()}),
      importState: () => undefined,
      isDone: () => false,
    });
    network.load(readWeights(network.graph, checkpoint));
    const detections = watchDetections(session);
    const test = await evaluateOn(session, network, 'test', {}, stop.signal, detections?.observe);
    detections?.write(run.path(detectionFiles.fullPrecision));
    return {
      checkpoint,
      ...byMetric(task.metric, outcome, present(test, 'test result')),
      epoch: outcome.best?.epoch ?? epochs,
      steps: outcome.steps,
    };
  } finally {
    network.dispose();
  }
}
