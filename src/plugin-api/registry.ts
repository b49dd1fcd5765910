/**
 * What a plugin may add to sdq, and the registry that holds it. Built-ins and third parties enter by the same door: the
 * oclif hook `sdq:register` receives the `Registry` (src/hooks/register.ts is the built-ins' own).
 *
 * ```ts
 * import type {RegisterHook} from 'sdq';
 * const hook: RegisterHook = async ({registry}) => {
 *   registry.add({kind: 'model', name: 'my-net', summary: 'Two convolutions.', optionsSchema: {type: 'object'}, build});
 * };
 * export default hook;
 * ```
 */
import type {Dataset} from '../data/dataset.ts';
import {invalidInput} from '../errors.ts';
import type {Graph, Shape} from '../graph/graph.ts';
import type {OnnxModel} from '../graph/onnx/proto.ts';
import type {CostModel} from '../hardware/cost-model.ts';
import {didYouMean} from '../nearest.ts';
import type {Searcher, SearchSettings} from './searcher.ts';
import type {ActivationQuantizer} from '../sdq/activation-quantizer.ts';
import type {IntegerNetwork} from '../sdq/integer-network.ts';
import type {SearchProblem} from '../sdq/search/problem.ts';
import type {WeightQuantizer, WeightQuantizerTraits} from '../sdq/weight-quantizer.ts';
import type {Strategy} from '../sdq/strategy.ts';
import type {ImportedBits, PrintedStrategy, StrategyFormatContext} from './strategy-format.ts';
import type {Metric, Task} from '../training/task.ts';
import type {Tracker, TrackerContext, TrackerProbe} from './tracker.ts';

/** JSON Schema (2020-12) of a definition's options: `type: object` with `properties`; the config validator applies it. */
export type OptionsSchema = Readonly<Record<string, unknown>>;

interface Definition {
  /** Kebab case; what the user writes in the config. */
  readonly name: string;
  /** One sentence with a full stop. */
  readonly summary: string;
  /** Default: no options. */
  readonly optionsSchema?: OptionsSchema;
}

// ---------------------------------------------------------------------------------------------------------- engines

/** The keys of `engine` in the config, beside its name. */
export interface EngineOptions {
  /** Worker threads, the main one included; `auto` takes what the process may use. */
  readonly threads: number | 'auto';
}

/** Whether an engine can be used on this machine; a probe never throws. */
export interface EngineProbe {
  readonly available: boolean;
  /** Why it can or cannot be used, and how to get it: one sentence. */
  readonly reason: string;
  /** E.g. `2 threads, SIMD, relaxed SIMD, memory limit 4096 MiB`; '' when not available. */
  readonly device: string;
  /** How fast it is on this machine: `engine: auto` takes the available engine of the highest. */
  readonly rank: number;
}

/** A started engine: its tfjs backend is the current one until `dispose`. */
export interface Engine {
  readonly name: string;
  readonly device: string;
  readonly threads: number;
  /** Bytes that tensors may use; left out where the engine has no fixed limit. */
  readonly limitBytes?: number;
  memory(): {readonly inUseMiB: number; readonly reservedMiB: number};
  /** Stops threads and frees memory. Idempotent. */
  dispose(): Promise<void>;
}

/** What `sdq engine install` was asked for. */
export interface EngineInstallContext {
  /** For the processor, also where there is a GPU. */
  readonly cpu: boolean;
  /** The Python to install with; undefined: the first one on the PATH that will do. */
  readonly python: string | undefined;
  /** Also where no GPU can be seen, as while an image of a container is built. */
  readonly withoutDriver: boolean;
  readonly environment: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  /** @param done of `total`, in bytes or steps */
  readonly progress: (step: string, done: number, total: number | undefined) => void;
  readonly notice: (message: string) => void;
}

export interface EngineDefinition extends Definition {
  readonly kind: 'engine';
  probe(options: EngineOptions): Promise<EngineProbe>;
  /** @throws SdqError (exit 6) when it cannot be started. */
  start(options: EngineOptions): Promise<Engine>;
  /**
   * Brings what the engine needs beside sdq; left out where nothing is needed. Keeps what is in place and right.
   * @returns the folder
   * @throws SdqError (exit 6) that names what is missing; the signal's reason when it is aborted
   */
  install?(context: EngineInstallContext): Promise<string>;
}

// --------------------------------------------------------------------------------------------------------- data sets

/** What `sdq data fetch` gives a data set. */
export interface FetchContext {
  /** The data set's own folder in the cache; exists, writable. */
  readonly directory: string;
  /** Folder with files already there (`--from`); no network is used then. */
  readonly from?: string;
  /** Name of one source (`--source`); default: all in their order. */
  readonly source?: string;
  readonly signal: AbortSignal;
  /** Bytes so far and in all (where known) of the step named. */
  progress(step: string, done: number, total?: number): void;
  /** One line for the user, e.g. that a source failed and the next one is tried. */
  notice(message: string): void;
}

/** Labelled images, or rows of numbers, by name: how they are brought, checked and opened. */
export interface DatasetDefinition<Options = Readonly<Record<string, unknown>>> extends Definition {
  readonly kind: 'dataset';
  /** Names for `--source`, in the order they are tried; empty when the user brings the files. */
  readonly sources: readonly string[];
  /** Brings the files into `context.directory`, each atomically. @throws SdqError (exit 6) when every source failed. */
  fetch(context: FetchContext, options: Options): Promise<void>;
  /** What is wrong with the files (missing, wrong digest, broken image), one message each; empty when all is well. */
  verify(directory: string, options: Options): Promise<readonly string[]>;
  /** @throws SdqError (exit 3 for a broken file, exit 6 when the data set was never fetched). */
  open(directory: string, options: Options): Promise<Dataset>;
}

// ------------------------------------------------------------------------------------------------------------ models

/** What task and data set ask of a network. */
export interface ModelContext {
  /** Outputs for one image: of a classification its classes. */
  readonly classes: number;
  /** [channels, height, width] of images, [features] of rows. */
  readonly inputShape: Shape;
}

/** A network by name, built for a number of classes and an input. */
export interface ModelDefinition<Options = Readonly<Record<string, unknown>>> extends Definition {
  readonly kind: 'model';
  /** What `model show` builds when no data set says otherwise. */
  readonly defaults: ModelContext;
  /** The one task that the network is made for. Default: any that its outputs fit. */
  readonly task?: string;
  /** Whether `build` also takes rows of numbers. Default: images only. */
  readonly takesRows?: boolean;
  build(context: ModelContext, options: Options): Graph;
}

// ------------------------------------------------------------------------------------------------------------- tasks

/** What a data set yields beside its images. */
export type TaskData = Pick<Dataset, 'name' | 'classes' | 'values' | 'boxes'>;

/** What a task is loaded for. */
export interface TaskContext extends ModelContext {
  /** Left out where a benchmark runs on random images. */
  readonly dataset?: Dataset | undefined;
}

/** An output of a network, by the name that a file has for it. */
export interface NetworkOutput {
  readonly name: string;
  /** For one image; null where sdq cannot compute it. */
  readonly shape: Shape | null;
  /** Why it cannot. */
  readonly problem?: string;
}

export interface ChosenOutputs {
  /** In the order in which the task takes them; nothing else is computed, quantized or exported. */
  readonly names: readonly string[];
  /** What the user should know of the choice: full sentences. */
  readonly notice?: string;
}

/** What the network learns, by name. */
export interface TaskDefinition<Options = Readonly<Record<string, unknown>>> extends Definition {
  readonly kind: 'task';
  /** The first is the primary one: the best epoch is chosen by it, and results and tables show it. */
  readonly metrics: readonly [Metric, ...Metric[]];
  /** Names of the scalars that the task's `reported` returns. Default: none. */
  readonly reported?: readonly string[];
  /**
   * How many outputs the network has for one image; of a detector: how many classes.
   * @throws SdqError (exit 3) where the data set does not yield what is to be learned
   */
  outputs(data: TaskData, options: Options): number;
  /**
   * Which outputs of a network the task uses. Default: all that sdq can compute.
   * @param classes what the definition's `outputs` says of the data set, where there is one
   * @throws SdqError (exit 3) where none fits
   */
  chooseOutputs?(outputs: readonly NetworkOutput[], options: Options, classes?: number): ChosenOutputs;
  /** What the user should know of this data set before anything is trained: one sentence. */
  caution?(data: TaskData, options: Options): string | undefined;
  /**
   * The task. Import the tensor library here: data sets are checked without it.
   * @param context the network's input, the outputs of the definition, and the data set where there is one
   */
  load(options: Options, context: TaskContext): Promise<Task>;
}

// -------------------------------------------------------------------------------------------------------- quantizers

/** Symmetric, DoReFa, …: the grid, the step and the space in which a layer's weights are rounded. */
export interface WeightQuantizerDefinition extends Definition, WeightQuantizerTraits {
  readonly kind: 'weight-quantizer';
  /** The quantizer with its arithmetic. Import the tensor library here: a strategy is checked without it. */
  load(): Promise<WeightQuantizer>;
}

/** PACT, LSQ, …: the grid of a layer's input and its one learned parameter. */
export interface ActivationQuantizerDefinition extends Definition {
  readonly kind: 'activation-quantizer';
  /** The quantizer. Import the tensor library here. */
  load(): Promise<ActivationQuantizer>;
}

// ---------------------------------------------------------------------------------------------------------- searches

export interface SearcherDefinition extends Definition {
  readonly kind: 'searcher';
  /**
   * Whether a result above a target is a failure of the search. Default: true. Where it is false, targets below what the candidates
   * can reach are taken, and a missed one is only reported.
   */
  readonly keepsTargets?: boolean;
  /**
   * The settings with which the search is set up, e.g. with fewer candidates. Default: those of the config.
   * @throws SdqError (exit 3) for settings that the method does not support
   */
  prepare?(settings: SearchSettings): SearchSettings;
  /** Whether the problem's steps suffice for every target; `no` refuses a run before it begins. Default: `yes`. */
  canReach?(problem: SearchProblem, settings: SearchSettings): 'yes' | 'doubtful' | 'no';
  /** How many training steps should do; undefined where no number does, or nothing can be said. Default: undefined. */
  stepsToReach?(problem: SearchProblem, settings: SearchSettings): number | undefined;
  /** The method. Import the tensor library here: settings are checked without it. */
  load(): Promise<Searcher>;
}

// ---------------------------------------------------------------------------------------------------------- trackers

/** A service that keeps runs: how its connection for one run is made. `optionsSchema`: the keys beside `name`. */
export interface TrackerDefinition<Options = Readonly<Record<string, unknown>>> extends Definition {
  readonly kind: 'tracker';
  /** Whether it could be used now: the server answers, the key is there. Never throws. */
  probe(context: Pick<TrackerContext<Options>, 'options' | 'env'>, signal: AbortSignal): Promise<TrackerProbe>;
  /**
   * Looks at options and environment before anything is trained; asks no server.
   * @throws SdqError (exit 3) for a variable or an option that cannot work
   */
  check?(context: Pick<TrackerContext<Options>, 'options' | 'env' | 'cwd'>): void;
  /**
   * Makes the connection of one run; no I/O yet. Undefined when the environment switches the tracker off.
   * @throws SdqError when options and environment cannot work together
   */
  create(context: TrackerContext<Options>): Tracker | undefined;
}

// ------------------------------------------------------------------------------------------------------- cost models

/** What a strategy costs on a family of devices; its name is the `costModel.family` of their profiles. */
export interface CostModelDefinition extends Definition, CostModel {
  readonly kind: 'cost-model';
}

// --------------------------------------------------------------------------------------------------------- exporters

/** A quantized network as an ONNX model; sdq adds who made it from what. */
export type Exporter = (network: IntegerNetwork) => Pick<OnnxModel, 'functions' | 'graph' | 'irVersion' | 'opsets'>;

/** A format of `sdq export`: how integers and steps are written. */
export interface ExporterDefinition extends Definition {
  readonly kind: 'exporter';
  /** False where layers read their inputs in float, and another file says how a tool rounds them. */
  readonly roundsInputs?: boolean;
  load(): Promise<Exporter>;
}

// -------------------------------------------------------------------------------------------------- strategy formats

/** A file of another tool that says how many bits each layer gets: `sdq strategy convert`. Without options. */
export interface StrategyFormatDefinition extends Definition {
  readonly kind: 'strategy-format';
  /** How an exported file's name ends, without the first dot. */
  readonly extension: string;
  /**
   * Reads such a file; left out where the format is only written.
   * @param names of the network's layers, in its order
   * @returns bits by layer name, for all of them
   * @throws SdqError (exit 3) naming the file, the place, what was found and what is allowed
   */
  parse?(text: string, names: readonly string[], file: string): ReadonlyMap<string, ImportedBits>;
  /**
   * Writes one; left out where the format is only read.
   * @param strategy its layers are in the order of the network
   * @throws SdqError (exit 3) where the format cannot hold the strategy, or something it needs is missing
   */
  print?(strategy: Strategy, context: StrategyFormatContext): PrintedStrategy;
}

// ---------------------------------------------------------------------------------------------------------- registry

/** The type of a definition by its kind. */
export interface Definitions {
  engine: EngineDefinition;
  dataset: DatasetDefinition;
  model: ModelDefinition;
  task: TaskDefinition;
  'weight-quantizer': WeightQuantizerDefinition;
  'activation-quantizer': ActivationQuantizerDefinition;
  searcher: SearcherDefinition;
  'cost-model': CostModelDefinition;
  exporter: ExporterDefinition;
  'strategy-format': StrategyFormatDefinition;
  tracker: TrackerDefinition;
}

/** What a plugin can add. */
export type Kind = keyof Definitions;

/** The oclif hook `sdq:register`. */
export type RegisterHook = (options: {readonly registry: Registry}) => Promise<void>;

const engineHint = '--set engine.name=auto takes the fastest that works here; `sdq doctor` lists them.';

/** Holds every definition, by kind and name. */
export class Registry {
  readonly #entries = new Map<string, {readonly definition: Definitions[Kind]; readonly source: string}>();
  readonly #wanted: ReadonlySet<Kind>;
  #source = 'sdq';

  /** @param wanted the kinds that the command at hand looks up; the built-ins of other kinds are not even loaded. */
  constructor(wanted: Iterable<Kind>) {
    this.#wanted = new Set(wanted);
  }

  /** Whether anyone will look for definitions of this kind; a hook may leave out the others. */
  wants(kind: Kind): boolean {
    return this.#wanted.has(kind);
  }

  /** Definitions added while `register` runs are credited to `source`, the package they come from. */
  async from(source: string, register: () => Promise<void>): Promise<void> {
    this.#source = source;
    try {
      await register();
    } finally {
      this.#source = 'sdq';
    }
  }

  /** @throws SdqError (exit 3) when another package has already taken the name. */
  add(definition: Definitions[Kind]): void {
    const key = `${definition.kind} ${definition.name}`;
    const taken = this.#entries.get(key);
    if (taken !== undefined) {
      throw invalidInput(
        'plugin-name-taken',
        `${definition.kind} "${definition.name}" is defined by two packages: ${taken.source} and ${this.#source}.`,
        [`Remove one of the two from \`plugins\` in the config.`],
      );
    }
    this.#entries.set(key, {definition, source: this.#source});
  }

  /** @throws SdqError (exit 3) with the nearest known name. */
  get<K extends Kind>(kind: K, name: string): Definitions[K] {
    const entry = this.#entries.get(`${kind} ${name}`);
    if (entry !== undefined) return entry.definition as Definitions[K];
    const known = this.list(kind).map((definition) => definition.name);
    throw invalidInput(`unknown-${kind}`, `There is no ${kind} "${name}". Known: ${known.join(', ')}.`, [
      ...didYouMean(name, known),
      ...(kind === 'engine' ? [engineHint] : []),
    ]);
  }

  /** In the order of registration. */
  list<K extends Kind>(kind: K): readonly Definitions[K][] {
    return [...this.#entries.values()]
      .filter(({definition}) => definition.kind === kind)
      .map(({definition}) => definition as Definitions[K]);
  }

  /** What packages other than sdq have added, with their names. */
  get additions(): readonly {readonly definition: Definitions[Kind]; readonly source: string}[] {
    return [...this.#entries.values()].filter(({source}) => source !== 'sdq');
  }

  /** The package that defined it. */
  source(kind: Kind, name: string): string {
    return this.#entries.get(`${kind} ${name}`)?.source ?? '';
  }
}
