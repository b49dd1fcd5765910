import {metricCell, type TrainingMetric} from '../phases/results.ts';
import type {RunMetric} from '../runs/run-record.ts';

/** The rows of a table of a training: its metric on the validation split and on the test split. */
export const trainingRows = (
  metric: RunMetric,
  {best, last, test}: TrainingMetric,
): readonly (readonly (string | null)[])[] => [
  ['validation, best epoch', metricCell(metric, best)],
  ['validation, last epoch', metricCell(metric, last)],
  ['test', metricCell(metric, test)],
];
