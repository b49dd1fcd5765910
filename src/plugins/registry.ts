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
import type * as tf from '@tensorflow/tfjs-core';

import type {Dataset} from '../data/dataset.ts';
import {ExitCode, SdqError} from '../errors.ts';
import type {Graph} from '../graph/graph.ts';
import type {GradientRule, Grid} from '../tensor/kernels.ts';

/** JSON Schema (2020-12) of a definition's options: `type: object` with `properties`; the config validator applies it. */
export type OptionsSchema = Readonly<Record<string, unknown>>;

interface Definition {
  /** Kebab case; what the user writes in the config. */
  readonly name: string;
  /** One sentence with a full stop. */
  readonly summary: string;
  readonly optionsSchema: OptionsSchema;
}

// ---------------------------------------------------------------------------------------------------------- engines

export interface EngineOptions {
  /** Worker threads, the main one included; `auto` takes what the process may use. */
  readonly threads: number | 'auto';
}

export interface EngineProbe {
  readonly available: boolean;
  /** Why it can or cannot be used, and how to get it: one sentence. */
  readonly reason: string;
  /** E.g. `2 threads, SIMD, relaxed SIMD, memory limit 4096 MiB`; '' when not available. */
  readonly device: string;
}

/** A started engine: its tfjs backend is the current one until `dispose`. */
export interface Engine {
  readonly name: string;
  readonly device: string;
  readonly threads: number;
  memory(): {readonly inUseMiB: number; readonly reservedMiB: number};
  /** Stops threads and frees memory. Idempotent. */
  dispose(): Promise<void>;
}

export interface EngineDefinition extends Definition {
  readonly kind: 'engine';
  /** `engine: auto` takes the available engine of the highest rank. */
  readonly rank: number;
  probe(options: EngineOptions): Promise<EngineProbe>;
  /** @throws SdqError (exit 6) when it cannot be started. */
  start(options: EngineOptions): Promise<Engine>;
}

// --------------------------------------------------------------------------------------------------------- data sets

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

export interface ModelContext {
  readonly classes: number;
  /** [channels, height, width] */
  readonly inputShape: readonly [number, number, number];
}

export interface ModelDefinition<Options = Readonly<Record<string, unknown>>> extends Definition {
  readonly kind: 'model';
  /** What `model show` builds when no data set says otherwise. */
  readonly defaults: ModelContext;
  build(context: ModelContext, options: Options): Graph;
}

// -------------------------------------------------------------------------------------------------------- quantizers

export interface WeightQuantizerDefinition extends Definition {
  readonly kind: 'weight-quantizer';
  /** Whether the grid has an exact zero and zero-point 0 at every bitwidth above 1. */
  readonly zeroPoint: 0 | null;
  /** Levels in use at `bits`: at most 2^bits. */
  grid(bits: number): Grid;
  /**
   * Maps weights into the space in which the grid is uniform (`tanh(w) / max|tanh(w)|` for dorefa); identity where the
   * weights are used as they are. Differentiable.
   * @param w [..., C], the output channel last
   */
  transform(w: tf.Tensor): tf.Tensor;
  /**
   * The step of the grid from the weights' statistics: [C] per output channel, or [] per tensor. No gradient.
   * @param w transformed weights [..., C]
   */
  statisticScale(w: tf.Tensor, bits: number): tf.Tensor;
  /** Whether phase 2 learns the step (LSQ gradient), starting from `statisticScale`. */
  readonly learnsScale: boolean;
}

export interface ActivationQuantizerDefinition extends Definition {
  readonly kind: 'activation-quantizer';
  /** Whether it serves inputs that can be negative. */
  readonly signed: boolean;
  grid(bits: number): Grid;
  /** @param count elements that share the scale in one step, for LSQ's 1 / √(n · qmax) */
  rule(bits: number, count: number): GradientRule;
  /** The step from the learned parameter (PACT: α / (2^b − 1)); differentiable, scalar. */
  scale(parameter: tf.Tensor, bits: number): tf.Tensor;
  /** The learned parameter's first value from a sample of the tensor to be quantized, full precision. */
  initialParameter(sample: tf.Tensor, bits: number): number;
}

// ---------------------------------------------------------------------------------------------------------- searches

export interface SearcherDefinition extends Definition {
  readonly kind: 'searcher';
  /**
   * How a layer between two adjacent bitwidths is seen in the forward pass: `draw` takes one of the two at random
   * (the paper), `mix` their convex combination (the paper's counter-example), `fixed` has nothing to learn.
   */
  readonly forward: 'draw' | 'mix' | 'fixed';
}

// ---------------------------------------------------------------------------------------------------------- registry

export interface Definitions {
  engine: EngineDefinition;
  dataset: DatasetDefinition;
  model: ModelDefinition;
  'weight-quantizer': WeightQuantizerDefinition;
  'activation-quantizer': ActivationQuantizerDefinition;
  searcher: SearcherDefinition;
}

export type Kind = keyof Definitions;

/** The oclif hook `sdq:register`. */
export type RegisterHook = (options: {readonly registry: Registry}) => Promise<void>;

/** Holds every definition, by kind and name. */
export class Registry {
  readonly #entries = new Map<string, {readonly definition: Definitions[Kind]; readonly source: string}>();
  #source = 'sdq';

  /** Definitions added while `register` runs are credited to `source`, the package they come from. */
  async from(source: string, register: () => Promise<void>): Promise<void> {
    this.#source = source;
    await register();
    this.#source = 'sdq';
  }

  /** @throws SdqError (exit 3) when another package has already taken the name. */
  add(definition: Definitions[Kind]): void {
    const key = `${definition.kind} ${definition.name}`;
    const taken = this.#entries.get(key);
    if (taken !== undefined) {
      throw new SdqError(
        `${definition.kind} "${definition.name}" is defined by two packages: ${taken.source} and ${this.#source}.`,
        {
          code: 'plugin-name-taken',
          exit: ExitCode.invalidInput,
          suggestions: [`Remove one of the two from \`plugins\` in the config.`],
        },
      );
    }
    this.#entries.set(key, {definition, source: this.#source});
  }

  /** @throws SdqError (exit 3) with the nearest known name. */
  get<K extends Kind>(kind: K, name: string): Definitions[K] {
    const entry = this.#entries.get(`${kind} ${name}`);
    if (entry !== undefined) return entry.definition as Definitions[K];
    const known = this.list(kind).map((definition) => definition.name);
    throw new SdqError(`There is no ${kind} "${name}". Known: ${known.join(', ')}.`, {
      code: `unknown-${kind}`,
      exit: ExitCode.invalidInput,
      suggestions: [],
    });
  }

  /** In the order of registration. */
  list<K extends Kind>(kind: K): readonly Definitions[K][] {
    return [...this.#entries.values()]
      .filter(({definition}) => definition.kind === kind)
      .map(({definition}) => definition as Definitions[K]);
  }

  /** The package that defined it. */
  source(kind: Kind, name: string): string {
    return this.#entries.get(`${kind} ${name}`)?.source ?? '';
  }
}
