/** Tracker `wandb`: Weights & Biases. */
import type {TrackerDefinition} from '../../../plugin-api/registry.ts';
import {WandbServer} from './server.ts';
import {limits, metricNames, modes, resolveSettings, type WandbOptions} from './settings.ts';
import {WandbTracker} from './tracker.ts';

const text = (description: string): Readonly<Record<string, unknown>> => ({type: 'string', minLength: 1, description});

/** @param timeoutMs longest wait for one answer */
export const wandbTracker = (timeoutMs: number): TrackerDefinition<WandbOptions> => ({
  kind: 'tracker',
  name: 'wandb',
  summary: 'Weights & Biases; always writes the log that `wandb sync` reads.',
  optionsSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      project: {
        ...text('Project; WANDB_PROJECT goes before it. Default: `sdq`.'),
        maxLength: limits.project,
        pattern: '^[^/\\\\#?%:]+$',
      },
      entity: text("User or team; WANDB_ENTITY goes before it. Default: the key's own."),
      group: text('Group of runs; WANDB_RUN_GROUP goes before it.'),
      jobType: text('Job type; WANDB_JOB_TYPE goes before it.'),
      runName: {
        ...text("Name of the run's page; WANDB_NAME goes before it. Default: the id of the run."),
        maxLength: limits.name,
      },
      notes: text('Notes; WANDB_NOTES goes before it.'),
      tags: {
        type: 'array',
        items: {type: 'string', minLength: 1, maxLength: limits.tag},
        default: [],
        description: 'Tags; WANDB_TAGS (with commas) goes before it.',
      },
      mode: {enum: modes, description: 'WANDB_MODE goes before it. Default: online with a key, offline without.'},
      baseUrl: text('Address of the server; WANDB_BASE_URL goes before it. Default: https://api.wandb.ai.'),
      transport: {
        enum: ['http', 'sdk', 'cli'],
        default: 'http',
        description:
          'How rows get to the server: `http` by sdq itself, `sdk` by the package @wandb/sdk in a separate process, `cli` by `wandb sync` at the end.',
      },
      metricNames: {
        enum: metricNames,
        default: 'quantity',
        description:
          'Names of the metrics of layers: `quantity` as dbp/beta/LAYER, `layer` as dbp/LAYER/beta, for dashboards that have these.',
      },
      gitDiff: {
        type: 'boolean',
        default: false,
        description:
          'Whether `diff.patch` is sent: what differs from the last commit, without what looks like a secret, up to 10 MB.',
      },
      saveCode: {
        type: 'boolean',
        default: false,
        description:
          'Whether the sources below the working folder are sent that git does not ignore, without what looks like a secret, up to 10 MB.',
      },
      artifacts: {
        type: 'array',
        items: {enum: ['strategy', 'table', 'image', 'checkpoint', 'model']},
        uniqueItems: true,
        default: ['strategy', 'table', 'image'],
        description:
          'What is sent beside numbers: `strategy`, `table` and `image` (bits per layer; test images with boxes of a detector), `checkpoint` (the weights after each phase), `model` (the ONNX file after phase 2).',
      },
    },
  },

  async probe({env, options}, signal) {
    try {
      const settings = resolveSettings(options, env, process.cwd());
      const {mode, offlineReason} = settings;
      if (mode !== 'online') {
        return {available: true, reason: `${mode}${offlineReason === undefined ? '' : `: ${offlineReason}`}.`};
      }
      const entity = await new WandbServer(settings, env, timeoutMs).defaultEntity(signal);
      return {available: true, reason: `${settings.baseUrl} answers as ${entity}.`};
    } catch (error) {
      return {available: false, reason: (error as Error).message};
    }
  },

  check({cwd, env, options}) {
    new WandbServer(resolveSettings(options, env, cwd), env, timeoutMs);
  },

  create(context) {
    const {cwd, env, options} = context;
    const notice = (message: string): void => context.notice(message);
    const settings = resolveSettings(options, env, cwd);
    if (settings.mode === 'disabled') return undefined;
    if (settings.offlineReason !== undefined) {
      notice(`wandb: kept offline, because ${settings.offlineReason}. Later: sdq track sync, or wandb sync.`);
    }
    return new WandbTracker({cwd, env, notice, settings, timeoutMs});
  },
});

export const wandb = wandbTracker(30_000);
