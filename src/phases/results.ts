/** What each phase leaves in `run.json` under `results`. Metrics have the names of the task; accuracies are fractions of 1; paths are absolute. */
import {invalidInput} from '../errors.ts';
import type {RunMetric} from '../runs/run-record.ts';
import type {Evaluation, Figures} from '../training/task.ts';

/** A metric of a training on the validation split, by epoch, and on the test split, read once at the end. */
export interface TrainingMetric {
  /** Of the best validation epoch; null without a validation split. */
  readonly best: number | null;
  /** Of the last epoch on the validation split; null without one. */
  readonly last: number | null;
  /** On the test split, of the checkpoint that is kept. */
  readonly test: number;
}

interface TrainingResult {
  readonly checkpoint: string;
  /** Epoch (from 1) whose weights are kept. */
  readonly epoch: number;
  /** Optimizer steps. */
  readonly steps: number;
}

/** With the primary metric under its name, a `TrainingMetric`. */
export type PretrainResult = TrainingResult;

export interface SearchResult {
  readonly strategy: string;
  /** The weights as the search left them: where phase 2 starts. */
  readonly checkpoint: string;
  /** Over all quantized layers, weighted by parameters; pinned layers included: what the target is about. */
  readonly meanWeightBits: number;
  /** The same without the pinned layers; null when all are pinned. */
  readonly meanWeightBitsUnpinned: number | null;
  readonly compression: number;
  /** Names of the hardware profiles whose rules it keeps. */
  readonly hardware: readonly string[];
  /** Each budget of the target, what the strategy costs, and by how much that is above; 0 when it was reached. */
  readonly budgets: readonly {
    readonly name: string;
    readonly target: number;
    readonly cost: number;
    readonly missedBy: number;
  }[];
  /** More than half of the searched layers ended at their lowest candidate. */
  readonly collapsed: boolean;
  readonly steps: number;
  /** Strategies kept on the way, from the most expensive; empty unless `search.pareto` asks for them. */
  readonly pareto: readonly ParetoPoint[];
}

export interface ParetoPoint {
  readonly strategy: string;
  /** Steps of the search before it. */
  readonly step: number;
  /** On the validation images, with the weights as the search had them then. The primary metric stands beside it, under its name. */
  readonly loss: number;
  readonly meanWeightBits: number;
  /** By the name of the budget. */
  readonly costs: Readonly<Record<string, number>>;
  /** Another one costs no more and has a lower loss. */
  readonly dominated: boolean;
}

/** With the primary metric under its name, a `TrainingMetric`. */
export interface TrainResult extends TrainingResult {
  readonly meanWeightBits: number;
}

export interface Results {
  readonly fullPrecision?: Evaluation;
  readonly pretrain?: PretrainResult;
  readonly search?: SearchResult;
  readonly train?: TrainResult;
}

/** The budgets that a search can have, in the order of their columns, and what their numbers count. */
const units = {
  meanWeightBits: 'mean weight bits',
  sizeKiB: 'KiB of weights',
  bops: 'bit operations',
  latencyMs: 'ms (modelled)',
  energyUj: 'µJ (modelled)',
} as const;

export type BudgetName = keyof typeof units;
export const budgetNames = Object.keys(units) as readonly BudgetName[];

export const digits = (value: number): string => (value >= 1 ? value.toFixed(3) : value.toPrecision(4));

/** What the number of a budget counts. */
export const budgetUnit = (budget: string): string => (units as Readonly<Record<string, string>>)[budget] ?? budget;

/** `1.938 mean weight bits`. */
export const inUnits = (budget: string, value: number): string => `${digits(value)} ${budgetUnit(budget)}`;

/** @throws SdqError (exit 3) for a task whose meter leaves it out: a mistake of its plugin */
export function metricValue({name}: RunMetric, figures: Figures): number {
  const value = figures[name];
  if (value !== undefined) return value;
  throw invalidInput('plugin-failed', `The task measures no "${name}", which is its primary metric.`);
}

/** The part of a training's result that is about the metric. */
export function byMetric(
  metric: RunMetric,
  {best, last}: {readonly best: {readonly value: number} | null; readonly last: number | null},
  test: Figures,
): Readonly<Record<string, TrainingMetric>> {
  return {[metric.name]: {best: best?.value ?? null, last, test: metricValue(metric, test)}};
}

/** A figure of something stored, e.g. of a strategy on the way; null where it is not there. */
export const figureOf = ({name}: RunMetric, figures: object): number | null =>
  (figures as Readonly<Record<string, number>>)[name] ?? null;

/** The metric of a training's result. */
export function trainingMetric({name}: RunMetric, result: TrainingResult): TrainingMetric {
  return (result as unknown as Readonly<Record<string, TrainingMetric>>)[name] ?? {best: null, last: null, test: NaN};
}

/** `91.73 %`, or `0.01234` for a metric that is no fraction. */
export function shownMetric({isFraction}: RunMetric, value: number): string {
  return isFraction ? `${(100 * value).toFixed(2)} %` : value.toPrecision(4);
}

/** A cell of a table under `metricHead`: `91.73`, or `0.01234`; null stays null. */
export function metricCell({isFraction}: RunMetric, value: number | null): string | null {
  if (value === null) return null;
  return isFraction ? (100 * value).toFixed(2) : value.toPrecision(4);
}

/** `accuracy %`, `mse`. */
export const metricHead = ({isFraction, name}: RunMetric): string => (isFraction ? `${name} %` : name);
