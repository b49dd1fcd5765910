import type {TaskDefinition} from '../../plugin-api/registry.ts';
import {classification} from './classification.ts';
import {detection} from './detection.ts';
import {regression} from './regression.ts';

export const tasks = [classification, regression, detection] as readonly TaskDefinition[];
