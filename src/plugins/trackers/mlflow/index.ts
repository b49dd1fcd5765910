/** The tracker `mlflow`: its options, and whether its server answers. */
import type {TrackerDefinition} from '../../../plugin-api/registry.ts';
import {checkConnection, connect} from './connection.ts';
import {MlflowTracker, type MlflowOptions} from './tracker.ts';

const optionsSchema = {
  type: 'object',
  properties: {
    uri: {
      description: 'Address of the server; MLFLOW_TRACKING_URI goes before it.',
      type: 'string',
      minLength: 1,
      examples: ['http://127.0.0.1:5000'],
    },
    experiment: {
      description:
        'Name of the experiment, made when it is not there; MLFLOW_EXPERIMENT_NAME goes before it. Default: `Default`.',
      type: 'string',
      minLength: 1,
    },
    runName: {description: "Name of the run at the server; without it the run's id.", type: 'string', minLength: 1},
    tags: {
      description: 'Tags of the run.',
      type: 'object',
      additionalProperties: {type: 'string'},
    },
    artifacts: {
      description:
        'What is sent beside numbers: `strategy`, `table` and `image` (bits per layer; test images with boxes of a detector), `model` (ONNX, after phase 2), `report` (report.html), `checkpoint` (the weights after each phase).',
      type: 'array',
      items: {enum: ['strategy', 'table', 'image', 'model', 'report', 'checkpoint']},
      uniqueItems: true,
      default: ['strategy', 'table', 'image', 'model', 'report'],
    },
    registry: {
      description: 'Name of a registered model; the logged model becomes its next version. Needs `model` in artifacts.',
      type: 'string',
      minLength: 1,
      maxLength: 256,
      pattern: '^[^/:]+$',
    },
  },
};

/** @param timeoutMs longest wait for one answer */
export function mlflowTracker(timeoutMs: number): TrackerDefinition<MlflowOptions> {
  return {
    kind: 'tracker',
    name: 'mlflow',
    summary: 'An MLflow server: params, metrics, tags and artifacts, a child run for each phase.',
    optionsSchema,
    async probe({env, options}, signal) {
      try {
        const connection = connect(options.uri, env, timeoutMs);
        await connection.post('experiments/search', {max_results: 1}, signal);
        return {available: true, reason: `The server at ${connection.page} answers.`};
      } catch (error) {
        return {available: false, reason: `${(error as Error).message.replace(/\.$/, '')}.`};
      }
    },
    check: ({env, options}) => checkConnection(options.uri, env),
    create: (context) => new MlflowTracker(context, timeoutMs),
  };
}

export const mlflow = mlflowTracker(30_000);
