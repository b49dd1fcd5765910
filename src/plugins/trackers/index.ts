import type {TrackerDefinition} from '../registry.ts';
import {mlflow} from './mlflow/index.ts';

export const trackers = [mlflow] as unknown as readonly TrackerDefinition[];
