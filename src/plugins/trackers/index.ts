import type {TrackerDefinition} from '../../plugin-api/registry.ts';
import {mlflow} from './mlflow/index.ts';
import {wandb} from './wandb/index.ts';

export const trackers = [wandb, mlflow] as unknown as readonly TrackerDefinition[];
