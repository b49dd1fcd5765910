/** What will not work is said before a run has a folder or an epoch is trained: data, batch, weights, memory, steps against target. */
import {epochBatches} from '../data/batches.ts';
import {partRange, type Part} from '../data/splits.ts';
import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import type {Graph} from '../graph/graph.ts';
import {layerTable} from '../graph/layer-table.ts';
import {hardwareError, violationsOf} from './hardware-check.ts';
import {readProfiles} from './hardware-file.ts';
import {checkPareto} from './search.ts';
import {searchProblem} from './search-problem.ts';
import {buildGraph, pretrains, readWeights, startWeights, type Session} from './session.ts';
import {readStrategy} from './strategy-file.ts';
import {checkTeacher} from './teacher.ts';
import {matchModel} from './train.ts';

/** Phases that train, in the order in which a command runs them. */
type Work = readonly {
  readonly name: 'pretrain' | 'search' | 'train';
  readonly epochs: number;
  readonly steps: number;
}[];

/** What a command is about to do. */
export interface JobPlan {
  readonly command: string;
  readonly network: {readonly name: string; readonly layers: number; readonly params: number};
  readonly samples: Readonly<Record<Part, number>>;
  readonly engine: string;
  readonly phases: Work;
}

/** @throws SdqError (exit 3) when an epoch would have no batch */
export function plannedWork({config, dataset}: Session, command: RunKind): Work {
  const names =
    command !== 'run'
      ? [command]
      : pretrains(config)
        ? (['pretrain', 'search', 'train'] as const)
        : (['search', 'train'] as const);
  const batches = epochBatches(dataset, config.data);
  return names.map((name) => ({name, epochs: config[name].epochs, steps: config[name].epochs * batches}));
}

/** @throws SdqError (exit 3) when an epoch would have no batch */
export function planOf(session: Session, command: RunKind): JobPlan {
  const {config, dataset, engine} = session;
  const graph = buildGraph(session, config.model);
  const {validation} = config.data;
  const train = partRange(dataset, 'train', validation);
  const all = dataset.train.labels.length;
  const {layers, parameters} = layerTable(graph);
  return {
    command,
    network: {name: config.model.name, layers: layers.length, params: parameters},
    samples: {train: train.end, validation: all - train.end, test: dataset.test.labels.length},
    engine: `${engine.name}: ${engine.device}`,
    phases: plannedWork(session, command),
  };
}

type RunKind = 'pretrain' | 'search' | 'train' | 'run';

/**
 * @param command whose run begins
 * @throws SdqError (exit 3, 4, 5 or 6) for the first thing that will not work
 */
export function preflight(session: Session, command: RunKind): void {
  const {config, dataset} = session;
  if (session.task.caution !== undefined) session.reporter.line(session.task.caution);
  const batches = epochBatches(dataset, config.data);
  const graph = buildGraph(session, config.model, (message) => session.reporter.line(message));
  checkMemory(session, graph);
  if (command !== 'train' && config.model.weights !== undefined) {
    if (command === 'search') readWeights(graph, config.model.weights);
    else startWeights(session, graph);
    if (command !== 'search' && config.model.head === 'reset') {
      session.reporter.line(
        `The last layer starts fresh for ${session.task.outputs} classes (model.head); the others come from ${config.model.weights}.`,
      );
    }
  }
  if (command === 'run' || command === 'train' || (command === 'search' && config.search.distillation)) {
    checkTeacher(session);
  }
  if (command === 'search' || command === 'run') checkSearch(session, command, graph, batches);
}

/** @throws SdqError for candidates, pins, budgets or hardware that do not fit, and for steps that cannot reach the targets */
function checkSearch(session: Session, command: string, graph: Graph, batches: number): void {
  const {config, registry, reporter} = session;
  checkPareto(config);
  const {epochs} = config.search;
  const {problem, settings, targets} = searchProblem(config, registry, graph, epochs * batches);
  const answer = registry.get('searcher', config.search.method).canReach?.(problem, settings) ?? 'yes';
  if (answer === 'yes') return;
  const needed = epochsToReach(session, graph, batches);
  const names = Object.entries(targets).map(([name, value]) => `${name} ${value}`);
  const message =
    `The search has ${epochs * batches} steps (search.epochs ${epochs} of ${batches} batches): ` +
    `${answer === 'no' ? 'too few' : 'perhaps too few'} to come down to ${names.join(', ')}.`;
  const flags = needed === undefined ? '--set search.dualRate=2' : `--set search.epochs=${needed}`;
  // A search by itself costs no more than it has epochs; a run would train in full precision first.
  if (answer === 'doubtful' || command === 'search' || !pretrains(config)) {
    reporter.line(`${message} With enough: ${flags}.`);
    return;
  }
  throw new SdqError(message, {
    code: 'search-too-short',
    exit: ExitCode.targetNotReached,
    suggestions: [
      `sdq ${command} ${flags}`,
      'Or raise search.target, or make data.batchSize smaller: an epoch has more steps.',
    ],
  });
}

/** `search.epochs` with which the search should reach its targets; undefined where no number of epochs does. */
export function epochsToReach(
  {config, registry}: Pick<Session, 'config' | 'registry'>,
  graph: Graph,
  batches: number,
): number | undefined {
  const searcher = registry.get('searcher', config.search.method);
  const {problem, settings} = searchProblem(config, registry, graph, config.search.epochs * batches);
  const steps = searcher.stepsToReach?.(problem, settings);
  if (steps === undefined) return undefined;
  const least = Math.ceil(steps / batches);
  // Near the least, more steps can fail where fewer do not: a layer falls a step later, or not at all.
  for (let epochs = least; epochs <= 2 * least; epochs++) {
    const longer = searchProblem(config, registry, graph, epochs * batches);
    if ((searcher.canReach?.(longer.problem, longer.settings) ?? 'yes') === 'yes') return epochs;
  }
  return 2 * least;
}

/**
 * That a strategy is about this network, and that the file's weights fit it. The errors name the user's own files.
 * @throws SdqError (exit 3 or 4)
 */
export function checkTrain(session: Session, strategyFile: string, weights: string): void {
  const {config, registry} = session;
  const graph = buildGraph(session, config.model);
  const strategy = readStrategy(strategyFile);
  if (strategy.model.name !== config.model.name) {
    throw invalidInput(
      'strategy-of-other-model',
      `${strategyFile} is a strategy for ${strategy.model.name}; the config's model is ${config.model.name}.`,
      [`--set model.name=${strategy.model.name}`, 'Or search a strategy for this model: sdq search'],
    );
  }
  matchModel(session, {graph, layers: layerTable(graph).layers}, strategy, strategyFile);
  const refusal = hardwareError(strategyFile, violationsOf(strategy, readProfiles(config.hardware), registry, graph));
  if (refusal !== undefined) throw refusal;
  readWeights(graph, weights);
}

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);

/**
 * A training step keeps the images and the input of every layer until the gradients of the weights are computed, and three
 * values a parameter (weight, gradient, momentum): less than that is no use.
 * @throws SdqError (exit 6) where this alone is more than the engine may use
 */
function checkMemory({config, engine}: Session, graph: Graph): void {
  if (engine.limitBytes === undefined) return;
  const inputs = new Map(layerTable(graph).layers.map(({inputValue, inputShape}) => [inputValue, inputShape]));
  inputs.set(graph.input.name, graph.input.shape);
  const size = (shape: readonly number[]): number => 4 * shape.reduce((product, length) => product * length, 1);
  const perImage = [...inputs.values()].reduce((sum, shape) => sum + size(shape), 0);
  const fixed = 3 * graph.parameters.reduce((sum, {shape}) => sum + size(shape), 0);
  const needed = fixed + config.data.batchSize * perImage;
  if (needed <= engine.limitBytes) return;
  const most = Math.floor((engine.limitBytes - fixed) / perImage);
  throw new SdqError(
    `A training step of ${config.data.batchSize} images needs ${mebibytes(needed)} MiB at least; the ${engine.name} engine has ${mebibytes(engine.limitBytes)} MiB.`,
    {
      code: 'engine-out-of-memory',
      exit: ExitCode.notAvailable,
      suggestions:
        most >= 1
          ? [`Use a smaller batch, well below ${most + 1}: --set data.batchSize=${Math.max(1, Math.floor(most / 2))}.`]
          : ['One image is too much: use smaller images (e.g. data.options.size of image-folder) or a smaller model.'],
    },
  );
}
